"""Every step's trades and states as Parquet, and `replay`, which verifies all of them anew."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from market.clearing.orders import Trades
from market.community.scenario import Scenario
from market.community.tables import files_of, load_community, others, read_table, tables_of
from market.constants import DSO
from market.records.audit import unequal, violations
from market.records.ledger import Block, Ledger, encode
from market.simulation.dynamics import initial
from market.simulation.history import PER_AGENT, PER_COMMUNITY, History, StepRecord
from market.support.arrays import Floats, Ints
from market.support.files import write_together

if TYPE_CHECKING:
    import pandas as pd

FORMAT, SUMMARY, CHAIN = "2", "export.json", "ledger of episode "
TABLES = ("communities", "states", "trades", "blocks")  # and those of the community
TRADE = tuple(field.name for field in fields(Trades))


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
    ids, difficulty = [agent.id for agent in scenario.agents], scenario.market_config.blockchain_difficulty
    day = np.tile(initial(scenario.params, episodes).day, len(records))
    ledgers = {int(number): Ledger(difficulty) for number in episodes}
    for step, record in enumerate(records):
        for place, ledger in enumerate(ledgers.values()):
            ledger.append(record.trades(place), step)
    files = files_of(tables_of(scenario) | _tables(History.of(records), day, ids, ledgers), "parquet")
    heads = {"format": FORMAT} | {name: sha256(content).hexdigest() for name, content in files.items()}
    heads |= {f"{CHAIN}{number}": ledger.head for number, ledger in ledgers.items()}
    write_together(Path(folder), files | {SUMMARY: (json.dumps(heads, indent=2) + "\n").encode()}, others(files))
    return heads


def _tables(history: History, day: Ints, ids: list[str], ledgers: dict[int, Ledger]) -> dict[str, pd.DataFrame]:
    """The tables of T steps of E episodes. day: which each step and episode played, [T E]. ledgers: by episode."""
    import pandas as pd

    blocks = [block for ledger in ledgers.values() for block in ledger.blocks]
    known = [block.trades for block in blocks]
    steps, counts = range(len(history.cost)), [len(trades) for trades in known]

    def table(columns: dict[str, Any], **axes: Any) -> pd.DataFrame:
        """A row for each of the product of the axes."""
        index = pd.MultiIndex.from_product([*axes.values()], names=[*axes])
        return pd.DataFrame(columns, index).reset_index()

    difficulty = {"difficulty": np.repeat([ledger.difficulty for ledger in ledgers.values()], len(steps))}
    seals = {name: [getattr(block, name) for block in blocks] for name in ("previous", "nonce", "digest")}
    sealed = table(difficulty | {"trades": counts} | seals, episode=[*ledgers], step=steps)
    places = {name: np.repeat(sealed[name].to_numpy(), counts) for name in ("episode", "step")}
    traded = {name: np.concatenate([getattr(part, name) for part in known]) for name in TRADE}
    of_communities = {name: getattr(history, name).ravel() for name in PER_COMMUNITY}
    of_states = {name: getattr(history, name).ravel() for name in PER_AGENT}
    return {
        "communities": table({"day": day} | of_communities, step=steps, episode=[*ledgers]),
        "states": table(of_states, step=steps, episode=[*ledgers], agent=ids),
        "trades": pd.DataFrame(places | traded),
        "blocks": sealed,
    }


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
        summary = {**json.loads((folder / SUMMARY).read_text(encoding="utf-8"))}
    except (OSError, TypeError, ValueError, RecursionError):
        raise ValueError(f"folder: got {str(folder)!r}; allowed: one that market.records.export.export wrote") from None
    if summary.get("format") != FORMAT:
        raise ValueError(f"format: got {summary.get('format')!r:.60}; allowed: {FORMAT!r}; export the episodes again")
    if not isinstance(heads, Mapping | None):
        raise ValueError(f"heads: got {heads!r:.60}; allowed: what export returned, or None")
    _compare(summary, summary if heads is None else heads)
    files = [folder / name for name in (*(f"{table}.parquet" for table in TABLES), *others(()))]
    found = {"format": FORMAT} | {file.name: sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()}
    _compare(found, {name: head for name, head in summary.items() if not name.startswith(CHAIN)})
    community = load_community(folder, dso_profile_handler=None)
    tables, ids = {name: read_table(folder, name) for name in TABLES}, [agent.id for agent in community.agents]
    try:
        ledgers = _ledgers(tables["blocks"], tables["trades"])
        history = _history(tables["communities"], tables["states"], (-1, len(ledgers), len(ids)))
        again = _tables(history, tables["communities"]["day"].to_numpy(np.int64), ids, ledgers)
        other = [name for name in TABLES if not again[name].equals(tables[name])]
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ValueError(f"tables: got some that do not fit together ({error!r:.80}); allowed: an export's") from None
    problems = [f"{name}: got other columns, types, rows or order; allowed: those that export wrote" for name in other]
    problems = problems or violations(history, community.params.fleet)
    problems = problems or [*_disagreements(history, tables["trades"], [*ledgers])]
    broken = (number for number, ledger in ledgers.items() if not ledger.verify(ledger.head, ledger.length))
    problems += [f"{CHAIN}{number}: got trades or blocks edited or moved; allowed: unchanged ones" for number in broken]
    for problem in problems:
        raise ValueError(problem)
    found |= {f"{CHAIN}{number}": ledger.head for number, ledger in ledgers.items()}
    _compare(found, summary)
    return Replay(history, np.array([*ledgers]), ledgers)


def _ledgers(blocks: pd.DataFrame, trades: pd.DataFrame) -> dict[int, Ledger]:
    """The chain of each episode, its content encoded anew from the table of trades."""
    columns, end = {name: trades[name].to_numpy() for name in TRADE}, 0
    ledgers: dict[int, Ledger] = {}
    for row in blocks.to_dict("records"):
        begin, end = end, end + row["trades"]
        content = encode(Trades(**{name: column[begin:end] for name, column in columns.items()}), row["step"])
        ledger = ledgers.setdefault(row["episode"], Ledger(row["difficulty"]))
        ledger.blocks.append(Block(str(row["previous"]), content, int(row["nonce"]), str(row["digest"])))
    return ledgers


def _history(communities: pd.DataFrame, states: pd.DataFrame, shape: tuple[int, int, int]) -> History:
    """The tables as arrays [T, E] and [T, E, N]."""
    of_communities = {name: communities[name].to_numpy(np.float64).reshape(shape[:2]) for name in PER_COMMUNITY}
    of_states = {name: states[name].to_numpy(bool if name == "is_buy" else float).reshape(shape) for name in PER_AGENT}
    return History(**of_states, **of_communities)


def _compare(found: Mapping[str, object], heads: Mapping[str, object]) -> None:
    """ValueError naming the first hash that is not the one in `heads`."""
    for name in (*heads, *found):
        got, allowed = found.get(name, "no file"), heads.get(name, "no entry")
        if got != allowed:
            part = f"hash of {name!r:.60}: got {str(got)[:12]!r}; allowed: {str(allowed)[:12]!r}, as in the heads"
            raise ValueError(f"{part}: it was edited, added or left out")


def _disagreements(history: History, trades: pd.DataFrame, episodes: list[int]) -> Iterator[str]:
    """A line for whatever of an agent's state is not what its trades say: what it bought, sold and paid."""
    import pandas as pd

    h, (steps, _, agents) = history, history.cost.shape
    everyone = pd.MultiIndex.from_product((range(steps), episodes, range(agents)))

    def by_agent(side: str, amount: pd.Series) -> Floats:
        total = amount.groupby([trades["step"], trades["episode"], trades[side]]).sum()
        return np.asarray(total.reindex(everyone, fill_value=0.0), np.float64).reshape(h.cost.shape)

    if not trades[["buyer", "seller"]].isin(range(DSO, agents)).all(axis=None):
        yield f"trades: got an agent without a state; allowed: 0 to {agents - 1}, or {DSO} for the DSO"
    energy, fee, p2p = trades["quantity"], trades["fee"] / 2, trades["stage"] < 3
    for kind, of in (("p2p", p2p), ("dso", ~p2p)):
        for done, side in (("bought", "buyer"), ("sold", "seller")):
            state = getattr(h, f"{done}_{kind}")
            yield from unequal(f"trades: {done}_{kind}", "kWh", by_agent(side, energy * of), state)
    paid = by_agent("buyer", energy * trades["price"] / 1000 + fee)
    received = by_agent("seller", energy * trades["seller_price"] / 1000 - fee)
    rest = (h.imported * h.utility_price[..., None] - h.exported * h.feed_in_tariff[..., None]) / 1000
    yield from unequal("trades: cost", "$", paid - received + rest, h.cost)
