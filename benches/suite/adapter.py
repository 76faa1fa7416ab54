"""All that we use of pytest-benchmark beyond its public interface, in one place: its release is pinned exactly.

pytest-benchmark takes no times from outside: `pedantic` times whatever runs inside it. So a cell is announced, measured
by our stopwatch, and its rounds are handed over: table, JSON, comparison and histogram then show our records' numbers.
"""

from __future__ import annotations

import os
import re
import shlex
import statistics
import time
from typing import Any

import pytest

from benches.case import Point, Value, name_of
from benches.measure.stopwatch import Measurement

WITHOUT_EFFECT = re.compile(
    r"--benchmark-(min|max|precision|confidence|timer|calibration|warmup|disable-gc|cprofile)[a-z-]*"
)
"""Options of pytest-benchmark that say how to time; cells are timed as the table of cases says."""


def refuse_options(config: pytest.Config) -> None:
    """Raises UsageError for an option of pytest-benchmark that would have no effect here."""
    given = [*config.invocation_params.args, *config.getini("addopts")]
    for argument in given + shlex.split(os.environ.get("PYTEST_ADDOPTS", "")):
        option = WITHOUT_EFFECT.match(str(argument))
        if option is not None:
            raise pytest.UsageError(
                f"{option[0]}: got it for cells that have rounds and a warm-up of their own (benches/cases.py); "
                "allowed: without it; --case, --populations and --iterations say what is measured"
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
