"""The stopwatch: set-up, warm-up and rounds apart; cheap calls in blocks, beside blocks of their references."""

import os
from types import SimpleNamespace

import numpy as np
import pytest

from benches.case import Case, Outcome, Point, Unsupported
from benches.measure import stopwatch as measuring
from benches.measure.stopwatch import BLOCK, Measurement, Stopwatch, execute, measure, outlived


def toy(**changes):
    settings = {
        "name": "toy/add",
        "size": "agents",
        "grids": {},
        "setup": lambda params: [params["agents"]],
        "call": lambda prepared, turn: prepared.append(turn),
        "work": lambda params: {},
        "budget": 1.2,
        "rounds": lambda params: 4,
    }
    return Point(Case(**(settings | changes)), {"agents": 1})


class Clock:
    """A clock that moves only when something is done; on the real one a busy machine would spoil the figures."""

    now = 0.0

    def __call__(self):
        return self.now

    def spend(self, seconds):
        """Returns None, as a timed call does."""
        self.now += seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(measuring, "time", SimpleNamespace(perf_counter=clock, process_time=clock))
    return clock


def test_setup_warm_up_and_rounds_are_kept_apart():
    calls = []
    point = toy(
        setup=lambda params: calls.append("setup"),
        call=lambda prepared, turn: calls.append(turn),
        warmup=lambda prepared: calls.append("warm"),
        close=lambda prepared: calls.append("close"),
        clock="wall",
    )
    seen = Measurement()
    measure(point, seen)
    assert calls == ["setup", "warm", 0, 1, 2, 3, "close"]
    assert len(seen.seconds) == len(seen.cpu_seconds) == 4
    assert seen.calls == 1
    assert min(seen.seconds) >= 0
    assert seen.peak_memory > 0
    assert seen.elapsed > 0


def test_cheap_calls_are_timed_in_blocks_whose_inputs_go_on_rotating(clock):
    turns = []
    seen = Measurement()
    measure(toy(call=lambda _, turn: turns.append(turn) or clock.spend(1e-4)), seen)
    assert seen.calls == pytest.approx(BLOCK / 1e-4, abs=1)
    assert seen.seconds == pytest.approx([1e-4] * 4)
    timed = turns[-4 * seen.calls :]
    assert timed == list(range(seen.calls, 5 * seen.calls)), "no round sees the inputs of the one before"


@pytest.mark.parametrize(
    ("seconds", "change"), [(2 * BLOCK, {}), (1e-4, {"clock": "wall"}), (1e-4, {"rounds": lambda params: 2})]
)
def test_calls_that_are_long_or_few_or_go_on_from_each_other_are_timed_one_by_one(clock, seconds, change):
    seen, point = Measurement(), toy(call=lambda *_: clock.spend(seconds), **change)
    measure(point, seen)
    assert seen.calls == 1
    assert seen.seconds == pytest.approx([seconds] * point.rounds)


def test_a_cheap_call_is_as_warm_as_in_a_loop_of_its_own_whatever_its_references_do(clock):
    """Between two single calls, a reference would push what the call needs out of the caches."""
    order = []
    point = toy(
        call=lambda *_: order.append("call") or clock.spend(2e-4),
        references={"slow": lambda *_: order.append("slow") or clock.spend(2 * BLOCK)},
    )
    seen = Measurement()
    measure(point, seen)
    told = "".join(each[0] for each in order[-4 * (seen.calls + 1) :])
    assert told == ("c" * seen.calls + "s") * 4
    assert seen.reference_calls == {"slow": 1}
    assert seen.seconds == pytest.approx([2e-4] * 4), "the reference is no part of a round"
    assert seen.references["slow"] == pytest.approx([2 * BLOCK] * 4)


@pytest.mark.parametrize("clock", ["cpu", "wall"])
def test_a_reference_that_is_not_there_is_left_out_and_the_others_are_timed(clock):
    def missing(*_):
        raise Unsupported("not installed")

    point = toy(references={"missing": missing, "there": lambda *_: None}, clock=clock)
    seen = Measurement()
    measure(point, seen)
    assert set(seen.references) == {"there"}
    assert len(seen.seconds) == 4
    execute(point, Measurement())


def test_a_reference_that_fails_fails_the_cell_timed_or_not():
    point = toy(references={"broken": lambda *_: 1 / 0})
    for attempt in (measure, execute):
        with pytest.raises(ZeroDivisionError):
            attempt(point, Measurement())


def test_a_cheap_reference_is_timed_in_blocks_too_and_for_its_share_of_the_time(clock):
    fast = {"fast": lambda *_: clock.spend(1e-4)}
    point = toy(rounds=lambda params: 30, call=lambda *_: clock.spend(2 * BLOCK), references=fast)
    with Stopwatch(point, reference_seconds=5 * BLOCK) as watch:
        watch.warm_up()
        for _ in range(point.rounds):
            watch.round()
    assert watch.seen.calls == 1
    assert watch.seen.reference_calls["fast"] == pytest.approx(50, abs=1)
    assert watch.seen.references["fast"] == pytest.approx([1e-4] * 5)


def test_what_calls_report_is_averaged_over_a_round_and_later_facts_cost_no_time(clock):
    late = []

    def call(_prepared, turn):
        clock.spend(2e-4)
        return Outcome({"turns": float(turn)}, {"turn": turn}, lambda: later(turn))

    def later(turn):
        clock.spend(9.0)
        late.append(turn)
        return {"late": 1}

    seen = Measurement()
    measure(toy(call=call), seen)
    assert np.diff(seen.phases["turns"]) == pytest.approx([seen.calls] * 3)
    assert seen.facts["late"] == 1
    assert seen.facts["turn"] == late[-1] == 5 * seen.calls - 1
    assert len(late) == 4
    assert seen.seconds == pytest.approx([2e-4] * 4)


def test_a_call_that_returns_something_else_is_named():
    with pytest.raises(TypeError, match="toy/add: got a call that returns int; allowed: None, or an Outcome"):
        execute(toy(call=lambda _prepared, _turn: 7), Measurement())


def test_what_was_prepared_is_released_when_a_call_fails():
    closed = []

    def fail(prepared, turn):
        raise RuntimeError("boom")

    with pytest.raises(RuntimeError, match="boom"):
        execute(toy(call=fail, close=closed.append), Measurement())
    assert closed == [[1]]


def test_a_cell_cannot_end_the_run_in_silence():
    with pytest.raises(RuntimeError, match=r"the cell called os._exit\(0\)"), outlived():
        os._exit(0)
    with outlived():
        child = os.fork()
        if child == 0:
            os._exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7, "processes that a cell forks end as they want"
