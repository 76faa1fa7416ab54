"""How time grows with size: t(N) = floor + c N^k, an interval for k, and the knee where growth becomes super-linear.

The fit minimises the soft-L1 loss of the log medians per size. A plain line through the logarithms would take the floor
for slow growth: k = 0.6 where the truth is 1. The interval joins two sources in quadrature: what was measured
(bootstrap of processes or rounds) and at which sizes (jackknife, Efron and Stein 1981, doi:10.1214/aos/1176345462).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Samples = Mapping[float, Sequence[float]]
Basis = Literal["processes", "rounds", "sizes", "none"]

MIN_SIZES = 4
"""Fewest sizes that a law is fitted to."""
MIN_RANGE, MIN_GROWTH = 4.0, 2.0
"""Smallest ratio of sizes and of times that an exponent is taken from."""
MIN_ABOVE, ABOVE = 3, 0.1
"""At least MIN_ABOVE sizes must owe the share ABOVE of their time to c N^k."""
MAX_MISFIT, MAX_WIDTH = 0.25, 1.0
"""Largest median error of the fit (in logs), and widest interval, of an exponent that is reported."""
MIN_ROUNDS, MIN_PROCESSES = 3, 3
"""Fewest rounds per size, or else whole processes, that an interval is taken from."""
MAX_EXPONENT = 4.0
MIN_SUPERLINEAR = 1.1
"""Marginal exponent that the largest size must reach for a knee to be more than noise."""
NOISE = 0.05
"""Relative error up to which the loss is quadratic."""
MAX_STEPS, TOLERANCE = 100, 1e-6
"""Most steps of the solver, and the change of a parameter that ends it."""


class Law(NamedTuple):
    """t(N) = floor + factor N^exponent, seconds."""

    floor: float
    factor: float
    exponent: float

    def time(self, size: float) -> float:
        """Seconds at `size`."""
        return float(self.floor + self.factor * size**self.exponent)


@dataclass(frozen=True)
class Scaling:
    """The fitted law of one series. Times in seconds; sizes ascending [S], medians [S].

    exponent: k, NaN where the data cannot tell, and then `reason` says why.
    low, high: its 95 % interval, over sizes and, as `basis` says, over processes or rounds.
    knee: size from which doubling it more than doubles the time; NaN where that happens at no measured size, or where
        the interval of k reaches down to 1.
    """

    sizes: tuple[float, ...]
    medians: tuple[float, ...]
    exponent: float = math.nan
    low: float = math.nan
    high: float = math.nan
    floor: float = math.nan
    factor: float = math.nan
    knee: float = math.nan
    basis: Basis = "none"
    reason: str = ""
    drawn: tuple[Law, ...] = ()
    """The laws of the bootstrap's replicates: what else might have been measured."""
    left_out: tuple[Law, ...] = ()
    """The laws of the jackknife: without each size in turn."""

    @property
    def law(self) -> Law:
        """The fit's numbers, NaN when the exponent is undetermined."""
        return Law(self.floor, self.factor, self.exponent)

    def time(self, size: float) -> float:
        """Seconds that the fit gives for `size`; NaN when the exponent is undetermined."""
        return self.law.time(size)

    @property
    def verdict(self) -> str:
        """sub-linear, near-linear or super-linear by where the interval lies, never by the point; else undetermined."""
        if math.isnan(self.low):
            return "undetermined"
        return "sub-linear" if self.high < 1 else "super-linear" if self.low > 1 else "near-linear"


