"""Figures of a call that repeat to the last digit on any machine, however busy: calls made, memory at the peak.

They see neither numpy's operators nor compiled kernels, so they stand beside times and replace none.
"""

from __future__ import annotations

import gc
import itertools
import sys
import tracemalloc
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # the gate loads this file alone
    from benches.case import Case, Params

Action = Callable[[], object]


def calls(action: Action) -> dict[str, int]:
    """How many Python functions and how many built-in ones `action` calls, in this thread."""
    seen = {"call": -1, "c_call": -1}  # `action` itself, and the end of the counting

    def counting(_frame: object, event: str, _argument: object) -> None:
        if event in seen:
            seen[event] += 1

    gc.disable()  # finalisers run when it pleases them
    sys.setprofile(counting)
    try:
        action()
    finally:
        sys.setprofile(None)
        gc.enable()
    return {"python_calls": seen["call"], "builtin_calls": seen["c_call"]}


def peak_bytes(action: Action) -> int:
    """Bytes that Python and numpy hold at the peak of `action`, beyond those held before it."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        action()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


class Rotation:
    """The prepared inputs of one cell, warmed up, and the number of the next round."""

    def __init__(self, case: Case, params: Params) -> None:
        self.case, self.size = case, float(params[case.size])
        self.prepared = case.setup(params)
        case.warm_up(self.prepared)
        self.turns = itertools.count(1)

    def __call__(self) -> None:
        """The next call."""
        self.case.call(self.prepared, next(self.turns))
