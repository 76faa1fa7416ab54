"""What the gate concludes from what it measured: verdicts on time, work and shape, each from numbers alone.

The interval of the median log ratio head / base is a standard error, bootstrapped over process pairs and the samples
within them (Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8), times Student's t: a
percentile interval of few pairs is too narrow (Hesterberg 2015, doi:10.1080/00031305.2015.1089789). Each of LOOKS has
an equal share of the error rate (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from benches.stats import scaling

Floats = NDArray[np.float64]
Outcome = Literal["same", "slower", "faster", "unclear"]
Counters = Mapping[str, float]

LOOKS = (4, 6, 8, 11, 15, 20)
"""Numbers of process pairs after which a cell may be decided."""
ERROR = 0.01
"""Chance that the interval of a cell misses the truth on a given side at any of its looks."""
TOLERANCE = 0.05
"""Slowdowns up to this share pass."""
REPLICATES = 400
STEADY = {"peak_bytes": 0.01, "instructions": 0.03}
"""Share by which counters may differ and still be called equal: where memory lies moves these. No other may differ."""
EXACT = ("trades",)
"""Counters of what was computed, not of what it cost: any difference is reported, and none is a regression."""


@dataclass(frozen=True)
class Interval:
    """A ratio head / base with its bounds; all three are above 0."""

    ratio: float
    low: float
    high: float


@dataclass(frozen=True)
class TimeVerdict:
    """What the times of a cell say after `pairs` process pairs. final: no more pairs are needed."""

    outcome: Outcome
    interval: Interval
    pairs: int
    final: bool


@dataclass(frozen=True)
class WorkVerdict:
    """What the counters of a cell say: (name, base, head) of those that grew, shrank, or must not change and did."""

    more: list[tuple[str, float, float]] = field(default_factory=list)
    less: list[tuple[str, float, float]] = field(default_factory=list)
    changed: list[tuple[str, float, float]] = field(default_factory=list)
    unsteady: list[str] = field(default_factory=list)
    """Counters that were not equal in two processes of each side, and so decide nothing."""


@dataclass(frozen=True)
class ShapeVerdict:
    """What the scaling of a series says. over: head's whole interval lies above the budget, and base's did not."""

    budget: float
    base: scaling.Scaling
    head: scaling.Scaling
    over: bool


def standard_error(pairs: Sequence[Floats], seed: int = 0) -> float:
    """Bootstrap standard error of the median of all log ratios, whole pairs and then samples within them drawn."""
    rng = np.random.default_rng(seed)
    length = min(len(pair) for pair in pairs)
    stacked = np.stack([pair[:length] for pair in pairs])
    count = len(stacked)
    chosen = rng.integers(count, size=(REPLICATES, count))
    within = rng.integers(length, size=(REPLICATES, count, length))
    medians = np.median(stacked[chosen[:, :, None], within].reshape(REPLICATES, -1), axis=1)
    return float(np.std(medians)) * math.sqrt(count / (count - 1))  # the bootstrap divides by n, not by n - 1


def bound(error: float, pairs: int, chance: float) -> float:
    """How far the estimate may be off on one side, except with this chance (log ratio)."""
    return float(-stdtrit(pairs - 1, chance)) * error if error else 0.0


def judge_time(pairs: Sequence[Floats], *, tolerance: float = TOLERANCE, last: bool = False) -> TimeVerdict:
    """Judge the paired log ratios head / base, one array per process pair.

    last: nothing more will be measured, so whatever can be said is said.
    """
    count = len(pairs)
    estimate = float(np.median(np.concatenate(list(pairs))))
    if count < 2:
        return TimeVerdict("unclear", Interval(math.exp(estimate), 0.0, math.inf), count, final=last)
    error = standard_error(pairs)
    chance = ERROR / (len(LOOKS) + 1)  # the end of the time is a look, too
    reach = bound(error, count, chance)
    limit = math.log1p(tolerance)
    interval = Interval(math.exp(estimate), math.exp(estimate - reach), math.exp(estimate + reach))
    if count not in LOOKS and not last:
        return TimeVerdict("unclear", interval, count, final=False)
    outcome: Outcome = "unclear"
    if estimate > limit and estimate > reach:
        outcome = "slower"
    elif estimate < -limit and estimate < -reach:
        outcome = "faster"
    elif estimate + reach < limit or (last and estimate <= limit and reach <= limit):
        outcome = "same"
    return TimeVerdict(outcome, interval, count, final=outcome != "unclear" or last or count >= LOOKS[-1])


def judge_work(base: Sequence[Counters], head: Sequence[Counters], tolerance: float = TOLERANCE) -> WorkVerdict:
    """Judge the counters of the processes of either side; those that both sides have, and agree upon, decide."""
    verdict = WorkVerdict()
    for name in dict.fromkeys(name for counters in base for name in counters):
        ours, theirs = ([counters[name] for counters in side if name in counters] for side in (base, head))
        before, after = agreed(name, ours), agreed(name, theirs)
        if not theirs:
            continue
        if before is None or after is None:
            verdict.unsteady.append(name)
        elif name in EXACT:
            if before != after:
                verdict.changed.append((name, before, after))
        elif after > before * (1 + tolerance):
            verdict.more.append((name, before, after))
        elif after * (1 + tolerance) < before:
            verdict.less.append((name, before, after))
    return verdict


def agreed(name: str, values: Sequence[float]) -> float | None:
    """What a counter is on one side: at least two of its processes are equal, and none but the first may differ.

    The first process may compile and load what the next ones find.
    """
    for equal in (values, values[1:]):
        if len(equal) > 1 and max(equal) <= min(equal) * (1 + STEADY.get(name, 0.0)):
            return min(equal)
    return None


def judge_shape(base: Sequence[scaling.Samples], head: Sequence[scaling.Samples], budget: float) -> ShapeVerdict:
    """Judge how the time of a series grows; one mapping of size to seconds per process."""
    ours, theirs = scaling.fit(base), scaling.fit(head)
    return ShapeVerdict(budget, ours, theirs, over=theirs.low > budget and not ours.low > budget)
