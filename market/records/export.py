"""Every step's trades and states as Parquet, and `replay`, which verifies all of them anew."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from market.clearing.orders import Floats, Trades
from market.community.scenario import Scenario
from market.community.tables import load_community, read_table, save_community, write_table
from market.config import PER_KWH
from market.records.audit import TOLERANCE, audit
from market.records.ledger import Block, Ledger, decode, encode, ledger_of
from market.simulation.dynamics import initial
from market.simulation.history import PER_AGENT, PER_COMMUNITY, History, StepRecord
from market.support.files import write_whole

if TYPE_CHECKING:
    import pandas as pd

FORMAT = 1
COLUMNS = tuple(field.name for field in fields(Trades))
PARQUET, SUMMARY = "parquet", "export.json"


def export(
    folder: str | Path, scenario: Scenario, episodes: NDArray[np.int64], records: Sequence[StepRecord]
) -> dict[int, tuple[str, int]]:
    """Write T steps of some episodes, and return head and length of each episode's ledger by its number.

    folder: gets agents, generation, demand and steps as `market.community.tables` reads them; states: a row per step,
        episode and agent; communities: per step and episode, with the day of the profiles that it played; trades: per
        trade; blocks: the ledger's seals.
    episodes: their numbers [E].
    records: of all T steps.

    Keep the heads elsewhere, to notice forgery.
    """
    if not records:
        raise ValueError("export: got 0 steps; allowed: at least 1, after step()")
    import pandas as pd

    folder, history, difficulty = Path(folder), History.of(records), scenario.market_config.blockchain_difficulty
    steps, numbers, agents = history.cost.shape
    at = {"step": np.repeat(np.arange(steps), numbers), "episode": np.tile(episodes, steps)}
    each = {name: np.repeat(column, agents) for name, column in at.items()}
    at["day"] = np.tile(initial(scenario.params, episodes).day, steps)
    each["agent"] = np.tile(np.array([agent.id for agent in scenario.agents], object), steps * numbers)
    chains = {int(number): ledger_of(records, i, difficulty) for i, number in enumerate(episodes)}
    blocks = [(number, *decode(block.content), block) for number, chain in chains.items() for block in chain.blocks]
    seals = [(number, step, block.previous, block.nonce, block.digest) for number, step, _, block in blocks]
    known = [trades for _, _, trades, _ in blocks]
    places = np.repeat([seal[:2] for seal in seals], [len(trades) for trades in known], axis=0)
    trades = {"episode": places[:, 0], "step": places[:, 1]}
    trades |= {name: np.concatenate([getattr(part, name) for part in known]) for name in COLUMNS}
    save_community(scenario, folder, PARQUET)
    for name, table in {
        "states": pd.DataFrame(each | {name: getattr(history, name).ravel() for name in PER_AGENT}),
        "communities": pd.DataFrame(at | {name: getattr(history, name).ravel() for name in PER_COMMUNITY}),
        "trades": pd.DataFrame(trades),
        "blocks": pd.DataFrame(seals, columns=["episode", "step", "previous", "nonce", "digest"]),
    }.items():
        write_table(table, folder, name)
    heads = {number: (chain.head, chain.length) for number, chain in chains.items()}
    summary = {"format": FORMAT, "difficulty": difficulty, "step_hours": scenario.step_hours, "heads": heads}
    write_whole(folder / SUMMARY, json.dumps(summary, indent=2) + "\n")
    return heads


@dataclass(frozen=True, eq=False)
class Replay:
    """A verified export."""

    history: History  # [T, E, N]
    episodes: NDArray[np.int64]  # their numbers [E]
    ledgers: dict[int, Ledger]  # the chain of each episode, by its number


def replay(folder: str | Path, heads: dict[int, tuple[str, int]] | None = None) -> Replay:
    """Read what `export` wrote and verify it: energy, money, batteries, every trade, every block.

    folder: where it wrote.
    heads: what it returned, kept apart from the folder; None takes those in the folder, which show errors but no
        forgery.

    ValueError names the first thing that is wrong.
    """
    folder = Path(folder)
    try:
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        raise ValueError(f"folder: got {str(folder)!r}; allowed: one that market.records.export.export wrote") from None
    if summary.get("format") != FORMAT:
        raise ValueError(f"format: got {summary.get('format')!r}; allowed: {FORMAT}")
    given = summary["heads"] if heads is None else heads
    given = {int(number): (head, length) for number, (head, length) in given.items()}
    community = load_community(folder, summary["step_hours"], dso_profile_handler=None)
    tables = {name: read_table(folder, name) for name in ("communities", "states", "trades", "blocks")}
    history, episodes = _history(tables["communities"], tables["states"], [agent.id for agent in community.agents])
    audit(history, community.params.fleet)
    _agree(history, tables["trades"], episodes)
    ledgers = {}
    for number in episodes.tolist():
        trades, blocks = (tables[name][tables[name]["episode"] == number] for name in ("trades", "blocks"))
        chain = ledgers[number] = _ledger(trades, blocks, int(summary["difficulty"]))
        head, length = given.get(number, ("none", 0))
        if not chain.verify(head, length):
            raise ValueError(
                f"ledger of episode {number}: got {chain.length} blocks up to {chain.head[:12]}; allowed: the {length} "
                f"that led to {head[:12]}, unchanged; trades or blocks were edited, moved or left out"
            )
    if given.keys() != ledgers.keys():
        raise ValueError(f"episodes: got {sorted(ledgers)}; allowed: {sorted(given)}, as in the heads")
    return Replay(history, episodes, ledgers)


def _history(communities: pd.DataFrame, states: pd.DataFrame, names: list[str]) -> tuple[History, NDArray[np.int64]]:
    """The tables as arrays [T, E] and [T, E, N], the agents in the order of `names`, and the episodes' numbers [E]."""
    episodes = np.unique(communities["episode"].to_numpy())
    size = communities["step"].nunique(), len(episodes), len(names)
    rank = {name: i for i, name in enumerate(names)}
    keys = ["step", "episode", "agent"]
    states = states.assign(agent=states["agent"].map(rank))
    columns: dict[str, Any] = {}
    for name, table, kept, shape in (
        ("communities", communities, PER_COMMUNITY, size[:2]),
        ("states", states, PER_AGENT, size),
    ):
        rows = math.prod(shape)
        if len(table) != rows:
            raise ValueError(f"{name}: got {len(table)} rows; allowed: {rows}, one for each step and episode")
        ordered = table.sort_values(keys[: len(shape)])
        columns |= {column: ordered[column].to_numpy().reshape(shape) for column in kept}
    return History(**columns), episodes


