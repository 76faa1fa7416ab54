"""A run of the gate: cell by cell until all are decided or the time is over, then the conclusions.

Short calls come first, then trainings and what is counted only, each group in two steps: first contact with
every cell (compile, count, time once), after which its cost is known, then the pairs to its first look, the cheapest
cell first. A cell is contacted only when what is known of the others still fits. Then suspected changes are confirmed,
cells that did not fit are tried again, and undecided ones go on to their next looks. No step takes longer than what is
left.
"""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benches.gate import OK, REGRESSION, UNMEASURED
from benches.gate import instructions as gate_instructions
from benches.gate.pair import Failed, Pair, dose
from benches.gate.plan import MOST, PROBE, Cell, Plan, Tree, chosen, match
from benches.gate.result import CHANGED, COUNTS, MORE, Result
from benches.gate.verdict import LOOKS, PRIOR_CELLS, TOLERANCE
from benches.measure import machine

Say = Callable[[str], None]
Pool = Callable[[int], Pair]
EARLY, FIRST_LOOKS = 0.4, 0.8
"""Shares of the budget until which short calls are decided, and all first looks taken."""
UNKNOWN = {"cpu": 5.0, "wall": 40.0, "none": 40.0}
"""Seconds that a cell is taken to need before anything like it was measured."""
SLACK = 1.25
"""How much longer than the last time a visit is taken to last."""
OVERHEAD = 0.2
"""Seconds of a visit besides preparing and timing."""
CLOSING, CLOSING_SHARE = 8.0, 0.1
"""Seconds that are left for ending processes and writing, and at most this share of the budget."""


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
    most: int = MOST
    """Cells at most."""
    strict: bool = False
    """Whether a changed result fails, too."""
    results: list[Result] = field(default_factory=list)
    plan: Plan = field(default_factory=lambda: Plan([], [], [], []))
    probe: Result = field(default_factory=lambda: Result(PROBE))
    """The gate's own cell, which is the same on both sides."""
    new: list[str] = field(default_factory=list)
    """Cells that fail on base and work on head, beside those that base lacks."""
    stopped: str = ""
    """Why the run ended before its end."""
    began: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    loading: float = 0.0
    """Seconds that a process pair takes to start."""
    load: list[list[float]] = field(default_factory=list)
    say: Say = lambda _: None
    save: Callable[[], None] = lambda: None

    def run(self, want: Callable[[Cell], bool], say: Say, save: Callable[[], None]) -> None:
        """Measure and judge. `save` is called after every cell, so that a killed gate leaves what it measured."""
        self.say, self.save = say, save
        self.load = [machine.load_average()]
        say("loading both sides ...")
        began = time.monotonic()
        with self._pool() as pool:
            tables = pool(0).listing(self.profile)
            self.loading = time.monotonic() - began
            self.plan = match(tables["base"], tables["head"], want)
            self.results = [Result(cell) for cell in chosen(self.plan.cells, self.most)]
            self._first_looks(pool, [self.probe, *(r for r in self.results if r.cell.clock == "cpu")], FIRST_LOOKS)
        self._further_looks(EARLY)
        if self.instructions:
            self._count_instructions(self.left)
        with self._pool() as pool:
            self._first_looks(pool, [r for r in self.results if r.cell.clock != "cpu"], FIRST_LOOKS)
        self._further_looks(1.0, suspects=True)
        with self._pool() as pool:
            self._first_looks(pool, [r for r in self.results if r.opened is None and not r.problem], 1.0)
        self._further_looks(1.0)
        for result in self.undecided():
            self._judge(result, last=True)
        self.seconds = time.monotonic() - self.began
        self._tell("done")
        self.save()

    @property
    def pairs(self) -> int:
        """The most process pairs that a cell was measured in."""
        return max((len(result.taken) for result in self.results), default=0)

    @property
    def left(self) -> float:
        """Seconds of the budget that are left."""
        return self.budget - min(CLOSING, CLOSING_SHARE * self.budget) - (time.monotonic() - self.began)

    @property
    def left_out(self) -> int:
        """Cells that both tables have and the plan has not."""
        return max(0, len(self.plan.cells) - self.most)

    @property
    def same_code(self) -> bool:
        """Whether both trees are the same code, so that whatever differs is the machine's doing."""
        return len({tree.digest for tree in self.trees.values()}) == 1

    def undecided(self) -> list[Result]:
        """The cells of which something was measured, and that need more."""
        return [result for result in [self.probe, *self.results] if result.opened is not None and not result.decided]

    def estimate(self, result: Result) -> float:
        """Seconds that the cell needs to its next look; like the mean of its kind where it was never measured."""
        if result.opened is not None:
            return result.need
        known = [r.visit * LOOKS[0] for r in self.results if r.opened is not None and r.cell.clock == result.cell.clock]
        return float(np.mean(known)) if known else UNKNOWN[result.cell.clock]

    @contextlib.contextmanager
    def _pool(self) -> Iterator[Pool]:
        """Process pairs by number, each started when it is first asked for, and kept for one cell after the other."""
        folders = {side: tree.folder for side, tree in self.trees.items()}
        with contextlib.ExitStack() as stack:
            yield functools.cache(lambda number: stack.enter_context(Pair(folders, self.limit, number, self.left)))

    def _first_looks(self, pool: Pool, results: Sequence[Result], share: float) -> None:
        """Contact with each cell while the first looks still fit into this share of the budget, then these looks."""
        reserve = (1 - share) * self.budget + (LOOKS[0] - 1) * self.loading
        for result in results:
            waiting = sum(other.need for other in results if other.opened is not None and not other.decided)
            if (seconds := self.left - reserve - SLACK * waiting) > 0:
                self._visit(pool, 0, result, seconds)
        for result in sorted(results, key=lambda result: result.need):
            for number in range(1, LOOKS[0]):
                if result.opened is not None and not result.decided and self.left > result.visit:
                    self._visit(pool, number, result, self.left)

    def _further_looks(self, share: float, *, suspects: bool = False) -> None:
        """Fresh process pairs for what is undecided: all of one look together, suspects first, as long as they fit.

        share: of the budget, that may be used up.
        suspects: for these alone.
        """
        reserve = (1 - share) * self.budget
        for result in self.undecided():
            self._judge(result)  # more is known now of what is usual
        skipped: set[int] = set()
        while left := [r for r in self.undecided() if id(r) not in skipped and (r.time.suspect or not suspects)]:
            number = min(len(result.taken) for result in left)
            now, ahead = [], 0.0
            for result in sorted(left, key=lambda result: (not result.time.suspect, result.need)):
                ahead += result.need
                if len(result.taken) == number and self.left - reserve > SLACK * ahead + self.loading:
                    now.append(result)
                elif len(result.taken) == number:
                    ahead -= result.need
                    skipped.add(id(result))
            if now:
                with self._pool() as pool:
                    for result in now:
                        self._visit(pool, number, result, self.left)

    def _visit(self, pool: Pool, number: int, result: Result, seconds: float) -> None:
        """Measure the cell in one process pair within so many seconds: count where needed, time it, judge it."""
        self._tell(f"{result.cell.label}, pair {number + 1}")
        began = time.monotonic()
        pair = pool(number)
        pair.deadline = began + seconds
        with self._blaming(result, pair), pair.opened(result.cell) as opened:
            if result.to_count:
                for side, answer in pair.both(do="count").items():
                    result.counters[side].append(answer["counters"])
            before, result.opened = result.opened, result.opened or opened
            result.visit = time.monotonic() - began
            if result.cell.clock != "none":
                began = time.monotonic()
                try:
                    result.taken.append(pair.sample(*dose(result.cell, result.opened.cost), result.clock))
                except Failed:
                    result.opened = before
                    raise
                result.visit = time.monotonic() - began + opened.setup + 2 * opened.cost + OVERHEAD
        self._judge(result)
        self.seconds = time.monotonic() - self.began
        self.load[1:] = [machine.load_average()]
        self.save()

    def _judge(self, result: Result, *, last: bool = False) -> None:
        scatter = [
            r.time.scatter for r in self.results if r.cell.clock == result.cell.clock and len(r.taken) >= LOOKS[0]
        ]
        usual = float(np.median(scatter)) if len(scatter) >= PRIOR_CELLS else np.nan
        result.judge(self.tolerance, len(self.results), usual, last=last)

    def _tell(self, what: str) -> None:
        decided = sum(result.decided for result in self.results)
        self.say(f"{self.left:4.0f} s left, {decided} of {len(self.results)} cells decided: {what}")

    def _count_instructions(self, seconds: float) -> None:
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
            self.say(f"counting instructions of {len(results)} cells; this takes minutes ...")
            cells = [(result.cell.case, dict(result.cell.params)) for result in results]
            counted = gate_instructions.counted(folders, cells, end - time.monotonic())
            for side, counts in counted.items():
                for result, count in zip(results, counts, strict=True):
                    result.instructions[side] += [] if count is None else [count]
            results = [result for result in results if result.instructions_differ(self.tolerance)]
        for result in found:
            self._judge(result)
        missing = sum(not all(result.instructions.values()) for result in found)
        self.say(f"instructions counted, but for {missing} cells" if missing else "instructions counted")

    @contextlib.contextmanager
    def _blaming(self, result: Result, pair: Pair) -> Iterator[None]:
        """Record a failure on the cell. One that fails on base alone has nothing to compare with: it is new."""
        try:
            yield
        except Failed as error:
            if time.monotonic() >= pair.deadline:  # what is cut off for want of time is no failure
                return
            if error.side == "base" and not result.taken and result is not self.probe:
                self.new.append(f"{result.cell.label} (fails on base: {error})")
                self.results.remove(result)
            else:
                result.problem = f"{error.side}: {error}"

    @property
    def status(self) -> int:
        """Exit status: OK, REGRESSION, or UNMEASURED when it was stopped, head fails, or no cell could be decided."""
        found = {finding for result in self.results for finding in result.findings}
        if self.stopped:
            return UNMEASURED
        if found & {"slower", MORE} or (self.strict and CHANGED in found):
            return REGRESSION
        if "failed" in found or not found & {"same", "faster", CHANGED}:
            return UNMEASURED
        return OK
