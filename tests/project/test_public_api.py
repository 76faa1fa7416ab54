"""The public API under any input: a right result, or a ValueError or TypeError of one line that names an argument.

No other exception, and no warning. A call has good arguments, of which up to two are spoiled. Sizes that are allowed
and fill the memory are left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from public_calls import calls


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


def judge(name: str, given: dict[str, Any]) -> None:
    call = calls()[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            result = call.of(**given)
        except (ValueError, TypeError) as error:
            message = str(error)
            assert "\n" not in message, message
            assert len(message) < 500, message
            words = (*call.good, *call.also)
            assert any(word in message.split("; allowed", 1)[0].split(": got", 1)[0] for word in words), message
            return
    assert call.right(result), result


@st.composite
def spoiled(draw) -> tuple[str, dict[str, Any]]:
    """A call and its arguments, one or two of them spoiled."""
    name = draw(st.sampled_from(list(calls())))
    given = dict(calls()[name].good)
    for argument in draw(st.lists(st.sampled_from(list(given)), min_size=1, max_size=2, unique=True)):
        arrays = isinstance(given[argument], np.ndarray)
        turn = draw(st.sampled_from(TURNS)) if arrays and draw(st.booleans()) else None
        try:
            given[argument] = turn(given[argument]) if turn else draw(st.sampled_from(ODD))
        except (ValueError, TypeError):  # pandas has no series of two dimensions, numpy no durations of such numbers
            given[argument] = None
    return name, given


@settings(max_examples=300)
@given(spoiled())
def test_any_call_has_a_right_result_or_names_what_is_wrong(call):
    judge(*call)


@pytest.mark.slow  # 20,000 calls
@settings(max_examples=20_000)
@given(spoiled())
def test_20_000_calls_have_right_results_or_name_what_is_wrong(call):
    judge(*call)


@pytest.mark.parametrize("name", calls())
def test_good_calls_have_right_results(name):
    call = calls()[name]
    assert call.right(call.of(**call.good))
