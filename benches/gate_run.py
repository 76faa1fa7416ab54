"""A run of the gate: process pairs until every cell is decided or the time is over, then the conclusions."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benches import gate_instructions, machine
from benches.gate_pair import SIDES, Dose, Failed, Floats, Pair, Sampled, dose
from benches.gate_plan import Cell, Plan, cells_of, match
from benches.gate_trees import Tree
from benches.gate_verdict import (
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

Say = Callable[[str], None]
COUNTS = 2
"""How many processes of each side count, so that a counter that does not repeat is found out."""
OK, REGRESSION, UNMEASURED = 0, 1, 2


@dataclass
class Result:
    """What is known of one cell so far."""

    cell: Cell
    taken: list[Sampled] = field(default_factory=list)
    counters: dict[str, list[dict[str, float]]] = field(default_factory=lambda: {side: [] for side in SIDES})
    instructions: dict[str, int] = field(default_factory=dict)
    """Of one call, by side, where they were counted."""
    problem: str = ""
    unsupported: bool = False
    dose: Dose | None = None
    time: TimeVerdict = field(
        default_factory=lambda: TimeVerdict("unclear", Interval(1.0, 0.0, math.inf), 0, final=False)
    )
    work: WorkVerdict = field(default_factory=WorkVerdict)

    @property
    def outcome(self) -> str:
        """One word for the cell; work is named before time, for it is certain."""
        if self.problem:
            return "unsupported" if self.unsupported else "failed"
        return "more work" if self.work.more else self.time.outcome

    @property
    def wall_ratio(self) -> float:
        """Median ratio head / base on the wall clock; nan before anything is measured."""
        ratios = [sampled.ratios("wall") for sampled in self.taken]
        return math.exp(float(np.median(np.concatenate(ratios)))) if ratios else math.nan

    def medians(self, side: str) -> list[float]:
        """Median seconds per call of each process of a side, on the clock that decides."""
        return [float(np.median(sampled.seconds[side][self.cell.clock])) for sampled in self.taken]

    def work_of(self, side: str) -> list[dict[str, float]]:
        """The counters of each process of a side; instructions, counted once, stand in all of them."""
        more = {"instructions": float(self.instructions[side])} if side in self.instructions else {}
        return [counters | more for counters in self.counters[side]]

    def judge(self, tolerance: float, *, last: bool) -> None:
        """Bring the verdicts up to date."""
        self.work = judge_work(self.work_of("base"), self.work_of("head"), tolerance)
        if self.taken:
            ratios: list[Floats] = [sampled.ratios(self.cell.clock) for sampled in self.taken]
            self.time = judge_time(ratios, tolerance=tolerance, last=last)


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
    seconds: float = 0.0
    load: list[list[float]] = field(default_factory=list)

    def run(self, want: Callable[[Cell], bool], say: Say, save: Callable[[], None]) -> None:
        """Measure and judge. `save` is called after every pair, so that a killed gate has told what it knew."""
        began = time.monotonic()
        self.load = [machine.load_average()]
        folders = {side: tree.folder for side, tree in self.trees.items()}
        say("loading and compiling both sides ...")
        with Pair(folders, self.limit) as pair:
            tables = {side: cells_of(listed) for side, listed in pair.listing(self.profile).items()}
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
            if len(result.counters["head"]) < COUNTS:
                self._count(pair, result)
            if result.dose is not None:
                result.taken.append(pair.sample(result.cell, result.dose))

    def _count(self, pair: Pair, result: Result) -> None:
        for side, counters in pair.counters().items():
            result.counters[side].append(counters)

    def _count_instructions(self, say: Say, seconds: float) -> None:
        """Of the cells that one thread computes; a training under callgrind would take hours."""
        results = [result for result in self.results if result.cell.clock == "cpu" and not result.problem]
        say(f"counting instructions of {len(results)} cells; this takes minutes ...")
        folders = {side: tree.folder for side, tree in self.trees.items()}
        cells = [(result.cell.case, dict(result.cell.params)) for result in results]
        for side, counts in gate_instructions.counted(folders, cells, seconds).items():
            for result, count in zip(results, counts, strict=True):
                if count is not None:
                    result.instructions[side] = count
        missing = sum(len(result.instructions) < len(SIDES) for result in results)
        say(f"instructions counted, but for {missing} cells" if missing else "instructions counted")

    def _blaming(self, result: Result) -> _Blame:
        return _Blame(self, result)

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
        """Exit status: OK, REGRESSION, or UNMEASURED when head fails or no cell could be decided."""
        outcomes = {result.outcome for result in self.results}
        if outcomes & {"slower", "more work"} or any(shape.over for shape in self.shapes.values()):
            return REGRESSION
        if "failed" in outcomes or not outcomes & {"same", "faster"}:
            return UNMEASURED
        return OK


class _Blame:
    """Turns what goes wrong with a cell into its verdict; one that fails on base alone has nothing to compare with."""

    def __init__(self, gate: Gate, result: Result) -> None:
        self.gate, self.result = gate, result

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> bool:
        if not isinstance(error, Failed):
            return False
        if error.side == "base" and not error.unsupported and not self.result.taken:
            self.gate.new.append(f"{self.result.cell.label} (fails on base: {error})")
            self.gate.results.remove(self.result)
        else:
            self.result.problem = f"{error.side}: {error}"
            self.result.unsupported = error.unsupported
        return True
