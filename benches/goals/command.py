"""The goals that the project has set itself, measured here and now: `python -m benches.goals [name ...]`.

Each row measures one figure and tells whether it is within its limit. Absolute times depend on the machine: they are
printed for people and decide nothing in CI.
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

from benches.goals.goal import Figure, Goal
from benches.goals.goal import measured_median as _median
from benches.goals.goal import measured_ratio as _ratio
from benches.goals.goal import measured_record as _record
from benches.goals.training import TRAINING_GOALS
from benches.measure import counters
from benches.terminal import show
from benches.terminal.text import one_line, told
from benches.workloads.inputs import books_of, clear_book

USUAL = 60.0
"""Seconds that are taken to have gone as planned before anything was measured: how slow this machine is shows later."""
INTERRUPTED = 130
"""Exit status after Ctrl-C."""


def clearing() -> Iterator[Figure]:
    """`clear` of 100,000 random orders; of a million against the bare sort of their keys, on a feeder with all fees."""
    yield _median("clear/orders", 20.0, 1e-3, "ms", "clear 100,000 orders", orders=100_000)
    medians = {}
    for size in (10_000, 100_000, 1_000_000):
        record = _record("clear/orders", orders=size)
        medians[float(size)] = record.cpu_seconds
        if size >= 100_000:
            yield _ratio(record, "lexsort", 0.5)
        if size == 1_000_000:
            yield _ratio(record, "sort", 2.0)
    growth = math.log(np.median(medians[1e6]) / np.median(medians[1e4])) / math.log(100)
    yield Figure("growth of clearing, 10,000 to 1,000,000", growth, 1.1, "exponent", "between the medians of CPU time")
    yield _ratio(_record("clear/feeder", orders=1_000_000), "sort", 6.0)
    batch = _record("clear/batch", markets=256, orders=100, threads=1)
    each = np.array(batch.seconds) / 256 * 1e6
    yield Figure("clear a market of 100, in a batch of 256", float(np.median(each)), 8.0, "us", f"min {each.min():.3g}")
    both = _record("clear/batch", markets=256, orders=1_000, threads=2)
    faster = np.array(both.references["one_thread"]) / np.array(both.seconds)
    detail = f"of the minima {min(both.references['one_thread']) / min(both.seconds):.3g}, {len(faster)} rounds"
    name = "speed-up on 2 threads, a batch of 256 markets of 1,000"
    yield Figure(name, float(np.median(faster)), 1.0, "times", detail, at_least=True)
    yield Figure("extra memory of clear, 1,000,000 orders", _extra_memory(1_000_000), 200.0, "bytes an order", "peak")


def _extra_memory(size: int) -> float:
    """Peak bytes an order that `clear` takes beyond its input."""
    prepared = books_of(size, 2)
    clear_book(prepared, 0)
    return counters.peak_bytes(lambda: clear_book(prepared, 1)) / size


def stepping() -> Iterator[Figure]:
    """One `step` and `observe` of 32 communities of 100 agents."""
    yield _median("step/agents", 10.0, 1e-3, "ms", "step E=32 N=100", episodes=32, agents=100)


def calls() -> Iterator[Figure]:
    """Python function calls of a step, for 10 and for 1000 agents."""
    counts = {agents: python_calls(agents) for agents in (10, 1000)}
    apart = abs(counts[1000] - counts[10])
    yield Figure("Python calls apart, N=1000 and N=10", apart, 0.0, "calls", f"{counts[10]} calls a step at N=10")


def python_calls(agents: int) -> int:
    """Calls of Python functions in one `step` and `observe` of 4 communities, after a warm-up."""
    from market import Scenario
    from market.simulation.dynamics import initial, observe, step

    params = Scenario.study(agents).params
    state = initial(params, np.arange(4))
    action = np.random.default_rng(0).uniform(-1, 1, (4, agents, 4))

    def advance() -> None:
        observe(params, step(params, state, action)[0])

    advance()
    return counters.calls(advance)["python_calls"]


GOALS = {
    "clearing": Goal(clearing, 50),
    "stepping": Goal(stepping, 5),
    "calls": Goal(calls, 10),
    **TRAINING_GOALS,
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
        if not self.left:
            return 0.0
        slower = self.taken / self.planned
        current, *others = (GOALS[name].seconds * slower for name in self.left)
        return max(0.0, current - (time.monotonic() - self.began)) + sum(others)

    def finish(self) -> None:
        """The goal that was being measured is done; the next one begins."""
        self.planned += GOALS[self.left.pop(0)].seconds
        self.taken += time.monotonic() - self.began
        self.began = time.monotonic()


def measured(plan: Plan) -> Iterator[Figure]:
    """The figures of the goals, one by one; for a goal that fails one that is not a number."""
    for name in list(plan.left):
        try:
            yield from GOALS[name].measure()
        except Exception as error:  # noqa: BLE001 - whatever a goal raises, the others go on
            failure = one_line(f"failed: {type(error).__name__}: {told(error)}")
            yield Figure(name, math.nan, math.nan, "", failure)
        plan.finish()


def _tell(text: str) -> None:
    print(show.rendered(Text(text), color=False), file=sys.stderr, flush=True)


def _verdict(figure: Figure) -> str:
    return "met" if figure.met else "NOT MET"


def table(figures: Sequence[Figure]) -> Table:
    """One row per figure, what else was seen below its name."""
    shown = Table("goal", title=f"load average {os.getloadavg()[0]:.2f}")
    for heading in ("measured", "limit", ""):
        shown.add_column(heading, no_wrap=True)
    for figure in figures:
        limit = "-" if math.isnan(figure.limit) else f"{'>=' if figure.at_least else '<='} {figure.limit:g}"
        name = Text(figure.name).append(f"\n{figure.detail}" if figure.detail else "", "dim")
        shown.add_row(name, f"{figure.value:.3g} {figure.unit}", limit, _verdict(figure), end_section=True)
    return shown


def main(arguments: list[str] | None = None) -> int:
    """Measure the named goals, or all; 0 when every one is met."""
    from market.config import nearest

    parser = argparse.ArgumentParser(prog="python -m benches.goals", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="name", help=f"any of: {', '.join(GOALS)}")
    names = parser.parse_args(arguments).names or list(GOALS)
    for name in names:
        if name not in GOALS:
            parser.error(f"name: got {name!r}; allowed: {', '.join(GOALS)}{nearest(name, list(GOALS))}")
    plan, status = Plan(names), 0
    figures: list[Figure] = []
    _tell(str(plan))
    try:
        for figure in measured(plan):
            figures.append(figure)
            value = figure.detail if math.isnan(figure.value) else f"{figure.value:.3g} {figure.unit}"
            left = f"about {show.clock(plan.remaining())} left, {len(plan.left)} of {len(names)} goals"
            _tell(f"{figure.name}: {value}, {_verdict(figure)}; {left}")
    except KeyboardInterrupt:
        status = INTERRUPTED
        _tell(f"interrupted; not measured, or not in full: {', '.join(plan.left)}")
    print(show.rendered(table(figures), color=sys.stdout.isatty()))
    return status or int(not all(figure.met for figure in figures))
