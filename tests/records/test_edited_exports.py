"""Campaigns: no edit of an export and no mutation of a record goes unnoticed, or ends in another error than one line.

`make test` runs a sample of them, `make test-all` all.
"""

from __future__ import annotations

import hashlib
import json
import random
from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market import DSOProfileHandler, MarketConfig, Scenario
from market.envs import MarketVectorEnv
from market.records.audit import SUPPLY, USE, violations
from market.records.export import replay
from market.records.ledger import Ledger, decode
from market.simulation.history import PER_AGENT, PER_COMMUNITY, History
from market_support import at_random

STEPS = 4
NAMES = ("agents", "generation", "demand", "steps", "tariffs", "states", "communities", "trades", "blocks")


@pytest.fixture(scope="module")
def played():
    prices = DSOProfileHandler(40, 240, 50.0, 180.0)
    rules = {"max_steps": STEPS, "dso_profile_handler": prices, "market_config": MarketConfig()}
    env = MarketVectorEnv(Scenario.study(4, kinds=("prosumer", "consumer"), days=2, **rules), 2)
    return at_random(env, STEPS)


def refused(folder, heads=None) -> bool:
    """Whether replay refuses the folder; it may do so in one way only."""
    return one_line(lambda: replay(folder, heads))


def one_line(call) -> bool:
    """Whether a call raises a ValueError of one line; any other exception is a failure."""
    try:
        call()
    except ValueError as error:
        line = str(error)
    else:
        return False
    assert "got" in line, line
    assert "; allowed: " in line, line
    assert len(line.splitlines()) == 1, line
    return True