def _agree(history: History, trades: pd.DataFrame, episodes: NDArray[np.int64]) -> None:
    """Each agent's trades are what its state says that it bought, sold and paid."""
    import pandas as pd

    shape, h, energy, p2p = history.cost.shape, history, trades["quantity"], trades["stage"] < 3
    everyone = pd.MultiIndex.from_product((range(shape[0]), episodes, range(shape[2])))

    def by_agent(side: str, amount: pd.Series) -> Floats:
        total = amount.groupby([trades["step"], trades["episode"], trades[side]]).sum()
        return np.asarray(total.reindex(everyone, fill_value=0.0), np.float64).reshape(shape)

    paid = by_agent("buyer", energy * trades["price"] / 1000 + trades["fee"] / 2)
    received = by_agent("seller", energy * trades["seller_price"] / 1000 - trades["fee"] / 2)
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
            t, e, agent = here = np.unravel_index(np.argmax(np.nan_to_num(off, nan=np.inf)), shape)
            raise ValueError(
                f"{name}: got {got[here]:.9g} in the trades of step {t}, episode {episodes[e]}, agent {agent}; "
                f"allowed: {expected[here]:.9g}, as in its state"
            )


def _ledger(trades: pd.DataFrame, blocks: pd.DataFrame, difficulty: int) -> Ledger:
    """The chain of an episode with its content encoded anew from the table of trades."""
    chain = Ledger(difficulty)
    for step, previous, nonce, digest in blocks[["step", "previous", "nonce", "digest"]].itertuples(index=False):
        now = trades[trades["step"] == step]
        content = encode(Trades(**{name: now[name].to_numpy() for name in COLUMNS}), int(step))
        chain.blocks.append(Block(str(previous), content, int(nonce), str(digest)))
    return chain
