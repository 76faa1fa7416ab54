"""Measuring one cell: set-up and the first, cold call timed apart, then rounds of the timed call.

A round is one call, or a block of calls of about BLOCK seconds where one takes less: a single cheap call would be timed
cold, after whatever ran before it. Blocks of the call and of its references alternate.
"""

from __future__ import annotations

import contextlib
import copy
import gc
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, fields
from statistics import fmean
from typing import Any, NoReturn

from benches.case import Outcome, Point, Unsupported
from benches.measure import machine

REFERENCE_SECONDS = 0.25
"""How long each reference of a cell is timed for; three rounds at least."""
BLOCK = 5e-3
"""Seconds: calls that take less are timed in blocks of about so many."""
LONG = 10 * BLOCK
"""Seconds of a first call that leave no doubt."""
FEWEST_ROUNDS = 3
"""Cells made for fewer rounds are timed call by call."""

Call = Callable[[Any, int], object]


@dataclass
class Measurement:
    """What was seen of one cell. Lists hold one value per round, in order; times in seconds a call, memory in bytes."""

    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    calls: int = 1
    """How many calls a round had; its times are means over them."""
    references: dict[str, list[float]] = field(default_factory=dict)
    """Wall seconds of what the call is compared with, by name, for the first rounds."""
    reference_calls: dict[str, int] = field(default_factory=dict)
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
    isolated: bool = False
    """Whether the cell had a process to itself, so that its peak memory is its own."""
    turns: list[int] = field(default_factory=list)
    """How many of the rounds each process had, where the sizes of a series took turns in several; else empty."""
    beside: bool = False
    """Whether another cell was measured at the same time, so that its own times decide nothing."""
    elapsed: float = 0.0
    process: int = field(default_factory=os.getpid)

    def take(self, other: Measurement) -> None:
        """Take over what another process saw."""
        for each in fields(Measurement):
            setattr(self, each.name, getattr(other, each.name))

    def add(self, other: Measurement) -> None:
        """Add the rounds that the next process saw in turns; what is no list of rounds is as that process has it."""
        joined = copy.deepcopy(other)
        joined.seconds, joined.cpu_seconds = self.seconds + other.seconds, self.cpu_seconds + other.cpu_seconds
        for mine, its in ((self.references, joined.references), (self.phases, joined.phases)):
            its.update({name: mine.get(name, []) + taken for name, taken in its.items()})
        joined.turns = [*self.turns, len(other.seconds)]
        joined.elapsed += self.elapsed
        self.take(joined)


