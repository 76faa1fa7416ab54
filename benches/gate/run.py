"""A run of the gate: process pairs until every cell is decided or the time is over, then the conclusions."""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benches.gate import OK, REGRESSION, UNMEASURED
from benches.gate import instructions as gate_instructions
from benches.gate.pair import SIDES, Dose, Failed, Floats, Pair, Sampled, dose
from benches.gate.plan import Cell, Plan, Tree, match
from benches.gate.verdict import (
    LOOKS,
    TOLERANCE,
    Interval,
    ShapeVerdict,
    TimeVerdict,
    WorkVerdict,
    judge_shape,
    judge_time,
    judge_work,
)
from benches.measure import machine

Say = Callable[[str], None]
COUNTS, MOST_COUNTS = 2, 3
"""How many processes of each side count, and how many where those do not agree."""
MORE = "more work"
NOTHING_YET = TimeVerdict("unclear", Interval(1.0, 0.0, math.inf), 0, final=False)


@dataclass
class Result:
    """What is known of one cell so far."""

    cell: Cell
    taken: list[Sampled] = field(default_factory=list)
    counters: dict[str, list[dict[str, float]]] = field(default_factory=lambda: {side: [] for side in SIDES})
    instructions: dict[str, list[float]] = field(default_factory=lambda: {side: [] for side in SIDES})
    """Of one call in each process under callgrind, where they were counted."""
    problem: str = ""
    unsupported: bool = False
    dose: Dose | None = None
    time: TimeVerdict = NOTHING_YET
    work: WorkVerdict = field(default_factory=WorkVerdict)

    @property
    def findings(self) -> tuple[str, ...]:
        """What the cell shows: of time, of work, or of both."""
        if self.problem:
            return ("unsupported" if self.unsupported else "failed",)
        if self.work.more:
            return (self.time.outcome, MORE) if self.time.outcome in ("slower", "faster") else (MORE,)
        return (self.time.outcome,)

    @property
    def outcome(self) -> str:
        """The findings in words."""
        return ", ".join(self.findings)

    @property
    def wall_ratio(self) -> float:
        """Median ratio head / base on the wall clock; nan before anything is measured."""
        ratios = [sampled.ratios("wall") for sampled in self.taken]
        return math.exp(float(np.median(np.concatenate(ratios)))) if ratios else math.nan

    def medians(self, side: str) -> list[float]:
        """Median seconds per call of each process of a side, on the clock that decides."""
        return [float(np.median(sampled.seconds[side][self.cell.clock])) for sampled in self.taken]

    @property
    def to_count(self) -> bool:
        """Whether another process of each side must count."""
        counted = len(self.counters["head"])
        return counted < COUNTS or (counted < MOST_COUNTS and bool(self.work.unsteady))

    def instructions_differ(self, tolerance: float) -> bool:
        """Whether those of the processes so far lie apart by more than the tolerance."""
        base, head = (self.instructions[side] for side in SIDES)
        return bool(base and head) and max(base[0], head[0]) > min(base[0], head[0]) * (1 + tolerance)

    def judge(self, tolerance: float, *, last: bool) -> None:
        """Bring the verdicts up to date. The counters of a cell with more than one thread decide nothing."""
        if not self.cell.threaded:
            base, head = ([*self.counters[side], *self._instructions(side)] for side in SIDES)
            self.work = judge_work(base, head, tolerance)
        if self.taken:
            ratios: list[Floats] = [sampled.ratios(self.cell.clock) for sampled in self.taken]
            self.time = judge_time(ratios, tolerance=tolerance, last=last)

    def _instructions(self, side: str) -> list[dict[str, float]]:
        """Those that two processes counted; where one was enough, both sides were alike."""
        counts = self.instructions[side]
        return [{"instructions": count} for count in counts] if len(counts) > 1 else []


