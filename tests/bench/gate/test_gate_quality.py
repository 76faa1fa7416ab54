"""What the gate itself is measured with: slowdowns of known kinds, and equal code laid out anew."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest

from benches.gate.quality import kinds, layout
from benches.gate.quality.__main__ import kinds as kinds_table
from benches.gate.quality.__main__ import summary
from benches.gate.quality.probes import probes
from benches.measure import machine

SOURCE = '''"""Text."""

import functools

LIMIT = 3


def first(x):
    """One."""
    return second(x) + LIMIT


@functools.cache
def second(x):
    return x


def third(x=second):
    return x


CONSTANT = third(1)


def lone():
    return CONSTANT
'''


@pytest.mark.parametrize("name", [name for name, kind in kinds.KINDS.items() if kind.clock == "cpu"])
def test_both_ways_of_a_kind_compute_the_same(name):
    kind = kinds.KINDS[name]
    prepared = kind.setup()
    np.testing.assert_allclose(kind.call(prepared, False), kind.call(prepared, True))


def test_the_probes_hold_every_kind_and_only_head_is_slow():
    base, head = (probes(slow=slow) for slow in (False, True))
    assert list(base) == list(head)
    assert {f"probe/{kind}-0" for kind in kinds.KINDS} <= set(base)
    facts = [table["probe/memory-0"].call({}, 0).facts["growth_bytes"] for table in (base, head)]
    assert facts[0] < 100e3 < 400e3 < facts[1]
    assert probes(slow=False, kinds=(), extras=(), equal=1).keys() == {"probe/clear-0-0", "probe/step-0-0"}


def test_the_tables_tell_amounts_and_kinds_apart():
    common = {"hog": False, "load": 1.0, "seconds": 60.0, "run": "1-0", "flagged": False, "pairs": 3}
    rows = [{**common, "name": "probe/clear-10-0", "extra": 10}, {**common, "kind": "memory", "found": True}]
    assert [column.header for column in kinds_table(rows).columns][1:] == list(kinds.KINDS)
    assert list(kinds_table(rows).columns[-1].cells) == ["1 of 1"]
    assert "0 of 1" in list(summary(rows).columns[4].cells)


def test_functions_are_turned_but_for_those_that_need_one_another_when_defined():
    free = SOURCE.replace("x=second", "x=None")
    before, after = (
        [n.name for n in ast.parse(text).body if isinstance(n, ast.FunctionDef)]
        for text in (free, layout.reordered(free))
    )
    assert (before, after) == (["first", "second", "third", "lone"], ["third", "second", "first", "lone"])
    assert sorted(ast.unparse(ast.parse(free)).split()) == sorted(layout.reordered(free).split()), "nothing is lost"
    assert layout.reordered(SOURCE).strip() == ast.unparse(ast.parse(SOURCE)), "third needs second when it is defined"


@pytest.mark.slow  # imports the whole package in a new process
@pytest.mark.parametrize("variant", layout.VARIANTS)
def test_a_tree_laid_out_anew_is_other_text_and_the_same_market(variant, tmp_path):
    shutil.copytree(machine.ROOT / "market", tmp_path / "market", ignore=shutil.ignore_patterns("__pycache__"))
    before = {file: file.read_text() for file in tmp_path.rglob("*.py")}
    layout.lay_out(tmp_path, variant)
    assert {file: file.read_text() for file in tmp_path.rglob("*.py")} != before
    names = "market.clearing.single, market.simulation.dynamics, market.grid.power_flow, market.evaluation.optimum"
    code = f"import {names}; print(market.__file__)"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert str(tmp_path) in done.stdout
