"""What the gate concludes from what it measured: verdicts on time and work, each from numbers alone.

The interval of the median log ratio head / base is a standard error, bootstrapped over process pairs and the samples
within them (Davison and Hinkley, "Bootstrap Methods and their Application", 1997, section 3.8), times Student's t: a
percentile interval of few pairs is too narrow (Hesterberg 2015, doi:10.1080/00031305.2015.1089789).

The variance of a cell's pairs is moderated by that which is usual in the run, as if PRIOR more pairs had shown it
(Smyth 2004, doi:10.2202/1544-6115.1027): three pairs alone know little of their own scatter.

*Slower* is found twice: in the pairs of a first look, and in CONFIRM or more fresh pairs after it. The product of the
two chances of an error is the cell's share of the run's (a two-stage test, Bauer and Koehne 1994,
doi:10.2307/2533441); each of LOOKS has an equal share of either (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

Floats = NDArray[np.float64]
Outcome = Literal["same", "slower", "faster", "unclear"]
Counters = Mapping[str, float]

LOOKS = (3, 4, 6, 8, 11, 15, 20)
"""Numbers of process pairs after which a cell may be decided."""
CONFIRM = 3
"""Fresh process pairs that a suspected change must show in, too."""
PRIOR, PRIOR_CELLS = 3, 5
"""Pairs that the usual scatter counts for, and fewest cells that show what is usual."""
RUN_ERROR = 0.01
"""Chance that a run between equal trees calls any cell slower, over all cells and looks."""
MISSED = 0.05
"""Chance at one look that a slowdown just above the tolerance is called the same."""
FOUND = 1.645
"""Standard errors, below which 95 % of estimates lie: what is larger by so much is found."""
TOLERANCE = 0.05
"""Slowdowns up to this share pass, where the budget is usual."""
REPLICATES = 400
LONG_BUDGET, FINE = 3600.0, 0.025
"""From that budget on there is time to tell slowdowns above FINE."""


class Cost(NamedTuple):
    """A counter of what a call costs; any other counter is a result.

    steady: share by which processes may differ and still be called equal.
    tolerance: growth that passes, as a multiple of the run's tolerance.
    floor: growth that passes in any case.
    """

    steady: float = 0.0
    tolerance: float = 1.0
    floor: float = 0.0


COSTS = {
    "python_calls": Cost(),
    "builtin_calls": Cost(),
    "peak_bytes": Cost(0.01),
    "instructions": Cost(0.03),
    "cpu_seconds": Cost(0.1, tolerance=4.0),
    "resident_bytes": Cost(0.02),
    "growth_bytes": Cost(0.3, tolerance=8.0, floor=200e3),
}
"""By name: `growth_bytes` are those of an iteration, and a page or two come and go."""
RESULT = Cost(1e-6)


@dataclass(frozen=True)
class Interval:
    """A ratio head / base with its bounds; all three are above 0."""

    ratio: float
    low: float
    high: float


@dataclass(frozen=True)
class TimeVerdict:
    """What the times of a cell say after `pairs` process pairs.

    final: no more pairs are needed.
    suspect: a first look found a change, which no fresh pairs have confirmed yet.
    scatter: variance of one pair's log ratio.
    """

    outcome: Outcome
    interval: Interval
    pairs: int
    final: bool
    suspect: bool = False
    scatter: float = math.nan


@dataclass(frozen=True)
class WorkVerdict:
    """What the counters of a cell say: (name, base, head) of those that grew, shrank, or must not change and did."""

    more: list[tuple[str, float, float]] = field(default_factory=list)
    less: list[tuple[str, float, float]] = field(default_factory=list)
    changed: list[tuple[str, float, float]] = field(default_factory=list)
    unsteady: list[str] = field(default_factory=list)
    """Counters that were not equal in two processes of each side, and so decide nothing."""


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


def bound(error: float, pairs: int, chance: float, usual: float = math.nan) -> float:
    """How far the estimate may be off on one side, except with this chance (log ratio).

    usual: variance of one pair that is usual in the run; nan where that is not known.
    """
    freedom = pairs - 1
    if usual >= 0:
        error = math.sqrt((PRIOR * usual + freedom * pairs * error**2) / ((PRIOR + freedom) * pairs))
        freedom += PRIOR
    return float(-stdtrit(freedom, chance)) * error if error else 0.0


def usual_tolerance(budget: float) -> float:
    """The tolerance for a budget in seconds, unless one is named."""
    return FINE if budget >= LONG_BUDGET else TOLERANCE


def chance_of(cells: int) -> float:
    """Chance of an error of each of a cell's two tests, so that `cells` of them share RUN_ERROR."""
    return math.sqrt(RUN_ERROR / max(1, cells))


def _median(pairs: Sequence[Floats]) -> float:
    return float(np.median(np.concatenate(list(pairs))))


def _change(pairs: Sequence[Floats], limit: float, chance: float, usual: float) -> int:
    """1 for slower, -1 for faster, 0 for neither: beyond the limit, and the whole interval beyond 0."""
    estimate = _median(pairs)
    beyond = len(pairs) > 1 and abs(estimate) > limit
    if beyond and abs(estimate) > bound(standard_error(pairs), len(pairs), chance / (len(LOOKS) + 1), usual):
        return 1 if estimate > 0 else -1
    return 0  # the end of the time is a look, too


