"""The goals command: it measures what it names, and refuses what it does not know."""

from __future__ import annotations

import math

import numba
import pytest

from benches.goals import GOALS, Figure, main, python_calls

COMPILED = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="without the JIT, kernels are Python and loop")


@COMPILED
def test_a_goal_that_holds_exits_with_zero(capsys):
    assert main(["calls"]) == 0
    assert "met" in capsys.readouterr().out


def test_a_goal_that_is_missed_exits_with_one(capsys, monkeypatch):
    monkeypatch.setitem(GOALS, "calls", lambda: iter([Figure("too slow", 2.0, 1.0, "s", "")]))
    assert main(["calls"]) == 1
    assert "NOT MET" in capsys.readouterr().out


@pytest.mark.parametrize(("value", "met"), [(1.0, True), (1.1, False), (math.nan, False)])
def test_not_a_number_is_never_met(value, met):
    assert Figure("", value, 1.0, "", "").met is met
    assert Figure("", -value, -1.0, "", "", at_least=True).met is met


def test_unknown_goal(capsys):
    with pytest.raises(SystemExit):
        main(["clearign"])
    assert "did you mean 'clearing'" in capsys.readouterr().err


@COMPILED
def test_python_calls_are_counted():
    assert 50 < python_calls(2) < 2000
