"""Measuring one cell: set-up and the first, cold call timed apart, then rounds of the timed call.

`Stopwatch` knows nothing of pytest: the gate and asv use it as the tests do.
"""

from __future__ import annotations

import gc
import os
import time
from dataclasses import dataclass, field
from typing import Any

from benches import machine
from benches.case import Outcome, Point

REFERENCE_SECONDS = 0.5
"""How long each reference of a cell is timed for; three rounds at least."""


@dataclass
class Measurement:
    """What was seen of one cell. Lists hold one value per round, in order; times in seconds, memory in bytes."""

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    references: dict[str, list[float]] = field(default_factory=dict)
    """Wall seconds of what the call is compared with, by name, for the first rounds."""
    phases: dict[str, list[float]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    setup_seconds: float | None = None
    warmup_seconds: float | None = None
    load_before: list[float] = field(default_factory=list)
    load_after: list[float] = field(default_factory=list)
    memory_before: int | None = None
    peak_memory: int | None = None
    peak_is_own: bool = False
    """Whether the peak memory was started afresh for this cell, or is the process's since it began."""
    elapsed: float = 0.0
    process: int = field(default_factory=os.getpid)


class Stopwatch:
    """Prepares a cell (on entering `with`), warms it up, times its rounds, and releases it (on leaving).

    reference_seconds: a reference is timed in the first three rounds, and for as long as it has not taken more.
    """

    def __init__(self, point: Point, reference_seconds: float = REFERENCE_SECONDS) -> None:
        self.point, self.reference_seconds = point, reference_seconds
        self.seen = Measurement()
        self._prepared: Any = None
        self._rounds = 0
        self._began = 0.0

    def __enter__(self) -> Stopwatch:
        """Prepare the cell's inputs."""
        self._began = time.perf_counter()
        self.seen.load_before = machine.load_average()
        self.seen.memory_before = machine.resident_memory()
        self.seen.peak_is_own = machine.reset_peak_memory()
        try:
            self._prepared = self.point.case.setup(self.point.params)
        finally:
            self.seen.setup_seconds = self.seen.elapsed = time.perf_counter() - self._began
        return self

    def warm_up(self) -> None:
        """Execute once, cold: compilation, first allocations, caches."""
        began = time.perf_counter()
        if self.point.case.warmup is not None:
            self.point.case.warmup(self._prepared)
        else:
            self.point.case.call(self._prepared, 0)
        self.seen.warmup_seconds = time.perf_counter() - began
        for reference in self.point.case.references.values():
            reference(self._prepared, 0)
        gc.collect()

    def round(self) -> Outcome | None:
        """One timed call; its wall and CPU seconds are kept, and whatever it reports."""
        call, prepared, number = self.point.case.call, self._prepared, self._rounds
        cpu = time.process_time()
        wall = time.perf_counter()
        outcome = call(prepared, number)
        seconds = time.perf_counter() - wall
        self.seen.cpu_seconds.append(time.process_time() - cpu)
        self.seen.seconds.append(seconds)
        for name, reference in self.point.case.references.items():
            taken = self.seen.references.setdefault(name, [])
            if len(taken) == number and (number < 3 or sum(taken) < self.reference_seconds):
                wall = time.perf_counter()
                reference(prepared, number)
                taken.append(time.perf_counter() - wall)
        self._rounds += 1
        if not isinstance(outcome, Outcome | None):
            got, case = type(outcome).__name__, self.point.case.name
            raise TypeError(f"{case}: got a call that returns {got}; allowed: None, or an Outcome of phases and facts")
        if outcome is not None:
            for phase, share in outcome.phases.items():
                self.seen.phases.setdefault(phase, []).append(share)
            self.seen.facts.update(outcome.facts)
        return outcome

    def __exit__(self, *error: object) -> None:
        """Release what was prepared; the memory and load figures are taken first."""
        self.seen.peak_memory = machine.peak_memory()
        self.seen.load_after = machine.load_average()
        try:
            if self.point.case.close is not None:
                self.point.case.close(self._prepared)
        finally:
            self._prepared = None
            self.seen.elapsed = time.perf_counter() - self._began