@dataclass
class Gate:
    """One comparison. budget: seconds for everything. limit: seconds for one answer of a worker."""

    trees: Mapping[str, Tree]
    budget: float = 600.0
    limit: float = 120.0
    tolerance: float = TOLERANCE
    profile: str = "quick"
    instructions: bool = False
    """Whether callgrind counts those of each call, too."""
    results: list[Result] = field(default_factory=list)
    plan: Plan = field(default_factory=lambda: Plan([], [], [], []))
    new: list[str] = field(default_factory=list)
    """Cells that fail on base and work on head, beside those that base lacks."""
    shapes: dict[str, ShapeVerdict] = field(default_factory=dict)
    """The scaling of every series, by name; known at the end."""
    pairs: int = 0
    stopped: str = ""
    """Why the run ended before its end."""
    seconds: float = 0.0
    load: list[list[float]] = field(default_factory=list)

    def run(self, want: Callable[[Cell], bool], say: Say, save: Callable[[], None]) -> None:
        """Measure and judge. `save` is called after every pair, so that a killed gate leaves what it measured."""
        began = time.monotonic()
        self.load = [machine.load_average()]
        folders = {side: tree.folder for side, tree in self.trees.items()}
        say("loading and compiling both sides ...")
        with Pair(folders, self.limit) as pair:
            tables = pair.listing(self.profile)
            self.plan = match(tables["base"], tables["head"], want)
            self.results = [Result(cell) for cell in self.plan.cells]
            for result in list(self.results):  # one that fails on base alone is taken out
                if time.monotonic() - began < self.budget:
                    self._prime(pair, result)
        if self.instructions:
            self._count_instructions(say, self.budget - (time.monotonic() - began))
        while self.pairs < LOOKS[-1] and self.undecided() and time.monotonic() - began < self.budget:
            left = self.undecided()
            now = time.monotonic() - began
            say(f"pair {self.pairs + 1}: {len(left)} of {len(self.results)} cells left, {now:.0f} s")
            with Pair(folders, self.limit, self.pairs) as pair:
                for result in left if self.pairs % 2 == 0 else left[::-1]:
                    if time.monotonic() - began >= self.budget:
                        break
                    self._measure(pair, result)
            self.pairs += 1
            self._finish(began, left, last=False)
            save()
        self._finish(began, self.undecided(), last=True)
        self.shapes = self._shapes()
        save()

    @property
    def same_code(self) -> bool:
        """Whether both trees are the same code, so that whatever differs is the machine's doing."""
        return len({tree.digest for tree in self.trees.values()}) == 1

    def undecided(self) -> list[Result]:
        """The cells that need more pairs."""
        return [result for result in self.results if not result.problem and not result.time.final]

    def _finish(self, began: float, results: Sequence[Result], *, last: bool) -> None:
        for result in results:
            result.judge(self.tolerance, last=last)
        self.seconds = time.monotonic() - began
        self.load[1:] = [machine.load_average()]

    def _prime(self, pair: Pair, result: Result) -> None:
        """First contact with a cell: compile and load (uncharged), see what it costs, count."""
        with self._blaming(result), pair.opened(result.cell) as cost:
            result.dose = dose(result.cell, cost)
            self._count(pair, result)

    def _measure(self, pair: Pair, result: Result) -> None:
        with self._blaming(result), pair.opened(result.cell):
            if result.to_count:
                self._count(pair, result)
            if result.dose is not None:
                result.taken.append(pair.sample(result.cell, result.dose))

    def _count(self, pair: Pair, result: Result) -> None:
        for side, answer in pair.both(do="count").items():
            result.counters[side].append(answer["counters"])

    def _count_instructions(self, say: Say, seconds: float) -> None:
        """Of the cells that one thread computes; a training under callgrind would take hours.

        Cells that differ are counted in a second process of each side: one process decides nothing.
        """
        end = time.monotonic() + seconds
        found = [r for r in self.results if r.cell.clock == "cpu" and not r.cell.threaded and not r.problem]
        folders = {side: tree.folder for side, tree in self.trees.items()}
        results = found
        for _ in range(COUNTS):
            if not results:
                break
            say(f"counting instructions of {len(results)} cells; this takes minutes ...")
            cells = [(result.cell.case, dict(result.cell.params)) for result in results]
            counted = gate_instructions.counted(folders, cells, end - time.monotonic())
            for side, counts in counted.items():
                for result, count in zip(results, counts, strict=True):
                    result.instructions[side] += [] if count is None else [count]
            results = [result for result in results if result.instructions_differ(self.tolerance)]
        missing = sum(not all(result.instructions.values()) for result in found)
        say(f"instructions counted, but for {missing} cells" if missing else "instructions counted")

    @contextlib.contextmanager
    def _blaming(self, result: Result) -> Iterator[None]:
        """Record a failure on the cell. One that fails on base alone has nothing to compare with: it is new."""
        try:
            yield
        except Failed as error:
            if error.side == "base" and not error.unsupported and not result.taken:
                self.new.append(f"{result.cell.label} (fails on base: {error})")
                self.results.remove(result)
            else:
                result.problem = f"{error.side}: {error}"
                result.unsupported = error.unsupported

    def _shapes(self) -> dict[str, ShapeVerdict]:
        found: dict[str, list[Result]] = {}
        for result in self.results:
            if result.taken:
                found.setdefault(result.cell.series, []).append(result)
        shapes = {}
        for series, members in found.items():
            if len(members) < 2:
                continue
            processes = min(len(result.taken) for result in members)
            samples = {
                side: [{r.cell.size: [r.medians(side)[i]] for r in members} for i in range(processes)] for side in SIDES
            }
            shapes[series] = judge_shape(samples["base"], samples["head"], members[0].cell.budget)
        return shapes

    @property
    def status(self) -> int:
        """Exit status: OK, REGRESSION, or UNMEASURED when it was stopped, head fails, or no cell could be decided."""
        found = {finding for result in self.results for finding in result.findings}
        if self.stopped:
            return UNMEASURED
        if found & {"slower", MORE} or any(shape.over for shape in self.shapes.values()):
            return REGRESSION
        if "failed" in found or not found & {"same", "faster"}:
            return UNMEASURED
        return OK
