"""The goals that the project has set itself, measured here and now: `python -m benches.goals [name ...]`.

Each row shows one figure and whether it is within its limit. Times depend on the machine and decide nothing in CI.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence

import numpy as np
from rich.table import Table
from rich.text import Text

from benches.cases import CASES
from benches.goals.goal import Figure, Goal, measured_median, measured_ratio, measured_record
from benches.goals.learner import LEARNER_GOALS
from benches.goals.training import TRAINING_GOALS
from benches.measure import counters
from benches.terminal import show
from benches.terminal.text import named
from benches.workloads.inputs import books_of, clear_book
from market.support import check

USUAL = 60.0
"""Seconds taken to have gone as planned before anything was measured."""
INTERRUPTED = 130
"""Exit status after Ctrl-C."""


def clearing() -> Iterator[Figure]:
    """`clear` of 100,000 random orders; of a million against the bare sort of their keys, on a feeder with all fees."""
    yield measured_median("clear/orders", 20.0, 1e-3, "ms", "clear 100,000 orders", orders=100_000)
    medians = {}
    for size in (10_000, 100_000, 1_000_000):
        record = measured_record("clear/orders", orders=size)
        medians[float(size)] = record.cpu_seconds
        if size >= 100_000:
            yield measured_ratio(record, "lexsort", 0.5)
        if size == 1_000_000:
            yield measured_ratio(record, "sort", 2.0)
    growth = math.log(np.median(medians[1e6]) / np.median(medians[1e4])) / math.log(100)
    yield Figure("growth of clearing, 10,000 to 1,000,000", growth, 1.1, "exponent", "between the medians of CPU time")
    yield measured_ratio(measured_record("clear/feeder", orders=1_000_000), "sort", 6.0)
    name = "clear a market of 100, in a batch of 256"
    yield measured_median("clear/batch", 8.0, 256e-6, "us", name, markets=256, orders=100, threads=1)
    name = "speed-up on 2 threads, a batch of 256 markets of 1,000"
    both = measured_record("clear/batch", markets=256, orders=1_000, threads=2)
    yield measured_ratio(both, "one_thread", 1.0, name, at_least=True)
    yield Figure("extra memory of clear, 1,000,000 orders", _extra_memory(1_000_000), 200.0, "bytes an order", "peak")


def _extra_memory(size: int) -> float:
    """Peak bytes an order that `clear` takes beyond its input."""
    prepared = books_of(size, 2)
    clear_book(prepared, 0)
    return counters.peak_bytes(lambda: clear_book(prepared, 1)) / size


def stepping() -> Iterator[Figure]:
    """One `step` and `observe` of 32 communities of 100 agents."""
    yield measured_median("step/agents", 10.0, 1e-3, "ms", "step E=32 N=100", episodes=32, agents=100)


def calls() -> Iterator[Figure]:
    """Python function calls of a step, for 10 and for 1000 agents."""
    counts = {agents: python_calls(agents) for agents in (10, 1000)}
    apart = abs(counts[1000] - counts[10])
    yield Figure("Python calls apart, N=1000 and N=10", apart, 0.0, "calls", f"{counts[10]} calls a step at N=10")


def python_calls(agents: int) -> int:
    """Calls of Python functions in one environment step of 4 communities, after a warm-up."""
    return counters.calls(counters.Rotation(CASES["step/agents"], {"episodes": 4, "agents": agents}))["python_calls"]


GOALS = {
    "clearing": Goal(clearing, 50),
    "stepping": Goal(stepping, 5),
    "calls": Goal(calls, 10),
    **TRAINING_GOALS,
    **LEARNER_GOALS,
}


class Plan:
    """Which goals are left, and about how long they take: as planned, or so many times as long as those before."""

    def __init__(self, names: Sequence[str]) -> None:
        self.left = list(names)
        self.planned = self.taken = USUAL
        self.began = time.monotonic()

    def __str__(self) -> str:
        each = (f"{name} {show.clock(GOALS[name].seconds)}" for name in self.left)
        return f"{len(self.left)} goals, about {show.clock(self.remaining())}: {', '.join(each)}"

    def remaining(self) -> float:
        """Seconds that are left, of them those of the goal that is being measured."""
        expected = [GOALS[name].seconds * self.taken / self.planned for name in self.left]
        return sum(expected) - min(time.monotonic() - self.began, *expected[:1]) if expected else 0.0

    def measured(self) -> Iterator[Figure]:
        """The figures of the goals, one by one; for a goal that fails one that is not a number."""
        while self.left:
            try:
                yield from GOALS[self.left[0]].measure()
            except Exception as error:  # noqa: BLE001 - whatever a goal raises, the others go on
                yield Figure(self.left[0], math.nan, math.nan, "", f"failed: {named(error)}")
            self.planned += GOALS[self.left.pop(0)].seconds
            self.taken += time.monotonic() - self.began
            self.began = time.monotonic()


def table(figures: Sequence[Figure]) -> Table:
    """One row per figure, what else was seen below its name."""
    shown = Table("goal", title=f"load average {os.getloadavg()[0]:.2f}")
    for heading in ("measured", "limit", ""):
        shown.add_column(heading, no_wrap=True)
    for figure in figures:
        limit = "-" if math.isnan(figure.limit) else f"{'>=' if figure.at_least else '<='} {figure.limit:g}"
        name = Text(figure.name).append(f"\n{figure.detail}" if figure.detail else "", "dim")
        shown.add_row(name, f"{figure.value:.3g} {figure.unit}", limit, figure.verdict, end_section=True)
    return shown


def _tell(text: str) -> None:
    print(show.rendered(Text(text), color=False), file=sys.stderr, flush=True)


def main(arguments: list[str] | None = None) -> int:
    """Measure the named goals, or all; 0 when every one is met."""
    parser = argparse.ArgumentParser(prog="python -m benches.goals", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="name", help=f"any of: {', '.join(GOALS)}")
    names = parser.parse_args(arguments).names or list(GOALS)
    for name in names:
        if name not in GOALS:
            parser.error(f"name: got {name!r}; allowed: {', '.join(GOALS)}{check.nearest(name, list(GOALS))}")
    plan, figures, interrupted = Plan(names), list[Figure](), False
    _tell(str(plan))
    try:
        for figure in plan.measured():
            figures.append(figure)
            left = f"about {show.clock(plan.remaining())} left, {len(plan.left)} of {len(names)} goals"
            _tell(f"{figure}; {left}")
    except KeyboardInterrupt:
        interrupted = True
        _tell(f"interrupted; not measured, or not in full: {', '.join(plan.left)}")
    print(show.rendered(table(figures), color=sys.stdout.isatty()))
    return INTERRUPTED if interrupted else int(not all(figure.met for figure in figures))
