"""The goals command: it measures what it names, and refuses what it does not know."""

from __future__ import annotations

import math

import numba
import pytest

from benches import goal, goals
from benches.goal import measured_ratio, measured_record
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


def test_a_ratio_rests_on_every_round():
    record = measured_record("clear/trades", orders=10)
    figure = measured_ratio(record, "sort", 2.0)
    assert len(record.seconds) == len(record.references["sort"]) == len(record.references["naive"]) == 64
    assert "64 rounds" in figure.detail
    assert figure.limit == 2.0


@COMPILED
def test_the_goals_of_clearing(monkeypatch):
    """Their limits are those of the issue; here on small books, whose figures mean nothing."""
    sizes = {"orders": lambda orders: orders // 1000, "markets": lambda markets: markets // 64}

    def small(case, **params):
        return measured_record(case, **{axis: sizes.get(axis, int)(value) for axis, value in params.items()})

    monkeypatch.setattr(goals, "_record", small)
    monkeypatch.setattr(goal, "measured_record", small)
    monkeypatch.setattr(goals, "_extra_memory", lambda size: 1.0)
    limits = [(figure.limit, figure.unit, figure.at_least) for figure in goals.clearing()]
    ratios = [(limit, "times", False) for limit in (0.5, 0.5, 2.0)]
    others = [(1.1, "exponent", False), (6.0, "times", False), (8.0, "us", False), (1.0, "times", True)]
    assert limits == [(20.0, "ms", False), *ratios, *others, (200.0, "bytes an order", False)]


def test_unknown_goal(capsys):
    with pytest.raises(SystemExit):
        main(["clearign"])
    assert "did you mean 'clearing'" in capsys.readouterr().err


@COMPILED
def test_python_calls_are_counted():
    assert 50 < python_calls(2) < 2000