def judge_time(
    pairs: Sequence[Floats],
    *,
    tolerance: float = TOLERANCE,
    cells: int = 1,
    usual: float = math.nan,
    last: bool = False,
) -> TimeVerdict:
    """Judge the paired log ratios head / base, one array per process pair.

    cells: number of cells that share the run's chance of an error.
    usual: scatter that is usual in the run.
    last: nothing more will be measured, so whatever can be said is said.
    """
    count, limit, chance = len(pairs), math.log1p(tolerance), chance_of(cells)
    estimate = _median(pairs)
    if count < 2:
        return TimeVerdict("unclear", Interval(math.exp(estimate), 0.0, math.inf), count, final=last)
    error = standard_error(pairs)
    reach, scatter = bound(error, count, MISSED, usual), count * error**2
    interval = Interval(math.exp(estimate), math.exp(estimate - reach), math.exp(estimate + reach))
    looks = [look for look in LOOKS if look < count] + [count] * (count in LOOKS or last)
    suspected = next(((look, way) for look in looks if (way := _change(pairs[:look], limit, chance, usual))), None)
    if count not in looks:
        return TimeVerdict("unclear", interval, count, False, suspected is not None, scatter)
    outcome: Outcome = "unclear"
    if suspected is not None:
        first, way = suspected
        if count - first >= CONFIRM and estimate * way > limit and _change(pairs[first:], limit, chance, usual) == way:
            outcome = "slower" if way > 0 else "faster"
    if outcome == "unclear" and estimate + reach < limit and (suspected is None or estimate - reach > -limit):
        outcome = "same"
    final = outcome != "unclear" or last or count >= LOOKS[-1]
    return TimeVerdict(outcome, interval, count, final, suspected is not None and outcome == "unclear", scatter)


def detectable(pairs: Sequence[Floats], cells: int, tolerance: float) -> float:
    """The slowdown (share) found in 95 % of cases where processes scatter like these and all looks are taken."""
    half = LOOKS[-1] // 2
    error = standard_error(pairs) * math.sqrt(len(pairs) / half)
    reach = bound(error, half, chance_of(cells) / (len(LOOKS) + 1))
    return math.expm1(max(math.log1p(tolerance), reach) + FOUND * error)


def judge_work(base: Sequence[Counters], head: Sequence[Counters], tolerance: float = TOLERANCE) -> WorkVerdict:
    """Judge the counters of the processes of either side; those that both sides have, and agree upon, decide.

    So do those that vary by nature (memory, seconds) where all processes of one side are above all of the other.
    One process of each side is enough to see that nothing differs.
    """
    verdict = WorkVerdict()
    for name in dict.fromkeys(name for counters in base for name in counters):
        ours, theirs = ([counters[name] for counters in side if name in counters] for side in (base, head))
        if not theirs or (len(ours) == len(theirs) == 1 and not _differ(name, ours[0], theirs[0], tolerance)):
            continue
        before, after = agreed(name, ours), agreed(name, theirs)
        if before is None or after is None:
            before, after = _apart(name, ours, theirs)
        if before is None or after is None:
            verdict.unsteady.append(name)
        elif _differ(name, before, after, tolerance):
            kind = verdict.changed if name not in COSTS else verdict.more if after > before else verdict.less
            kind.append((name, before, after))
    return verdict


def _apart(name: str, ours: Sequence[float], theirs: Sequence[float]) -> tuple[float | None, float | None]:
    """The two nearest values of a cost that varies, of sides of three processes or more that do not overlap."""
    if name in COSTS and COSTS[name].steady and min(len(ours), len(theirs)) > 2:
        if max(ours) < min(theirs):
            return max(ours), min(theirs)
        if max(theirs) < min(ours):
            return min(ours), max(theirs)
    return None, None


def _differ(name: str, before: float, after: float, tolerance: float) -> bool:
    """Whether a counter grew or shrank by more than may pass; for a result, whether it is another one."""
    if name not in COSTS:
        return not _equal(before, after, RESULT.steady)
    cost = COSTS[name]
    low, high = sorted((before, after))
    return high > max(low * (1 + cost.tolerance * tolerance), low + cost.floor)


def _equal(one: float, other: float, share: float) -> bool:
    """Equal up to this share, and near 0 to this much; nan is equal to nan."""
    return one == other or abs(one - other) <= share * max(1.0, abs(one)) or (one != one and other != other)


def agreed(name: str, values: Sequence[float]) -> float | None:
    """What a counter is on one side: at least two of its processes are equal, and none but the first may differ.

    The first process may compile and load what the next ones find.
    """
    cost = COSTS.get(name, RESULT)
    for equal in (values, values[1:]):
        if len(equal) > 1 and all(
            _equal(value, equal[0], cost.steady) or abs(value - equal[0]) <= cost.floor for value in equal
        ):
            return min(equal)
    return None
