"""What a fitted law says beyond the sizes it was made from, and what a budget of time or memory affords."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import bisect, nnls

from benches.stats.intervals import Interval
from benches.stats.scaling import Scaling, reach, standard_error

LARGEST = 1e9
"""A population beyond which no budget is followed."""
GIB = 2**30


def seconds_at(fit: Scaling, size: float) -> Interval:
    """Seconds at `size` by the fit, with a 95 % interval over processes and sizes in quadrature, formed in logarithms.

    The sizes count because a law that is nearly right at those measured may be less so beyond them.
    """
    if math.isnan(fit.exponent):
        return Interval(math.nan)
    mid = math.log(fit.time(size))
    units, sizes = ([math.log(law.time(size)) for law in laws] for laws in (fit.without_unit, fit.without_size))
    half = math.hypot(reach(units), 2 * standard_error(sizes))
    return Interval(math.exp(mid), math.exp(mid - half), math.exp(min(mid + half, 700.0)))


@dataclass(frozen=True)
class Memory:
    """Bytes by size: a + b N + d N^2 with a, b, d >= 0 (a mesh has N^2 lines); non-negative least squares of m / m."""

    coefficients: tuple[float, float, float]
    left_out: tuple[tuple[float, float, float], ...]

    def at(self, size: float) -> Interval:
        """Bytes at `size`, with two standard errors over the sizes."""
        powers = np.array([1.0, size, size**2])
        mid = float(powers @ self.coefficients)
        spread = 2 * standard_error([float(powers @ each) for each in self.left_out])
        return Interval(mid, mid - spread, mid + spread)


def memory_of(sizes: Sequence[float], peaks: Sequence[float]) -> Memory | None:
    """The memory law of peaks by size; None with fewer than four sizes."""
    if len(sizes) < 4:
        return None
    at, held = np.asarray(sizes, np.float64), np.asarray(peaks, np.float64)
    kept = [np.arange(len(at)) != left_out for left_out in range(len(at))]
    return Memory(_quadratic(at, held), tuple(_quadratic(at[keep], held[keep]) for keep in kept))


def _quadratic(sizes: NDArray[np.float64], peaks: NDArray[np.float64]) -> tuple[float, float, float]:
    rows = np.stack([np.ones_like(sizes), sizes, sizes**2], axis=1) / peaks[:, None]
    scale = rows.max(axis=0)
    weights, _ = nnls(rows / scale, np.ones(len(sizes)))
    a, b, d = (weights / scale).tolist()
    return a, b, d


def affordable(law: Callable[[float], Interval], budget: float) -> Interval:
    """The largest size that stays within the budget by the law; its bounds follow from those of the law.

    0 where one agent is too much, infinite beyond LARGEST, NaN where the law is.
    """
    mid, high, low = (_largest(law, bound, budget) for bound in range(3))  # the law's lower bound affords the most
    return Interval(mid, low, high)


def _largest(law: Callable[[float], Interval], bound: int, budget: float) -> float:
    """The size in [1, LARGEST] at which the law (bound 0), or its lower (1) or upper bound (2), passes the budget."""
    least, most = law(1.0)[bound], law(LARGEST)[bound]
    if math.isnan(least):
        return math.nan
    if least > budget or most <= budget:
        return 0.0 if least > budget else math.inf
    return math.exp(bisect(lambda size: law(math.exp(size))[bound] - budget, 0.0, math.log(LARGEST)))
