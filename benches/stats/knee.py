"""The knee: where growth becomes super-linear.

From non-negative least squares (Lawson and Hanson, "Solving Least Squares Problems", 1974) on {1, N, N ln N, N^2}, rows
divided by t, so that every size counts by relative error.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

Floats = NDArray[np.float64]

MIN_SIZES = 4
"""Fewest sizes that a law is fitted to."""
MIN_SUPERLINEAR = 1.1
"""Marginal exponent that the largest size must reach for a knee to be more than noise."""


def knee(sizes: Floats, medians: Floats) -> float:
    """Size at which the marginal exponent d log t / d log N passes 1, NaN where it does so at no measured size.

    With t = a + b N + c N ln N + d N^2 that is where c N + d N^2 = a.
    """
    if len(sizes) < MIN_SIZES:
        return math.nan
    basis = np.stack([np.ones_like(sizes), sizes, sizes * np.log(sizes), sizes**2], axis=1)
    scale = np.abs(basis / medians[:, None]).max(axis=0)
    weights, _ = nnls(basis / medians[:, None] / scale, np.ones(len(sizes)))
    a, b, c, d = (weights / scale).tolist()
    last = float(sizes[-1])
    excess = c * last + d * last**2 - a  # N dt/dN - t
    if excess < (MIN_SUPERLINEAR - 1) * (a + b * last + c * last * math.log(last) + d * last**2):
        return math.nan
    if d * last**2 > 1e-9 * medians[-1]:
        found = (-c + math.sqrt(c * c + 4 * a * d)) / (2 * d)
    else:
        found = a / c if c > 0 else math.inf
    return float(found) if sizes[0] < found <= last else math.nan