class Stopwatch:
    """Prepares a cell (on entering `with`), warms it up, times its rounds, and releases it (on leaving).

    reference_seconds: a reference is timed in the first three rounds, and for as long as it has not taken more.
    """

    def __init__(
        self, point: Point, reference_seconds: float = REFERENCE_SECONDS, seen: Measurement | None = None
    ) -> None:
        self.point, self.reference_seconds = point, reference_seconds
        self.seen = seen or Measurement()
        self._prepared: Any = None
        self._references: dict[str, Call] = {}
        self._turn = 0
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
        """Execute once, cold (compilation, first allocations, caches), then find how many calls make a round."""
        case, seen = self.point.case, self.seen
        began = time.perf_counter()
        case.warm_up(self._prepared)
        seen.warmup_seconds = time.perf_counter() - began
        self.try_references()
        if case.clock == "cpu" and self.point.rounds >= FEWEST_ROUNDS:
            seen.calls = self._calls_in_a_block(case.call)
            seen.reference_calls = {name: self._calls_in_a_block(each) for name, each in self._references.items()}
            self._turn = seen.calls
        gc.collect()

    def try_references(self) -> None:
        """Call each reference once, cold; one that raises Unsupported is left out of the cell."""
        for name, reference in self.point.case.references.items():
            with contextlib.suppress(Unsupported):
                reference(self._prepared, 0)
                self._references[name] = reference

    def _calls_in_a_block(self, call: Call) -> int:
        """How many calls fill a block: the more of two tries, for on a busy machine fewer do."""
        if self._seconds_of(call, range(1)) >= LONG:  # the first call is cold, and decides only what is far from short
            return 1
        filled = [0, 0]
        for attempt in range(2):
            began = time.perf_counter()
            while time.perf_counter() - began < BLOCK:
                call(self._prepared, filled[attempt])
                filled[attempt] += 1
        return max(filled)

    def round(self) -> None:
        """One timed round of the call, and of the references on the same inputs; whatever the calls report is kept."""
        case, seen, prepared = self.point.case, self.seen, self._prepared
        call, turns, number = case.call, range(self._turn, self._turn + seen.calls), len(seen.seconds)
        cpu = time.process_time()
        wall = time.perf_counter()
        outcomes = [call(prepared, turn) for turn in turns]
        wall = time.perf_counter() - wall
        cpu = time.process_time() - cpu
        seen.seconds.append(wall / seen.calls)
        seen.cpu_seconds.append(cpu / seen.calls)
        for name, reference in self._references.items():
            taken = seen.references.setdefault(name, [])
            calls = seen.reference_calls.setdefault(name, 1)
            if len(taken) == number and (number < FEWEST_ROUNDS or sum(taken) * calls < self.reference_seconds):
                taken.append(self._seconds_of(reference, range(self._turn, self._turn + calls)) / calls)
        self._turn += seen.calls
        self._keep(outcomes)

    def _seconds_of(self, call: Call, turns: range) -> float:
        began = time.perf_counter()
        for turn in turns:
            call(self._prepared, turn)
        return time.perf_counter() - began

    def _keep(self, outcomes: list[Any]) -> None:
        """Phases as means over the round's calls; facts of the last call that has any."""
        for outcome in outcomes:
            if not isinstance(outcome, Outcome | None):
                got, case = type(outcome).__name__, self.point.case.name
                raise TypeError(
                    f"{case}: got a call that returns {got}; allowed: None, or an Outcome of phases and facts"
                )
        reported = [outcome for outcome in outcomes if outcome is not None]
        for phase in reported[-1].phases if reported else ():
            shares = [outcome.phases[phase] for outcome in reported]
            self.seen.phases.setdefault(phase, []).append(fmean(shares))
        if reported:
            self.seen.facts.update({**reported[-1].facts, **reported[-1].later()})

    def __exit__(self, *error: object) -> None:
        """Release what was prepared; the memory and load figures are taken first."""
        self.seen.peak_memory = machine.peak_memory()
        self.seen.load_after = machine.load_average()
        try:
            self.point.case.close(self._prepared)
        finally:
            self._prepared = None
            self.seen.elapsed = time.perf_counter() - self._began


def measure(
    point: Point,
    seen: Measurement,
    reference_seconds: float = REFERENCE_SECONDS,
    on: Callable[[], object] = lambda: None,
) -> None:
    """Measure a cell whole, in this process, into `seen`: warm-up and all rounds. Whatever the case raises passes.

    on: is called before each round.
    """
    with Stopwatch(point, reference_seconds, seen) as watch:
        watch.warm_up()
        for _ in range(point.rounds):
            on()
            watch.round()


def tidy_memory() -> None:
    """Collect garbage, and take what lives on (modules, the table) out of the collector's sight during the timing."""
    gc.collect()
    gc.freeze()


@contextlib.contextmanager
def outlived() -> Iterator[None]:
    """A call of `os._exit` inside is an error of the cell; it would end the run, which could not even say so."""
    end, process = os._exit, os.getpid()

    def refuse(status: int) -> NoReturn:
        if os.getpid() != process:  # a process that was forked inside
            end(status)
        raise RuntimeError(f"the cell called os._exit({status}); allowed: with --isolate, which it then ends alone")

    os._exit = refuse
    try:
        yield
    finally:
        os._exit = end


def execute(point: Point, seen: Measurement) -> None:
    """Execute a cell's call and its references once, cold, to see that they work."""
    with Stopwatch(point, seen=seen) as watch:
        watch.round()
        watch.try_references()
