"""Every step's trades and states as Parquet, and `replay`, which verifies all of them anew."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from market.clearing.orders import Floats, Ints, Trades
from market.community.scenario import Scenario
from market.community.tables import files_of, load_community, others, read_table, tables_of
from market.config import DSO
from market.records.audit import unequal, violations
from market.records.ledger import Block, Ledger, encode, ledger_of
from market.simulation.dynamics import initial
from market.simulation.history import PER_AGENT, PER_COMMUNITY, History, StepRecord
from market.support.files import write_together

FORMAT, SUMMARY, CHAIN = "2", "export.json", "ledger of episode "
TRADE = tuple(field.name for field in fields(Trades))
SEAL = ("nonce", "previous", "digest")
COLUMNS = {
    "communities": ("step", "episode", "day", *PER_COMMUNITY),
    "states": ("step", "episode", "agent", *PER_AGENT),
    "trades": ("episode", "step", *TRADE),
    "blocks": ("episode", "step", "difficulty", "trades", *SEAL),
}
"""Tables that an export has beside those of its community."""
WHOLE = ("step", "episode", "day", "buyer", "seller", "stage", "difficulty", "trades", "nonce")
TYPES = dict.fromkeys(WHOLE, "int64") | dict.fromkeys(("agent", "previous", "digest"), "str") | {"is_buy": "bool"}
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
    blocks = [block for chain in chains.values() for block in chain.blocks]
    known = [block.trades for block in blocks]
    counts = [len(trades) for trades in known]
    by_block = {"episode": np.repeat(episodes, steps), "step": np.tile(np.arange(steps), numbers)}
    trades = {name: np.repeat(column, counts) for name, column in by_block.items()}
    trades |= {name: np.concatenate([getattr(part, name) for part in known]) for name in TRADE}
    seals = by_block | {"difficulty": difficulty, "trades": counts}
    seals |= {name: [getattr(block, name) for block in blocks] for name in SEAL}
    tables = tables_of(scenario) | {
        "states": pd.DataFrame(each | {name: getattr(history, name).ravel() for name in PER_AGENT}),
        "communities": pd.DataFrame(at | {name: getattr(history, name).ravel() for name in PER_COMMUNITY}),
        "trades": pd.DataFrame(trades),
        "blocks": pd.DataFrame(seals),
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
    ids = np.array([agent.id for agent in community.agents], object)
    communities = _read(folder, "communities", {"step": None, "episode": None})
    axes = {"step": communities["step"][:, 0], "episode": communities["episode"][0]}
    states = _read(folder, "states", axes | {"agent": ids})
    blocks = _read(folder, "blocks", {"episode": axes["episode"], "step": axes["step"], "difficulty": None})
    trades = _read(folder, "trades", {})
    place = _places(trades, blocks, len(ids))
    history = History(**{name: (communities | states)[name] for name in (*PER_AGENT, *PER_COMMUNITY)})
    for problem in (*violations(history, community.params.fleet), *_disagreements(history, trades, place)):
        raise ValueError(problem)
    ledgers = _ledgers(trades, blocks)
    found |= {f"{CHAIN}{number}": chain.head for number, chain in ledgers.items()}
    _compare(found, summary)
    return Replay(history, axes["episode"], ledgers)


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _compare(found: Mapping[str, object], heads: Mapping[str, object]) -> None:
    """ValueError naming the first hash that is not the one in `heads`."""
    for name in (*heads, *found):
        got, allowed = found.get(name, "no file"), heads.get(name, "no entry")
        if got != allowed:
            part = f"hash of {name!r:.60}: got {str(got)[:12]!r}; allowed: {str(allowed)[:12]!r}, as in the heads"
            raise ValueError(f"{part}: it was edited, added or left out")


def _read(folder: Path, name: str, axes: Mapping[str, Any]) -> dict[str, Any]:
    """The columns of a table, of their types, as arrays with these axes.

    axes: columns and their values, through which the rows run in order, the last one fastest; None for those that the
        column has. Without axes, any rows are right.
    """
    table = read_table(folder, name)
    got = {column: str(kind) for column, kind in table.dtypes.items()}
    allowed = {column: TYPES.get(column, "float64") for column in COLUMNS[name]}
    for column in (*allowed, *got):
        if got.get(column) != allowed.get(column):
            raise ValueError(f"{name}, {column!r:.40}: got {got.get(column)}; allowed: {allowed.get(column)}")
    columns = {column: table[column].to_numpy() for column in allowed}
    values = [table[column].unique() if known is None else known for column, known in axes.items()]
    shape = [len(known) for known in values]
    if not axes:
        return columns
    fits = len(table) == math.prod(shape) > 0
    columns = {column: cells.reshape(shape) for column, cells in columns.items()} if fits else {}
    if not fits or not all((columns[column] == grid).all() for column, grid in zip(axes, np.ix_(*values), strict=True)):
        rows = f"{math.prod(shape)} rows, one for each {', '.join(axes)}, in order"
        raise ValueError(f"{name}: got {len(table)} rows; allowed: {rows}")
    return columns


def _places(trades: Mapping[str, Any], blocks: Mapping[str, Any], agents: int) -> Ints:
    """The place of each trade's block; the trades lie in the order of the blocks."""
    counts = blocks["trades"].ravel()
    right = counts.min() >= 0 and counts.sum(dtype=np.float64) == len(trades["step"])
    right = right and all(np.array_equal(np.repeat(blocks[key], counts), trades[key]) for key in ("episode", "step"))
    if not right or not all(((trades[side] >= DSO) & (trades[side] < agents)).all() for side in ("buyer", "seller")):
        raise ValueError("trades: got other agents, episodes or steps; allowed: those of the states, in their order")
    return np.repeat(np.arange(counts.size), counts)


def _disagreements(history: History, trades: Mapping[str, Any], place: Ints) -> Iterator[str]:
    """A line for whatever of an agent's state is not what its trades say: what it bought, sold and paid."""
    h, (steps, numbers, agents) = history, history.cost.shape

    def by_agent(side: str, amount: Floats) -> Floats:
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


def _ledgers(trades: Mapping[str, Any], blocks: Mapping[str, Any]) -> dict[int, Ledger]:
    """The chain of each episode, unbroken, with its content encoded anew from the table of trades."""
    ends = np.cumsum(blocks["trades"]).tolist()
    chains: dict[int, Ledger] = {}
    rows = zip(*(column.ravel().tolist() for column in blocks.values()), strict=True)
    for (episode, step, difficulty, count, nonce, previous, digest), end in zip(rows, ends, strict=True):
        content = encode(Trades(**{name: trades[name][end - count : end] for name in TRADE}), step)
        block = Block(str(previous), content, nonce, str(digest))
        chains.setdefault(episode, Ledger(difficulty)).blocks.append(block)
    for number, chain in chains.items():
        if not chain.verify(chain.head, chain.length):
            raise ValueError(
                f"{CHAIN}{number}: got blocks up to {chain.head[:12]!r}; allowed: those that led to it, unchanged; "
                "trades or blocks were edited or moved"
            )
    return chains
