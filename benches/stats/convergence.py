"""When a training has learned what it will learn, from the returns of its iterations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

EDGE = 5
"""Iterations at the beginning that give the return before learning, and over which the curve is smoothed."""
PLATEAU = 10
"""Iterations at the end that give the return after learning."""
SHARE = 0.95
"""Part of the whole improvement that counts as converged."""

State = Literal["converged", "still improving", "no improvement", "too short"]


@dataclass(frozen=True)
class Convergence:
    """state: how the training ended. iteration: the first whose smoothed return has SHARE of the improvement (1 is the
    first), NaN unless converged. seconds: of training until then."""

    state: State
    iteration: float = math.nan
    seconds: float = math.nan


def convergence(returns: Sequence[float], seconds: Sequence[float]) -> Convergence:
    """Of one training: mean return and seconds by iteration.

    There is an improvement when the last PLATEAU returns are better than the first EDGE (one-sided Welch test at 1 %),
    and it goes on when a line through the plateau still rises (5 %) by more than the 5 % that are allowed for.
    """
    from scipy import stats  # takes a second

    curve = np.asarray(returns, np.float64)
    if len(curve) < EDGE + PLATEAU or not np.isfinite(curve).all():
        return Convergence("too short")
    before, after = curve[:EDGE], curve[-PLATEAU:]
    gained = float(after.mean() - before.mean())
    spread = math.sqrt(float(before.var(ddof=1)) / EDGE + float(after.var(ddof=1)) / PLATEAU)
    if gained <= 0 or (
        spread > 0 and stats.ttest_ind(after, before, equal_var=False, alternative="greater").pvalue > 0.01
    ):
        return Convergence("no improvement")
    line = stats.linregress(np.arange(PLATEAU), after) if float(np.ptp(after)) > 0 else None
    if line is not None and line.pvalue < 0.05 and line.slope * PLATEAU > (1 - SHARE) * gained:
        return Convergence("still improving")
    smooth = np.convolve(curve, np.full(EDGE, 1 / EDGE), "valid")  # smooth[i] is of iterations i to i + EDGE - 1
    reached = int(np.argmax(smooth >= float(before.mean()) + SHARE * gained))
    last = reached + EDGE if smooth[reached] >= float(before.mean()) + SHARE * gained else len(curve)
    return Convergence("converged", float(last), float(np.sum(np.asarray(seconds, np.float64)[:last])))
