"""Every step's trades and states as Parquet, and `replay`, which believes none of it: it adds up and hashes anew."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from market.clearing.orders import Floats, Trades
from market.community.agents import Fleet
from market.community.scenario import Scenario
from market.community.tables import load_community, read_table, save_community, write_table
from market.config import DSO, PER_KWH
from market.records.audit import TOLERANCE, audit
from market.records.ledger import Block, Ledger, encode, ledger_of
from market.simulation.history import Flows, History, StepRecord

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
COMMUNITY = (
    "feed_in_tariff",
    "utility_price",
    "clearing_price",
    "social_welfare",
    "budget_surplus",
    "dso_income",
    "loss",
    "congestion_mean",
    "congestion_max",
    "overloaded_hours",
    "voltage_deviation",
)
"""Fields of `Flows` that have a value per community, [T, E]; the others have one per agent, [T, E, N]."""
AGENT = tuple(field.name for field in fields(Flows) if field.name not in COMMUNITY)
PARQUET, SUMMARY = "parquet", "export.json"


def export(
    folder: str | Path, scenario: Scenario, episodes: NDArray[np.int64], records: Sequence[StepRecord]
) -> dict[int, tuple[str, int]]:
    """Write T steps of the episodes numbered `episodes` [E] into `folder`; head and length of each episode's ledger.

    agents, generation, demand: as `market.community.tables` reads them. states: a row per step, episode and agent;
    communities: per step and episode; trades: per trade; blocks: the ledger's seals. Keep the heads elsewhere, to
    notice forgery.
    """
    import pandas as pd

    if not records:
        raise ValueError("export: got 0 steps; allowed: at least 1, after step()")
    folder, history = Path(folder), History.of(records)
    steps, numbers, agents = history.cost.shape
    names = [agent.id for agent in scenario.agents]
    at = {"step": np.repeat(np.arange(steps), numbers), "episode": np.tile(episodes, steps)}
    community = pd.DataFrame(at | {name: getattr(history, name).ravel() for name in COMMUNITY})
    at = {name: np.repeat(column, agents) for name, column in at.items()}
    who: dict[str, Any] = {"agent": np.tile(np.array(names, object), steps * numbers)}
    states = pd.DataFrame(at | who | {name: getattr(history, name).ravel() for name in AGENT})
    chains = {int(number): ledger_of(records, i, _difficulty(scenario)) for i, number in enumerate(episodes)}
    save_community(scenario, folder, PARQUET)
    write_table(states, folder, "states")
    write_table(community, folder, "communities")
    write_table(_trades(chains), folder, "trades")
    write_table(_blocks(chains), folder, "blocks")
    heads = {number: (chain.head, chain.length) for number, chain in chains.items()}
    summary = {"format": FORMAT, "difficulty": _difficulty(scenario), "step_hours": scenario.step_hours, "heads": heads}
    (folder / SUMMARY).write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    return heads


def _difficulty(scenario: Scenario) -> int:
    return scenario.market_config.blockchain_difficulty


def _trades(chains: dict[int, Ledger]) -> pd.DataFrame:
    """A row per trade: episode, step and the fields of `Trades`."""
    import pandas as pd

    names = [field.name for field in fields(Trades)]
    parts = [(number, block.step, block.trades) for number, chain in chains.items() for block in chain.blocks]
    sizes = [len(trades) for _, _, trades in parts]
    places = {name: np.repeat([part[i] for part in parts], sizes) for i, name in enumerate(("episode", "step"))}
    return pd.DataFrame(
        places | {name: np.concatenate([getattr(trades, name) for *_, trades in parts]) for name in names}
    )


def _blocks(chains: dict[int, Ledger]) -> pd.DataFrame:
    """A row per block: episode, step, previous, nonce, digest."""
    import pandas as pd

    rows = [
        (number, block.step, block.previous, block.nonce, block.digest)
        for number, chain in chains.items()
        for block in chain.blocks
    ]
    return pd.DataFrame(rows, columns=["episode", "step", "previous", "nonce", "digest"])


@dataclass(frozen=True, eq=False)
class Replay:
    """A verified export. history: [T, E, N]. episodes: their numbers [E]. ledgers: episode number -> its chain."""

    history: History
    episodes: NDArray[np.int64]
    ledgers: dict[int, Ledger]


def replay(folder: str | Path, heads: dict[int, tuple[str, int]] | None = None) -> Replay:
    """Read what `export` wrote and verify it: energy, money, batteries, every trade, every block.

    heads: what `export` returned, kept apart from the folder; None takes those in the folder, which find errors but no
    forger. ValueError names the first thing that is wrong.
    """
    folder = Path(folder)
    summary = _summary(folder)
    difficulty = int(summary["difficulty"])
    given = heads
    if given is None:
        given = {int(number): (head, length) for number, (head, length) in summary["heads"].items()}
    community = load_community(folder, summary["step_hours"], dso_profile_handler=None)
    names = [agent.id for agent in community.agents]
    table = read_table(folder, "communities").sort_values(["step", "episode"])
    episodes = np.unique(table["episode"].to_numpy())
    shape = (table["step"].nunique(), len(episodes))
    history = _history(table, read_table(folder, "states"), shape, names)
    audit(history, Fleet.of([agent.battery for agent in community.agents]))
    trades, blocks = read_table(folder, "trades"), read_table(folder, "blocks")
    _agree(history, trades, episodes)
    ledgers = {int(number): _ledger(trades, blocks, int(number), difficulty) for number in episodes}
    for number, chain in ledgers.items():
        head, length = given.get(number, ("none", 0))
        if not chain.verify(head, length):
            raise ValueError(
                f"ledger of episode {number}: got {chain.length} blocks up to {chain.head[:12]}; allowed: the {length} "
                f"that led to {head[:12]}, unchanged; trades or blocks were edited, moved or left out"
            )
    if given.keys() != ledgers.keys():
        raise ValueError(f"episodes: got {sorted(ledgers)}; allowed: {sorted(given)}, as in the heads")
    return Replay(history, episodes, ledgers)


def _summary(folder: Path) -> dict[str, Any]:
    try:
        summary: dict[str, Any] = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ValueError(f"folder: got {str(folder)!r}; allowed: one that market.records.export.export wrote") from None
    if summary.get("format") != FORMAT:
        raise ValueError(f"format: got {summary.get('format')!r}; allowed: {FORMAT}")
    return summary


def _history(communities: pd.DataFrame, states: pd.DataFrame, shape: tuple[int, int], names: list[str]) -> History:
    """The tables as arrays [T, E] and [T, E, N], the agents in the order of `names`."""
    rank = {name: i for i, name in enumerate(names)}
    states = states.assign(agent=states["agent"].map(rank)).sort_values(["step", "episode", "agent"])
    for name, table, size in (("communities", communities, 1), ("states", states, len(names))):
        rows = shape[0] * shape[1] * size
        if len(table) != rows:
            raise ValueError(f"{name}: got {len(table)} rows; allowed: {rows}, one for each step and episode")
    columns: dict[str, Any] = {name: communities[name].to_numpy().reshape(shape) for name in COMMUNITY}
    columns |= {name: states[name].to_numpy().reshape(*shape, len(names)) for name in AGENT}
    return History(**columns)


def _agree(history: History, trades: pd.DataFrame, episodes: NDArray[np.int64]) -> None:
    """Each agent's trades are what its state says that it bought, sold and paid."""
    shape, h = history.cost.shape, history
    place = trades["step"].to_numpy() * shape[1] + np.searchsorted(episodes, trades["episode"].to_numpy())
    energy, p2p = trades["quantity"].to_numpy(), trades["stage"].to_numpy() < 3

    def by_agent(side: str, amount: Floats) -> Floats:
        agent = trades[side].to_numpy()
        mine = agent != DSO
        total = np.bincount(place[mine] * shape[2] + agent[mine], amount[mine], h.cost.size)
        return np.asarray(total, np.float64).reshape(shape)

    half = trades["fee"].to_numpy() / 2
    paid = by_agent("buyer", energy * trades["price"].to_numpy() / 1000 + half)
    received = by_agent("seller", energy * trades["seller_price"].to_numpy() / 1000 - half)
    rest = h.imported * h.utility_price[..., None] / 1000 - h.exported * h.feed_in_tariff[..., None] / 1000
    for name, got, expected, unit in (
        ("bought_p2p", by_agent("buyer", energy * p2p), h.bought_p2p, 1 / PER_KWH / 10),
        ("sold_p2p", by_agent("seller", energy * p2p), h.sold_p2p, 1 / PER_KWH / 10),
        ("bought_dso", by_agent("buyer", energy * ~p2p), h.bought_dso, 1 / PER_KWH / 10),
        ("sold_dso", by_agent("seller", energy * ~p2p), h.sold_dso, 1 / PER_KWH / 10),
        ("cost", paid - received + rest, h.cost, TOLERANCE * max(1.0, float(np.abs(h.cost).max()))),
    ):
        off = np.abs(got - expected)
        if not (off <= unit).all():
            step, episode, agent = np.unravel_index(np.argmax(np.nan_to_num(off, nan=np.inf)), shape)
            number, here = episodes[episode], (step, episode, agent)
            raise ValueError(
                f"{name}: got {got[here]:.9g} in the trades of step {step}, episode {number}, agent {agent}; "
                f"allowed: {expected[here]:.9g}, as in its state"
            )


def _ledger(trades: pd.DataFrame, blocks: pd.DataFrame, episode: int, difficulty: int) -> Ledger:
    """The chain of an episode with its content encoded anew from the table of trades."""
    chain = Ledger(difficulty)
    mine = trades[trades["episode"] == episode]
    for row in blocks[blocks["episode"] == episode].itertuples():
        now = mine[mine["step"] == row.step]
        columns: dict[str, Any] = {field.name: now[field.name].to_numpy() for field in fields(Trades)}
        content = encode(Trades(**columns), int(row.step))  # type: ignore[arg-type]
        chain.blocks.append(Block(str(row.previous), content, int(row.nonce), str(row.digest)))  # type: ignore[arg-type]
    return chain