def fit(processes: Sequence[Samples], *, replicates: int = 200, seed: int = 42) -> Scaling:
    """Fit the seconds per round by size.

    processes: rounds by size of each process, or of another whole repetition, such as another seed. With at least
        three, the interval resamples whole processes. With fewer, it resamples the rounds within them, which leaves
        out what differs between processes; with too few rounds, it covers the choice of sizes alone.
    replicates: number of bootstrap samples.
    seed: of the bootstrap.
    """
    merged: dict[float, list[float]] = {}
    for samples in processes:
        for size, seconds in samples.items():
            if len(seconds):
                merged.setdefault(float(size), []).extend(seconds)
    sizes = np.array(sorted(merged))
    medians = _medians(processes, sizes)
    known = Scaling(tuple(sizes.tolist()), tuple(medians.tolist()))
    reason = _too_little(sizes, medians, min(map(min, merged.values()), default=0.0))
    if reason:
        return replace(known, reason=reason)
    starts = _starts(sizes, medians)
    found, costs = _solve(sizes, np.tile(medians, (len(starts), 1)), starts)
    best = found[np.argmin(costs)]
    law = _law(best, sizes)
    reason = _doubt(law, sizes, medians)
    if reason:
        return replace(known, reason=reason)
    drawn, basis = _replicates(processes, sizes, merged, np.random.default_rng(seed), replicates)
    rows = np.concatenate([drawn, np.tile(medians, (len(sizes), 1))])
    kept = np.concatenate([np.ones_like(drawn), 1 - np.eye(len(sizes))])
    laws = tuple(_law(row, sizes) for row in _solve(sizes, rows, best, kept)[0])
    resampled, left_out = laws[: len(drawn)], laws[len(drawn) :]
    spread = 2 * standard_error([each.exponent for each in left_out])
    low, high = around(law.exponent, [each.exponent for each in resampled], spread)
    if high - low > MAX_WIDTH:
        return replace(known, reason=f"the interval {low:.2f} to {high:.2f} is too wide")
    knee = _knee(law, sizes) if low > 1 else math.nan
    known = replace(known, low=low, high=high, knee=knee, basis=basis, drawn=resampled, left_out=left_out)
    return replace(known, **law._asdict())


def around(value: float, drawn: Sequence[float], spread: float) -> tuple[float, float]:
    """95 % interval of `value`: the replicates' quantiles and two standard errors over the sizes, in quadrature."""
    if not len(drawn):
        return value - spread, value + spread
    low, high = np.quantile(drawn, (0.025, 0.975)).tolist()
    return value - math.hypot(max(value - low, 0.0), spread), value + math.hypot(max(high - value, 0.0), spread)


def standard_error(left_out: Sequence[float]) -> float:
    """Of a figure over the sizes, from its values without each size in turn (jackknife)."""
    return math.sqrt((len(left_out) - 1) * float(np.var(left_out)))


def _too_little(sizes: Floats, medians: Floats, least: float) -> str:
    """Why no exponent can be taken from these medians, or nothing. least: of all seconds."""
    if len(sizes) < MIN_SIZES:
        return f"only {len(sizes)} of the {MIN_SIZES} sizes that are needed"
    if min(sizes[0], least) <= 0 or not np.isfinite(medians).all():
        return "a size or a time is not a positive number"
    if sizes[-1] < MIN_RANGE * sizes[0]:
        return f"sizes span a factor {sizes[-1] / sizes[0]:.1f}; at least {MIN_RANGE:g} is needed"
    if medians[-1] < MIN_GROWTH * medians.min():
        return f"the floor dominates: time grows {medians[-1] / medians.min():.2f}-fold, under {MIN_GROWTH:g}"
    return ""


def _doubt(law: Law, sizes: Floats, medians: Floats) -> str:
    """Why the exponent of this fit is not to be trusted, or nothing."""
    growth = law.factor * sizes**law.exponent
    total = law.floor + growth
    above = int((growth >= ABOVE * total).sum())
    misfit = float(np.median(np.abs(np.log(total / medians))))
    if above < MIN_ABOVE:
        return f"the floor dominates: only {above} of {len(sizes)} sizes rise above it, {MIN_ABOVE} are needed"
    if misfit > MAX_MISFIT:
        return f"no power law fits: typical error {math.expm1(misfit):.0%}"
    if law.exponent > MAX_EXPONENT - 0.01:
        return f"the exponent runs to the bound {MAX_EXPONENT:g}"
    return ""


def _knee(law: Law, sizes: Floats) -> float:
    """Size at which the marginal exponent d log t / d log N of the law passes 1, i.e. c N^k (k - 1) = floor.

    NaN where that is at no measured size, or where the marginal exponent of the largest stays below MIN_SUPERLINEAR.
    """
    last = law.factor * sizes[-1] ** law.exponent
    if law.exponent <= 1 or law.exponent * last < MIN_SUPERLINEAR * (law.floor + last):
        return math.nan
    found = (law.floor / (law.factor * (law.exponent - 1))) ** (1 / law.exponent)
    return float(found) if sizes[0] < found <= sizes[-1] else math.nan


def _starts(sizes: Floats, medians: Floats) -> Floats:
    """Starting points [R, 3]: log floor, log growth at the middle size, k."""
    middle = np.interp(0.0, np.log(sizes) - np.log(sizes).mean(), np.log(medians))
    lowest = math.log(medians.min())
    return np.array([(lowest + math.log(share), middle, k) for share in (0.01, 0.5, 0.95) for k in (0.5, 1.0, 2.0)])