def cells(value):
    """Another value in the middle of the column."""

    def edit(table, column):
        values = table[column].astype(object)
        text = not isinstance(values.iloc[0], int | float) or isinstance(values.iloc[0], bool)
        if text and value is not None:
            values = values.astype(str)
        values.iloc[len(values) // 2] = f"{value}" if text and value is not None else value
        table[column] = pd.Series(values.tolist(), dtype=object).convert_dtypes(dtype_backend="pyarrow")
        return table

    return edit


def kind(to):
    """The whole column as something else."""

    def edit(table, column):
        table[column] = to(table[column])
        return table

    return edit


def exact(table, column):
    """The least that a number can change, in a column of the same type."""
    values = table[column].to_numpy().copy()
    middle = len(values) // 2
    if values.dtype.kind == "f":
        values[middle] = np.nextafter(values[middle], np.inf)
    else:
        values[middle] = not values[middle] if values.dtype.kind == "b" else values[middle] + values.dtype.type(1)
    table[column] = values
    return table


EDITS_OF_COLUMNS = {
    "least": lambda t, c: exact(t, c) if t[c].dtype.kind in "fib" else cells("x")(t, c),
    **{f"{value}": kind(lambda s, value=value: np.full(len(s), value)) for value in (0, 1.0, -1, np.nan, np.inf, True)},
    **{f"{value!r} in a cell": cells(value) for value in (-np.inf, np.nan, None, 1e308, -1.0, 2**62, -(2**63), 99)},
    "sorted": kind(lambda s: s.sort_values(key=lambda v: v.astype(str)).to_numpy()),
    "reversed": kind(lambda s: s.to_numpy()[::-1]),
    "rolled": kind(lambda s: np.roll(s.to_numpy(), 1)),
    "text": kind(lambda s: s.astype(str)),
    "lines": kind(lambda s: s.astype(str) + "\n\n"),
    "bytes": kind(lambda s: [str(v).encode() for v in s]),
    "time": kind(lambda s: pd.Timestamp("2025-01-01")),
    "span": kind(lambda s: pd.Timedelta("1h")),
    "list": kind(lambda s: [[1.0, 2.0]] * len(s)),
    "lists": kind(lambda s: [[1.0]] * (len(s) - 1) + [[]]),
    "category": kind(lambda s: s.astype(str).astype("category")),
    "objects": kind(lambda s: [{"a": 1}] * len(s)),
    "nothing": kind(lambda s: pd.Series([None] * len(s), dtype=object)),
    "narrow": kind(lambda s: s.astype("float32") if s.dtype.kind == "f" else s.astype(str).str[:1]),
    "nullable": kind(lambda s: s.convert_dtypes()),
    "index": lambda t, c: t.set_index(c),
    "left out": lambda t, c: t.drop(columns=c),
    "alone": lambda t, c: t[[c]],
    "named otherwise": lambda t, c: t.rename(columns={c: f"{c}\n"}),
    "named by a number": lambda t, c: t.rename(columns={c: 7}) if len(t.columns) == 1 else t.drop(columns=c),
    "twice": lambda t, c: t.assign(**{f"{c} again": t[c]}),
}
EDITS_OF_ROWS = {
    "no rows": lambda t, c: t.iloc[:0],
    "row twice": lambda t, c: pd.concat([t, t.iloc[-1:]]),
    "row left out": lambda t, c: t.iloc[1:],
    "rows thrice": lambda t, c: pd.concat([t, t, t]),
}
EDITS = EDITS_OF_COLUMNS | EDITS_OF_ROWS


def edit_all(name, edits, exported, copy):
    """Each edit of each column of a table, seen by the hash alone; and with hashes that fit again, never a crash."""
    heads, path = exported[1], copy / f"{name}.parquet"
    sealed, table = path.read_bytes(), pd.read_parquet(path)
    for number, column in enumerate(table.columns):
        for edit in edits(number):
            where = f"{edit} of {name}, {column}"
            EDITS[edit](table.copy(), column).to_parquet(path, index=None)
            content = path.read_bytes()
            if content == sealed:
                continue
            assert refused(copy, heads), where
            assert refused(copy), where
            other = heads | {path.name: hashlib.sha256(content).hexdigest()}
            (copy / "export.json").write_text(json.dumps(other))
            assert refused(copy, heads), where
            try:
                refused(copy)
            except Exception as error:
                raise AssertionError(where) from error
            (copy / "export.json").write_text(json.dumps(heads))
    path.write_bytes(sealed)
    assert not refused(copy, heads)


@pytest.mark.parametrize("name", NAMES)
def test_some_edits_of_every_column(name, exported, copy):
    kinds = list(EDITS)
    edit_all(name, lambda column: [kinds[7 * column % len(kinds)]], exported, copy)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_edit_of_every_column(name, exported, copy):
    edit_all(name, lambda column: EDITS_OF_COLUMNS if column else EDITS, exported, copy)


def flip_bits(path, exported, copy, every, known):
    """Flips of single bits, each seen."""
    sealed = path.read_bytes()
    for bit in range(0, len(sealed) * 8, every):
        flipped = bytearray(sealed)
        flipped[bit // 8] ^= 1 << bit % 8
        path.write_bytes(flipped)
        assert refused(copy, known), bit
    path.write_bytes(sealed)


@pytest.mark.parametrize("every", [199, pytest.param(5, marks=pytest.mark.slow)])
@pytest.mark.parametrize("known", [True, False], ids=["heads kept apart", "heads of the folder"])
def test_every_bit_of_the_heads(exported, copy, every, known):
    flip_bits(copy / "export.json", exported, copy, every, exported[1] if known else None)


@pytest.mark.parametrize("name", NAMES)
def test_bits_of_the_tables(name, exported, copy):
    path = copy / f"{name}.parquet"
    flip_bits(path, exported, copy, len(path.read_bytes()) // 3, None)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_damaged_tables_whose_hashes_fit(name, exported, copy):
    heads, path, draw = exported[1], copy / f"{name}.parquet", random.Random(7)
    sealed = path.read_bytes()
    for _ in range(300):
        content = bytearray(sealed)
        for _ in range(draw.choice((1, 1, 3))):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(content[: draw.choice((len(content), len(content), draw.randrange(len(content))))])
        other = heads | {path.name: hashlib.sha256(path.read_bytes()).hexdigest()}
        (copy / "export.json").write_text(json.dumps(other))
        refused(copy)
        assert other == heads or refused(copy, heads)
    path.write_bytes(sealed)
    (copy / "export.json").write_text(json.dumps(heads))


AUDITED = {*SUPPLY, *USE, "energy", "fee", "cost", "budget_surplus", "dso_income"}
"""Fields of a record in which the laws notice any change; the others are sealed by hashes once they are exported."""


@pytest.mark.parametrize("examples", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_mutated_records(played, examples):
    records, fleet = played._records, played.params.fleet

    @settings(max_examples=examples)
    @given(
        step=st.integers(0, STEPS - 1),
        place=st.tuples(st.integers(0, 1), st.integers(0, 3)),
        name=st.sampled_from((*PER_AGENT, *PER_COMMUNITY)),
        value=st.floats() | st.sampled_from([0.0, 1.0, -1.0, 1e-3, 1e308]),
    )
    def mutate(step, place, name, value):
        column = getattr(records[step], name).copy()
        place = place[: column.ndim]
        before = float(column[place])
        column[place] = value
        changed = [*records[:step], replace(records[step], **{name: column}), *records[step + 1 :]]
        size = max(1.0, *(float(np.abs(getattr(record, name)).max()) for record in records))
        noticed = name in AUDITED and not abs(value - before) <= 1e-3 * size
        lines = violations(History.of(changed), fleet)
        assert all("; allowed: " in line and len(line.splitlines()) == 1 for line in lines)
        assert lines or not noticed, (name, before, value)

    mutate()


@pytest.mark.parametrize("examples", [60, pytest.param(2000, marks=pytest.mark.slow)])
def test_mutated_blocks(played, examples):
    kept = played.ledger(0)

    @settings(max_examples=examples)
    @given(
        place=st.integers(0, STEPS - 1),
        name=st.sampled_from([field.name for field in fields(kept.blocks[0])]),
        at=st.integers(0, 10**6),
        how=st.sampled_from(["flip", "cut", "add", "double", "swap"]),
        value=st.integers(0, 255),
    )
    def mutate(place, name, at, how, value):
        chain, block = Ledger(kept.difficulty), kept.blocks[place]
        chain.blocks = list(kept.blocks)
        part = getattr(block, name)
        raw = bytearray(part if isinstance(part, bytes) else str(part).encode())
        at %= len(raw)
        if how == "flip":
            raw[at] ^= 1 << value % 8
        elif how == "swap":
            raw = bytearray(getattr(kept.blocks[value % STEPS], name) if isinstance(part, bytes) else b"7" * len(raw))
        else:
            raw[at:] = {"cut": b"", "add": bytes([value]) + raw[at:], "double": raw[at:] * 2}[how]
        other = bytes(raw) if isinstance(part, bytes) else raw.decode("latin-1")
        if name == "nonce":
            other = int(other) if other.isdecimal() and other.isascii() else other
        if other == part:
            return
        chain.blocks[place] = replace(block, **{name: other})
        assert not chain.verify(kept.head, kept.length)
        if name == "content" and other not in [known.content for known in kept.blocks]:
            one_line(lambda: decode(other))

    mutate()
