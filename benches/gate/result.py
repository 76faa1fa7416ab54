"""What is known of one cell: what was measured so far, what it says, and what it still needs."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from benches.gate.pair import SIDES, Floats, Opened, Sampled
from benches.gate.plan import PROBE, Cell
from benches.gate.verdict import LOOKS, Interval, TimeVerdict, WorkVerdict, judge_time, judge_work

COUNTS, MOST_COUNTS = 2, 3
"""How many processes of each side count where one of each differ, and how many where those do not agree."""
MORE, CHANGED, NOT_MEASURED = "more work", "result changed", "not measured"
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
    opened: Opened | None = None
    visit: float = 0.0
    """Seconds that another process pair takes."""
    time: TimeVerdict = NOTHING_YET
    work: WorkVerdict = field(default_factory=WorkVerdict)

    @property
    def findings(self) -> tuple[str, ...]:
        """What the cell shows: of time, of work, of results, or of several."""
        if self.problem:
            return ("failed",)
        if not self.taken and not (self.counters["head"] and self.cell.clock == "none"):
            return (MORE,) if self.work.more else (NOT_MEASURED,)
        timed = self.time.outcome if self.cell.clock != "none" else "unclear" if self.to_count else "same"
        told = [MORE] * bool(self.work.more) + [CHANGED] * bool(self.work.changed)
        return (timed, *told) if timed in ("slower", "faster") or not told else tuple(told)

    @property
    def outcome(self) -> str:
        """The findings in words."""
        return ", ".join(self.findings)

    @property
    def clock(self) -> str:
        """The clock that decides: CPU seconds wherever they miss nothing, as the machine's load is none of theirs."""
        return "cpu" if self.opened is not None and self.opened.alone else self.cell.clock

    @property
    def decided(self) -> bool:
        """Whether nothing more is to be measured."""
        timed = self.time.final or (self.cell.clock == "none" and self.opened is not None)
        return bool(self.problem) or (timed and not self.to_count)

    @property
    def look(self) -> int:
        """The number of process pairs of the next look."""
        count = len(self.counters["head"]) if self.cell.clock == "none" else len(self.taken)
        return next((look for look in LOOKS if look > count), count)

    @property
    def need(self) -> float:
        """Seconds to the next look."""
        return self.visit * (self.look - len(self.taken) if self.cell.clock != "none" else COUNTS)

    @property
    def wall_ratio(self) -> float:
        """Median ratio head / base on the wall clock; nan before anything is measured."""
        ratios = [sampled.ratios("wall") for sampled in self.taken]
        return math.exp(float(np.median(np.concatenate(ratios)))) if ratios else math.nan

    @property
    def ratios(self) -> list[Floats]:
        """Paired log ratios of each process pair, on the clock that decides."""
        return [sampled.ratios(self.clock) for sampled in self.taken]

    def medians(self, side: str) -> list[float]:
        """Median seconds per call of each process of a side, on the clock that decides."""
        return [float(np.median(sampled.seconds[side][self.clock])) for sampled in self.taken]

    @property
    def to_count(self) -> bool:
        """Whether another process of each side must count."""
        counted = len(self.counters["head"])
        return (self.cell is not PROBE and not counted) or (counted < MOST_COUNTS and bool(self.work.unsteady))

    def instructions_differ(self, tolerance: float) -> bool:
        """Whether those of the processes so far lie apart by more than the tolerance."""
        base, head = (self.instructions[side] for side in SIDES)
        return bool(base and head) and max(base[0], head[0]) > min(base[0], head[0]) * (1 + tolerance)

    def judge(self, tolerance: float, cells: int, usual: float = math.nan, *, last: bool = False) -> None:
        """Bring the verdicts up to date. The counters of a cell with more than one thread decide nothing.

        cells: of the run. usual: scatter that is usual among them.
        """
        if not self.cell.threaded:
            base, head = ([*self.counters[side], *self._instructions(side)] for side in SIDES)
            self.work = judge_work(base, head, tolerance)
        if self.taken:
            self.time = judge_time(self.ratios, tolerance=tolerance, cells=cells, usual=usual, last=last)

    def _instructions(self, side: str) -> list[dict[str, float]]:
        """Those that two processes counted; where one was enough, both sides were alike."""
        counts = self.instructions[side]
        return [{"instructions": count} for count in counts] if len(counts) > 1 else []