def _model(p: Floats, x: Floats) -> tuple[Floats, Floats]:
    """Log times [R, S] by the parameters [R, 3] at the centred log sizes [S], and their slopes [R, S, 3]."""
    growth = p[:, 1, None] + p[:, 2, None] * x
    total = np.logaddexp(p[:, 0, None], growth)
    share = np.exp(growth - total)
    return total, np.stack([1 - share, share, share * x], axis=-1)


def _law(p: Floats, sizes: Floats) -> Law:
    log_floor, log_growth, k = p.tolist()
    return Law(math.exp(log_floor), math.exp(log_growth - k * float(np.log(sizes).mean())), k)


def _solve(sizes: Floats, medians: Floats, starts: Floats, kept: Floats | None = None) -> tuple[Floats, Floats]:
    """Parameters [R, 3] of least soft-L1 error in logs, and that error [R], for every row of medians at once.

    Each row takes steps of Levenberg and Marquardt on the reweighted squares, with its own damping.
    medians: seconds [R, S].
    starts: where to begin, [R, 3] or [3].
    kept: weight of each size [R, S], 0 or 1; None for all 1.
    """
    x = np.log(sizes) - np.log(sizes).mean()
    y = np.log(medians)
    least, most, none = y.min(1), y.max(1), np.zeros(len(y))
    low = np.stack([least - 12, least - 12, none], axis=1)
    high = np.stack([least + 1, most + 1, none + MAX_EXPONENT], axis=1)
    use = np.ones_like(y) if kept is None else kept
    p = np.clip(starts, low, high)
    damping = np.full(len(y), 1e-3)

    def cost(p: Floats) -> Floats:
        return np.asarray((use * np.sqrt(1 + ((_model(p, x)[0] - y) / NOISE) ** 2)).sum(1))

    known = cost(p)
    for _ in range(MAX_STEPS):
        total, slope = _model(p, x)
        error = total - y
        weights = use / np.sqrt(1 + (error / NOISE) ** 2)
        uphill = np.einsum("rsi,rs->ri", slope, weights * error)
        free = np.where(uphill > 0, p > low, p < high)  # the others stay at their bound
        slope *= free[:, None]
        squares = np.einsum("rsi,rs,rsj->rij", slope, weights, slope)
        diagonal = damping[:, None] * np.einsum("rii->ri", squares) + 1e-12
        squares[:, range(3), range(3)] += diagonal
        step = np.linalg.solve(squares, (-uphill * free)[..., None])[..., 0]
        trial = np.clip(p + step, low, high)
        found = cost(trial)
        better = found < known
        moved = float(np.abs(trial - p)[better].max(initial=0.0))
        p, known = np.where(better[:, None], trial, p), np.where(better, found, known)
        damping = np.clip(np.where(better, damping / 5, damping * 4), 1e-9, 1e9)
        if moved < TOLERANCE and damping[~better].min(initial=1e9) > 1:
            break
    return p, known


def _medians(processes: Sequence[Samples], sizes: Floats) -> Floats:
    """Median seconds per size [S]: over the medians of the processes, so that each process counts once."""
    return np.array(
        [np.median([np.median(samples[size]) for samples in processes if len(samples.get(size, ()))]) for size in sizes]
    )


def _replicates(
    processes: Sequence[Samples], sizes: Floats, merged: Samples, rng: np.random.Generator, count: int
) -> tuple[Floats, Basis]:
    """Resampled medians [R, S], and what was resampled."""
    basis: Basis = "processes"
    rounds = [np.asarray(merged[size]) for size in sizes]
    drawn: list[Floats] = []
    if len(processes) >= MIN_PROCESSES:
        choices = (rng.integers(len(processes), size=len(processes)) for _ in range(count))
        chosen = ([processes[i] for i in choice] for choice in choices)
        whole = [draw for draw in chosen if all(any(samples.get(size) for samples in draw) for size in sizes)]
        drawn = [_medians(draw, sizes) for draw in whole]
    elif min(map(len, rounds)) >= MIN_ROUNDS:
        basis = "rounds"
        drawn = [np.array([np.median(rng.choice(each, len(each))) for each in rounds]) for _ in range(count)]
    else:
        basis = "sizes"
    return np.array(drawn).reshape(-1, len(sizes)), basis
