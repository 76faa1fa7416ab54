"""The goals command: it measures what it names, and refuses what it does not know."""

from __future__ import annotations

import io
import json
import math
import re
import sys

import numba
import numpy as np
import pytest

from benches.goals import command as goals
from benches.goals import goal, training
from benches.goals.command import GOALS, main, python_calls
from benches.goals.goal import Figure, Goal, measured_ratio, measured_record

COMPILED = pytest.mark.skipif(numba.config.DISABLE_JIT, reason="without the JIT, kernels are Python and loop")

MET = Figure("quick", 1.0, 2.0, "s", "min 1")


def fake(monkeypatch, name, *figures, seconds=60.0):
    """A goal that yields these figures, and raises those that are errors."""

    def measure():
        for figure in figures:
            if isinstance(figure, BaseException):
                raise figure
            yield figure

    monkeypatch.setitem(GOALS, name, Goal(measure, seconds))


@COMPILED
def test_a_goal_that_holds_exits_with_zero(capsys):
    assert main(["calls"]) == 0
    assert "met" in capsys.readouterr().out


def test_a_goal_that_is_missed_exits_with_one(capsys, monkeypatch):
    fake(monkeypatch, "calls", Figure("too slow", 2.0, 1.0, "s", ""))
    assert main(["calls"]) == 1
    assert "NOT MET" in capsys.readouterr().out


def test_the_plan_says_how_long_and_each_figure_what_is_left(capsys, monkeypatch):
    fake(monkeypatch, "calls", MET, seconds=600.0)
    fake(monkeypatch, "stepping", MET, MET, seconds=120.0)
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["stepping", "calls"]) == 0
    plan, *lines = capsys.readouterr().err.splitlines()
    assert plan == "2 goals, about 12:00: stepping 2:00, calls 10:00"
    assert [line.split("; ")[0] for line in lines] == ["quick: 1 s, met"] * 3
    assert lines[0].endswith("; about 12:00 left, 2 of 2 goals")
    assert lines[2].endswith(" left, 1 of 2 goals")
    minutes = int(lines[2].split("about ")[1].split(":")[0])
    assert 3 <= minutes < 10, "where one goal took less than planned, the others will"


def test_a_goal_that_raises_is_one_line_and_the_others_go_on(capsys, monkeypatch):
    fake(monkeypatch, "calls", MET, RuntimeError("boom\nover [bold]two\x1b[2J lines"))
    fake(monkeypatch, "stepping", MET)
    monkeypatch.setenv("COLUMNS", "150")
    assert main(["calls", "stepping"]) == 1
    output = capsys.readouterr()
    (line,) = [line for line in output.err.splitlines() if "failed" in line]
    assert line.startswith("calls: failed: RuntimeError: boom over [bold]two\\x1b[2J lines, NOT MET; about ")
    assert len(re.findall("│ met ", output.out)) == 2
    assert len(re.findall("│ NOT MET ", output.out)) == 1
    assert "failed: RuntimeError: boom over" in output.out


def test_ctrl_c_shows_what_was_measured(capsys, monkeypatch):
    fake(monkeypatch, "calls", MET, KeyboardInterrupt())
    fake(monkeypatch, "stepping", MET)
    assert main(["calls", "stepping"]) == goals.INTERRUPTED
    output = capsys.readouterr()
    assert "interrupted; not measured, or not in full: calls, stepping" in output.err
    assert len(re.findall("│ met ", output.out)) == 1


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_the_table_fits_80_columns_in_every_encoding(monkeypatch, encoding):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding, write_through=True))
    monkeypatch.setenv("COLUMNS", "80")
    name, detail = "speed-up on 2 threads, a batch of 256 markets of 1,000 \u00b5", "of the minima 0.667, " * 9
    fake(monkeypatch, "calls", Figure(name, 14.7, 10.0, "% of an iteration", detail, at_least=True))
    assert main(["calls"]) == 0
    text = written.getvalue().decode(encoding)
    assert all(len(line) <= 80 for line in text.splitlines())
    words = text.replace("|", " ").replace("│", " ").split()
    assert {*name.split()[:-1], *detail.split()} <= set(words), "no word is cut"


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


@pytest.mark.slow
@COMPILED
def test_the_goals_of_clearing(monkeypatch):
    """Their limits are those of the issue; here on small books, whose figures mean nothing."""
    sizes = {"orders": lambda orders: orders // 1000, "markets": lambda markets: markets // 64}

    def small(case, **params):
        return measured_record(case, **{axis: sizes.get(axis, int)(value) for axis, value in params.items()})

    monkeypatch.setattr(goals, "measured_record", small)
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
    assert 50 < python_calls(10) < 2000  # two agents may not trade in the warm-up, which then loads fewer kernels


@pytest.fixture
def no_building(monkeypatch):
    """The rest of the goal `scale` takes its time, and is not what is tested."""
    monkeypatch.setattr(training, "MODES", ())


@pytest.mark.usefixtures("no_building")
@pytest.mark.parametrize(
    ("module", "message"),
    [
        ("raise SystemExit('boom\\nbang')", "exit status 1: bang"),
        ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL, which usually means"),
        ("print('no figures')", "Expecting value"),
        ("pass", "Expecting value"),
    ],
)
def test_a_training_apart_that_fails_misses_the_goal_in_one_line(monkeypatch, module, message):
    monkeypatch.setattr(training, "APART", module)
    figures = list(training.scale())
    assert len(figures) == 3
    for figure in figures:
        assert math.isnan(figure.value)
        assert not figure.met
        assert re.search(f"^failed: .*{message}", figure.detail)
        assert "\n" not in figure.detail


def peak(agents):
    _, told = training.processor_seconds(training.APART.format(agents=agents))
    return json.loads(told.splitlines()[-1])[2]


@pytest.mark.slow  # trains a few times
def test_the_peak_memory_of_a_training_is_its_own():
    """Whatever this process holds, the figure is that of a process that trains and does nothing else."""
    first = peak(2)
    ballast = np.ones(2**27)  # a GiB
    second = peak(2)
    assert second == pytest.approx(first, rel=0.05)
    assert ballast.nbytes / 2**30 + 0.1 < training.machine.peak_memory() / 2**30
