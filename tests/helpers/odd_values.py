"""Values that nobody should give, and what may be done to an array that somebody does give."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd


class Lines:
    def __repr__(self) -> str:
        return "two\nlines"


class Mute:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


ODD: list[Any] = [
    *(None, True, np.True_, -1, 0, 1, 2, 3, 2**31, 2**63, 10**400, 10**5000, -(10**5000)),
    *(np.nan, np.inf, -np.inf, -0.5, 0.5, 1.5, 1e-9, 5e-324, 1e20, 1e308, np.float32(np.nan), np.float32(0.25)),
    *(np.int64(3), np.uint64(2**64 - 1), np.float64(0.5), np.longdouble(2), Fraction(1, 2), Decimal("0.5"), 1j),
    *(np.timedelta64(5, "s"), np.datetime64("2025-05-12"), np.complex128(1), pd.Timedelta(1, "h"), pd.NA, pd.NaT),
    *("", "x", "40", "mesh", "a\nb", "\0", "x" * 5000, b"x", object(), Lines(), Mute(), range(2), {}, {"a": 1}),
    *([], [1], [None], [None, 1.0], [[1], [1, 2]], [1.0, "a"], [10**5000], [Lines()], (), {1, 2}, [np.inf, 1.0]),
    *(np.array(5), np.array([5]), np.array([1.0, np.nan]), np.array([]), np.array([True, False]), np.zeros((2, 3, 4))),
    *(np.array([1j, 2]), np.array(["a", "b"]), np.array([1, 2], "m8[s]"), np.array([None, 1.0]), np.array([1e308] * 2)),
    *(np.ma.masked, np.ma.masked_array([1.0, 2.0], [0, 1]), np.ma.masked_array([1.0, 2.0]), pd.Series([1.0, 2.0])),
]


def with_first(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def spoil(array: np.ndarray) -> np.ndarray:
        spoiled = np.array(array, np.float64)
        spoiled[(0,) * spoiled.ndim] = value
        return spoiled

    return spoil


TURNS: list[Callable[[np.ndarray], Any]] = [
    *(with_first(value) for value in (np.nan, np.inf, -1.0, 0.5, 1e308, 2.0**40, 2.0, 0.0)),
    np.ndarray.tolist,
    np.transpose,
    np.asfortranarray,
    np.ma.masked_array,
    pd.Series,
    lambda array: np.ma.masked_array(array, np.ones(array.shape, bool)),
    *(
        lambda array, kind=kind: array.astype(kind)
        for kind in (bool, np.int8, np.float32, complex, "m8[s]", str, object)
    ),
    lambda array: array[:-1],
    lambda array: np.concatenate([array, array]),
    lambda array: array[None],
    lambda array: array[..., None],
    lambda array: np.repeat(array, 2, axis=-1)[..., ::2],
    lambda array: list(map(np.ma.masked_array, array)),
]
"""What may be done to an array: some leave it as good as it was."""
