"""The public API under any input: a right result, or a ValueError or TypeError of one line that names an argument.

No other exception, and no warning. A call has good arguments, of which up to two are spoiled. Sizes that are allowed
and fill the memory are left out.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from odd_values import ODD, TURNS
from public_calls import calls


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
