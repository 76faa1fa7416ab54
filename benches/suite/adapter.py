"""All that we use of pytest-benchmark beyond its public interface, in one place: its release is pinned exactly.

pytest-benchmark has no door for times that were taken by someone else (in blocks, in turns, in another process, on a
node): `pedantic` times whatever runs inside it. So a cell is announced, measured by our stopwatch, and its rounds are
handed over: its table, JSON, comparison and histogram then show the numbers of our records.
"""

from __future__ import annotations

import os
import shlex
import statistics
import time
from typing import Any

import pytest

from benches.case import Point, Value, name_of
from benches.measure.stopwatch import Measurement

WITHOUT_EFFECT = (
    "min-time",
    "max-time",
    "min-rounds",
    "precision",
    "confidence",
    "timer",
    "calibration-precision",
    "warmup",
    "warmup-iterations",
    "disable-gc",
    "cprofile",
    "cprofile-loops",
    "cprofile-top",
    "cprofile-dump",
)
"""Options `--benchmark-...` that tell pytest-benchmark how to time; cells are timed as the table of cases says."""


def refuse_options(config: pytest.Config) -> None:
    """Raises UsageError for an option of pytest-benchmark that would have no effect here."""
    given = [*config.invocation_params.args, *config.getini("addopts")]
    given += shlex.split(os.environ.get("PYTEST_ADDOPTS", ""))
    names = {str(argument).split("=", 1)[0] for argument in given}
    for option in (f"--benchmark-{name}" for name in WITHOUT_EFFECT):
        if option in names:
            raise pytest.UsageError(
                f"{option}: got it for cells that have rounds and a warm-up of their own (benches/cases.py); allowed: "
                "without it; --case, --populations and --iterations say what is measured"
            )


class _Axes(dict[str, Value]):
    """The parameters of a cell. `--benchmark-group-by=param:AXIS` asks cells that lack the axis, too."""

    def __missing__(self, axis: str) -> str:
        return "-"


def announce(benchmark: Any, point: Point) -> None:
    """Tell the `benchmark` fixture which cell it stands for, by plain values that are the same in every commit."""
    benchmark.group = name_of(point.case.name, point.params, (point.case.size,))
    benchmark.param, benchmark.params = point.label, _Axes(point.params)
    benchmark._mode = "benches.suite.adapter"  # else it warns that it was not used


def hand_over(benchmark: Any, point: Point, seen: Measurement) -> None:
    """Give pytest-benchmark the rounds of a cell that was measured; none are there of one that was not."""
    if not seen.seconds:
        return
    median = statistics.median(seen.seconds)
    rates = {f"{name}/s": amount / median for name, amount in point.case.work(point.params).items()}
    benchmark.extra_info.update(point.params, unit=point.case.size, setup=seen.setup_seconds)
    benchmark.extra_info.update(rates, warmup=seen.warmup_seconds)
    stats = benchmark._make_stats(seen.calls)
    stats.options = {"timer": time.perf_counter, "rounds": point.rounds, "disable_gc": False, "warmup": True}
    for seconds in seen.seconds:
        stats.stats.update(seconds)  # seconds a call; `stats.update` would divide by the calls once more
