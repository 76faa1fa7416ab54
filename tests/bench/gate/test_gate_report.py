"""What the gate prints: the table fits the terminal, whatever the cells are called."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console

from benches import cases
from benches.gate import report as gate_report
from benches.gate.pair import SIDES, Sampled
from benches.gate.plan import Cell, Tree
from benches.gate.result import Result
from benches.gate.run import Gate
from benches.gate.verdict import Interval, TimeVerdict, WorkVerdict

MORE = WorkVerdict(more=[("python_calls", 1, 2)])


def gate(tmp_path, *cells, outcome="slower"):
    found = Gate({side: Tree(side, tmp_path, None) for side in SIDES}, results=[Result(cell) for cell in cells])
    for result in found.results:
        result.taken = [Sampled({side: {"cpu": np.full(3, 1.5e-4), "wall": np.full(3, 2e-4)} for side in SIDES})]
        result.time = TimeVerdict(outcome, Interval(1.2, 1.1, 1.3), 11, final=True)
        result.work = MORE
    return found


def cell(case="a/b", **params):
    return Cell(case, "1", {"n": 1, **params}, "n", 1.0, "cpu", 60)


def printed(found, width):
    console = Console(file=io.StringIO(), width=width, markup=False)
    console.print(gate_report.table(found, width))
    return console.file.getvalue()


def listed():
    return [
        Cell(c.name, c.version, p.params, c.size, p.size, c.clock, p.rounds)
        for c in cases.CASES.values()
        for p in c.points("quick")
    ]


def test_the_real_table_fits_80_columns_and_cuts_no_word(tmp_path):
    text = printed(gate(tmp_path, *listed()), 80)
    assert max(map(cell_len, text.splitlines())) <= 80
    assert "…" not in text
    words = set(text.split())
    assert {word for each in listed() for word in each.label.split()} <= words
    assert {"150", "us", "1.200", "slower,", "more", "work"} <= words


@pytest.mark.parametrize(
    ("width", "columns"),
    [(80, ()), (100, ("pairs",)), (106, ("wall", "pairs")), (132, ("interval", "wall", "pairs"))],
)
def test_a_narrow_terminal_does_without_the_least_important_columns(tmp_path, width, columns):
    heading = printed(gate(tmp_path, cell("group/case", axis="x" * 30)), width).split("┡")[0]
    assert [name for name in gate_report.DROPPED if name in heading] == list(columns)


@given(name=st.text(min_size=1, max_size=60), width=st.integers(80, 200), outcome=st.sampled_from(["same", "slower"]))
def test_any_name_fits_any_terminal(tmp_path_factory, name, width, outcome):
    text = printed(gate(tmp_path_factory.getbasetemp(), cell(name), outcome=outcome), width)
    assert max(map(cell_len, text.splitlines())) <= width
    assert "1.200" in text
