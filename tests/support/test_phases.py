"""The stopwatch: exclusive, per thread, empty where nobody records."""

from __future__ import annotations

import threading

import pytest

from market.support import phases
from market.support.phases import REMAINDER, combined, phase, record, unrecorded


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that the stopwatch reads; tests turn it by hand."""
    now = [100.0]
    monkeypatch.setattr(phases.time, "perf_counter", lambda: now[0])
    return now


def test_phases_are_exclusive_and_add_up(clock: list[float]) -> None:
    with record() as seconds:
        clock[0] += 1
        with phase("outer"):
            clock[0] += 2
            with phase("inner"):
                clock[0] += 4
            clock[0] += 8
            with phase("outer"):
                clock[0] += 16
        with phase("inner"):
            clock[0] += 32
        clock[0] += 64
    assert seconds == {"outer": 26, "inner": 36}
    assert combined(127, (seconds, 1.0)) == {"outer": 26, "inner": 36, REMAINDER: 65}


def test_an_error_ends_its_phases(clock: list[float]) -> None:
    with record() as seconds:
        with pytest.raises(KeyError), phase("a"), phase("b"):
            raise KeyError(clock.append(clock.pop() + 1))
        clock[0] += 5
        with phase("a"):
            clock[0] += 2
    assert seconds == {"b": 1, "a": 2}


def test_a_recording_within_a_recording_takes_its_phases(clock: list[float]) -> None:
    with record() as outer:
        with record() as inner, phase("a"):
            clock[0] += 1
        with phase("a"):
            clock[0] += 2
    assert (outer, inner) == ({"a": 2}, {"a": 1})


def test_nothing_is_recorded_outside_when_off_and_by_other_threads(clock: list[float]) -> None:
    with phase("nobody"):
        pass
    with record() as seconds:
        other = threading.Thread(target=lambda: phase("other").__enter__())
        other.start()
        other.join()
        with unrecorded(), record() as off, phase("off"):
            clock[0] += 1
    assert not seconds
    assert not off


def test_a_barrier_runs_before_the_clock_is_read(clock: list[float]) -> None:
    def finish() -> None:
        clock[0] += 10

    with record(finish) as seconds, phase("a"):
        pass
    assert seconds == {"a": 10}


def test_parts_are_weighted_and_their_remainders_join() -> None:
    both = combined(10.0, ({"a": 4.0}, 0.5), ({"a": 1.0, REMAINDER: 3.0}, 1.0))
    assert both == {"a": 3.0, REMAINDER: 7.0}
