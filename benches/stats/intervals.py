"""Figures with their uncertainty: means with Student's interval, and what makes an interval too wide."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit

LEVEL = 0.95
WIDE = 0.1
"""Half an interval over its middle, from which on a time is marked as uncertain."""


class Interval(NamedTuple):
    """A figure and its bounds; NaN bounds where there is one value, whose spread is unknown."""

    mid: float
    low: float = math.nan
    high: float = math.nan

    @property
    def known(self) -> bool:
        """Whether there are bounds."""
        return not (math.isnan(self.low) or math.isnan(self.high))

    @property
    def wide(self) -> bool:
        """Whether the figure is too uncertain to be quoted unmarked."""
        return not self.known or self.high - self.low > 2 * WIDE * abs(self.mid)

    def holds(self, value: float) -> bool:
        """Whether `value` lies within the bounds."""
        return self.low <= value <= self.high


def of_mean(values: Sequence[float], level: float = LEVEL) -> Interval:
    """Mean of independent values with Student's interval; NaN values are left out."""
    known = np.asarray(values, np.float64)
    known = known[~np.isnan(known)]
    if not len(known):
        return Interval(math.nan)
    mid = float(known.mean())
    if len(known) < 2:
        return Interval(mid)
    half = float(stdtrit(len(known) - 1, (1 + level) / 2)) * float(known.std(ddof=1)) / math.sqrt(len(known))
    return Interval(mid, mid - half, mid + half)


def of_ratio(logs: Sequence[float], level: float = LEVEL) -> Interval:
    """Geometric mean of ratios, given their logarithms."""
    mid, low, high = (math.exp(min(max(log, -700.0), 700.0)) for log in of_mean(logs, level))
    return Interval(mid, low, high)
