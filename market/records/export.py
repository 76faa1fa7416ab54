"""Every step's trades and states as Parquet, and `replay`, which verifies all of them anew."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from market.clearing.orders import Floats, Ints, Trades
from market.community.scenario import Scenario
from market.community.tables import files_of, load_community, others, read_table, tables_of
from market.config import DSO
from market.records.audit import unequal, violations
from market.records.ledger import Block, Ledger, decode, encode, ledger_of
from market.simulation.dynamics import initial
from market.simulation.history import PER_AGENT, PER_COMMUNITY, History, StepRecord
from market.support.files import write_together

if TYPE_CHECKING:
    import pandas as pd

FORMAT, SUMMARY, CHAIN = "2", "export.json", "ledger of episode "
TRADE = tuple(field.name for field in fields(Trades))
COLUMNS = {
    "communities": ("step", "episode", "day", *PER_COMMUNITY),
    "states": ("step", "episode", "agent", *PER_AGENT),
    "trades": ("episode", "step", *TRADE),
    "blocks": ("episode", "step", "difficulty", "nonce", "previous", "digest"),
}
"""Tables that an export has beside those of its community."""
WHOLE = ("step", "episode", "day", "buyer", "seller", "stage", "difficulty", "nonce")
TYPES = dict.fromkeys(WHOLE, "int64") | dict.fromkeys(("agent", "previous", "digest"), "str")
TYPES["is_buy"] = "bool"
"""What their columns hold, where that is not float64."""


def export(
    folder: str | Path, scenario: Scenario, episodes: NDArray[np.int64], records: Sequence[StepRecord]
) -> dict[str, str]:
    """Write T steps of some episodes, and return their heads: a hash of each table and of each episode's ledger.

    folder: gets agents, generation, demand and steps as `market.community.tables` reads them; states: a row per step,
        episode and agent; communities: per step and episode, with the day of the profiles that it played; trades: per
        trade; blocks: the ledger's seals; and export.json: the heads. What an export before wrote gives way once all
        is whole on the disk.
    episodes: their numbers [E].
    records: of all T steps.

    Keep the heads elsewhere, as JSON if need be, to notice forgery.
    """
    if not records:
        raise ValueError("export: got 0 steps; allowed: at least 1, after step()")
    import pandas as pd

    history, difficulty = History.of(records), scenario.market_config.blockchain_difficulty
    steps, numbers, agents = history.cost.shape
    at = {"step": np.repeat(np.arange(steps), numbers), "episode": np.tile(episodes, steps)}
    each = {name: np.repeat(column, agents) for name, column in at.items()}
    at["day"] = np.tile(initial(scenario.params, episodes).day, steps)
    each["agent"] = np.tile(np.array([agent.id for agent in scenario.agents], object), steps * numbers)
    chains = {int(number): ledger_of(records, i, difficulty) for i, number in enumerate(episodes)}
    blocks = [(number, *decode(block.content), block) for number, chain in chains.items() for block in chain.blocks]
    seals = [(number, step, difficulty, block.nonce, block.previous, block.digest) for number, step, _, block in blocks]
    known = [trades for _, _, trades, _ in blocks]
    places = np.repeat([seal[:2] for seal in seals], [len(trades) for trades in known], axis=0)
    trades = {"episode": places[:, 0], "step": places[:, 1]}
    trades |= {name: np.concatenate([getattr(part, name) for part in known]) for name in TRADE}
    tables = tables_of(scenario) | {
        "states": pd.DataFrame(each | {name: getattr(history, name).ravel() for name in PER_AGENT}),
        "communities": pd.DataFrame(at | {name: getattr(history, name).ravel() for name in PER_COMMUNITY}),
        "trades": pd.DataFrame(trades),
        "blocks": pd.DataFrame(seals, columns=COLUMNS["blocks"]),
    }
    files = files_of(tables, "parquet")
    heads = {"format": FORMAT} | {name: _hash(content) for name, content in files.items()}
    heads |= {f"{CHAIN}{number}": chain.head for number, chain in chains.items()}
    write_together(Path(folder), files | {SUMMARY: (json.dumps(heads, indent=2) + "\n").encode()}, others(files))
    return heads


@dataclass(frozen=True, eq=False)
class Replay:
    """A verified export."""

    history: History  # [T, E, N]
    episodes: NDArray[np.int64]  # their numbers [E]
    ledgers: dict[int, Ledger]  # the chain of each episode, by its number


@np.errstate(all="ignore")  # what is not finite is found, not warned of
def replay(folder: str | Path, heads: Mapping[str, str] | None = None) -> Replay:
    """Read what `export` wrote and verify it: the hash of each table, energy, money, batteries, trades, every block.

    folder: where it wrote.
    heads: what it returned, kept apart from the folder; None takes those in the folder, which show errors but no
        forgery.

    ValueError names the first thing that is wrong.
    """
    folder = Path(folder)
    try:
        summary = json.loads((folder / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        summary = None
    if not isinstance(summary, dict):
        raise ValueError(f"folder: got {str(folder)!r}; allowed: one that market.records.export.export wrote")
    if summary.get("format") != FORMAT:
        raise ValueError(f"format: got {summary.get('format')!r:.60}; allowed: {FORMAT!r}; export the episodes again")
    if not isinstance(heads, Mapping | None):
        raise ValueError(f"heads: got {heads!r:.60}; allowed: what export returned, or None")
    _compare(summary, summary if heads is None else heads)
    files = [folder / name for name in (*(f"{table}.parquet" for table in COLUMNS), *others(()))]
    found = {"format": FORMAT} | {file.name: _hash(file.read_bytes()) for file in files if file.is_file()}
    _compare(found, {name: head for name, head in summary.items() if not name.startswith(CHAIN)})
    community = load_community(folder, dso_profile_handler=None)
    communities, states, trades, blocks = (_table(folder, name) for name in COLUMNS)
    episodes = communities["episode"].unique()
    axes = {"step": np.arange(len(communities) // max(1, len(episodes))), "episode": episodes}
    agents = {"agent": np.array([agent.id for agent in community.agents], object)}
    by_community = _shaped("communities", communities, axes, PER_COMMUNITY)
    history = History(**_shaped("states", states, axes | agents, PER_AGENT), **by_community)
    _shaped("blocks", blocks, {"episode": episodes, "step": axes["step"], "difficulty": blocks["difficulty"].unique()})
    place = _places(trades, blocks, len(community.agents))
    for problem in (*violations(history, community.params.fleet), *_disagreements(history, trades, place)):
        raise ValueError(problem)
    ledgers = _ledgers(trades, blocks, place)
    found |= {f"{CHAIN}{number}": chain.head for number, chain in ledgers.items()}
    _compare(found, summary)
    return Replay(history, episodes, ledgers)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _compare(found: Mapping[str, object], heads: Mapping[str, object]) -> None:
    """ValueError naming the first hash that is not the one in `heads`."""
    for name in (*heads, *found):
        got, allowed = found.get(name, "no file"), heads.get(name, "no entry")
        if got != allowed:
            part = f"hash of {name!r:.60}: got {str(got)[:12]!r}; allowed: {str(allowed)[:12]!r}, as in the heads"
            raise ValueError(f"{part}: it was edited, added or left out")


def _table(folder: Path, name: str) -> Any:
    """The table of that name, with the columns that it must have and their types."""
    table = read_table(folder, name)
    got = {column: str(kind) for column, kind in table.dtypes.items()}
    allowed = {column: TYPES.get(column, "float64") for column in COLUMNS[name]}
    for column in (*allowed, *got):
        if got.get(column) != allowed.get(column):
            raise ValueError(f"{name}, {column!r:.40}: got {got.get(column)}; allowed: {allowed.get(column)}")
    return table


def _shaped(name: str, table: pd.DataFrame, axes: Mapping[str, Any], kept: Sequence[str] = ()) -> dict[str, Any]:
    """The columns `kept` as arrays with these axes: columns whose values the rows run through in order, last first."""
    shape = tuple(map(len, axes.values()))
    full = len(table) == math.prod(shape) > 0
    for axis, (column, values) in enumerate(axes.items()):
        if not full or (np.moveaxis(table[column].to_numpy().reshape(shape), axis, -1) != values).any():
            raise ValueError(
                f"{name}: got {len(table)} rows; allowed: {math.prod(shape)}, one for each {', '.join(axes)}, in order"
            )
    return {column: table[column].to_numpy().reshape(shape) for column in kept}


def _places(trades: pd.DataFrame, blocks: pd.DataFrame, agents: int) -> Ints:
    """The place of each trade's block; the trades lie in the order of the blocks."""
    import pandas as pd

    keys = ["episode", "step"]
    counts = trades.value_counts(keys).reindex(pd.MultiIndex.from_frame(blocks[keys]), fill_value=0)
    place = np.repeat(np.arange(len(blocks)), counts)
    in_order = np.array_equal(blocks[keys].to_numpy()[place], trades[keys])
    if not in_order or not trades[["buyer", "seller"]].isin(range(DSO, agents)).all(axis=None):
        raise ValueError("trades: got other agents, episodes or steps; allowed: those of the states, in their order")
    return place


