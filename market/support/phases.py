"""Where time goes: named phases of a piece of work, in seconds.

`with phase("clearing"):` marks a part of the work; `with record() as seconds:` around the work collects its phases.
Phases are exclusive: inside a phase within a phase, only the inner one runs. A phase that nobody records costs well
under a microsecond. Each thread records for itself.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

REMAINDER = "framework"
"""The phase that holds what no other does."""


class _Recording:
    """The running phase, those that it interrupts, and the seconds of all so far."""

    def __init__(self, barrier: Callable[[], None] | None) -> None:
        self.seconds: dict[str, float] = {}
        self.running: list[str] = []
        self._barrier = barrier
        self._since = time.perf_counter()

    def charge(self) -> None:
        """Charge the time since the last change to the running phase."""
        if self._barrier is not None:
            self._barrier()
        now = time.perf_counter()
        if self.running:
            name = self.running[-1]
            self.seconds[name] = self.seconds.get(name, 0.0) + now - self._since
        self._since = now


class _Thread(threading.local):
    """The recording of this thread, if there is one, and whether recordings may start."""

    recording: _Recording | None = None
    enabled = True


_THREAD = _Thread()


class phase:
    """A context manager: its body is the phase `name`, if a recording runs (a class: a generator costs far more)."""

    __slots__ = ("_name", "_recording")

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        recording = self._recording = _THREAD.recording
        if recording is not None:
            recording.charge()
            recording.running.append(self._name)

    def __exit__(self, *error: object) -> None:
        if self._recording is not None:
            self._recording.charge()
            self._recording.running.pop()


@contextmanager
def record(barrier: Callable[[], None] | None = None) -> Iterator[Mapping[str, float]]:
    """Collect the phases inside as seconds by name; the mapping grows until the block ends.

    A recording within a recording takes its phases for itself.
    barrier: called before the clock is read, for devices that work on after a call returns (torch.cuda.synchronize).
    """
    outer = _THREAD.recording
    recording = _Recording(barrier)
    _THREAD.recording = recording if _THREAD.enabled else None
    try:
        yield recording.seconds
    finally:
        _THREAD.recording = outer


@contextmanager
def unrecorded() -> Iterator[None]:
    """Recordings inside stay empty: to measure what recording costs."""
    _THREAD.enabled = False
    try:
        yield
    finally:
        _THREAD.enabled = True


def combined(total: float, *parts: tuple[Mapping[str, float], float]) -> dict[str, float]:
    """Phases of a piece of work of `total` seconds: those of its parts, each with a weight, and the REMAINDER.

    The values add up to `total`: remainders of parts go into that of the whole. Parts that ran at the same time can
    make it negative.
    """
    seconds: dict[str, float] = {}
    for part, weight in parts:
        for name, value in part.items():
            if name != REMAINDER:
                seconds[name] = seconds.get(name, 0.0) + weight * value
    return {**seconds, REMAINDER: total - sum(seconds.values())}
