"""The training share of the table: one iteration, and a whole training, by mode, algorithm and population."""

from collections.abc import Callable

import pytest


@pytest.mark.cases("train")
def test_training(measure: Callable[[], None]) -> None:
    measure()