def _disagreements(history: History, trades: pd.DataFrame, place: Ints) -> Iterator[str]:
    """A line for whatever of an agent's state is not what its trades say: what it bought, sold and paid."""
    h, (steps, numbers, agents) = history, history.cost.shape

    def by_agent(side: str, amount: pd.Series) -> Floats:
        own = trades[side] != DSO
        total = np.bincount((place * agents + trades[side])[own], amount[own], h.cost.size)
        return np.asarray(total, np.float64).reshape(numbers, steps, agents).swapaxes(0, 1)

    energy, fee, p2p = trades["quantity"], trades["fee"] / 2, trades["stage"] < 3
    for kind, of in (("p2p", p2p), ("dso", ~p2p)):
        for done, side in (("bought", "buyer"), ("sold", "seller")):
            state = getattr(h, f"{done}_{kind}")
            yield from unequal(f"trades: {done}_{kind}", "kWh", by_agent(side, energy * of), state)
    paid = by_agent("buyer", energy * trades["price"] / 1000 + fee)
    paid -= by_agent("seller", energy * trades["seller_price"] / 1000 - fee)
    paid += (h.imported * h.utility_price[..., None] - h.exported * h.feed_in_tariff[..., None]) / 1000
    yield from unequal("trades: cost", "$", paid, h.cost)


def _ledgers(trades: pd.DataFrame, blocks: pd.DataFrame, place: Ints) -> dict[int, Ledger]:
    """The chain of each episode, unbroken, with its content encoded anew from the table of trades."""
    columns = {name: trades[name].to_numpy() for name in TRADE}
    edges = np.searchsorted(place, np.arange(len(blocks) + 1))
    chains: dict[int, Ledger] = {}
    for row, first, last in zip(blocks.to_dict("records"), edges, edges[1:], strict=False):
        content = encode(Trades(**{name: column[first:last] for name, column in columns.items()}), row["step"])
        chain = chains.setdefault(row["episode"], Ledger(row["difficulty"]))
        chain.blocks.append(Block(str(row["previous"]), content, row["nonce"], str(row["digest"])))
    for number, chain in chains.items():
        if not chain.verify(chain.head, chain.length):
            raise ValueError(
                f"{CHAIN}{number}: got blocks up to {chain.head[:12]!r}; allowed: those that led to it, unchanged; "
                "trades or blocks were edited or moved"
            )
    return chains
