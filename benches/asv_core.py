"""asv's view of the table: one class with a `time_call` for each case that runs in this process, made from its row.

asv prepares anew before every sample, so the prepared inputs are kept for as long as the parameters stay the same.
"""

from __future__ import annotations

import functools
from typing import Any

from benches import threads
from benches.case import Case, Value
from benches.cases import CASES

GROUPS = ("clear", "step", "scenario", "ledger")
LARGEST = 10_000
"""Larger sizes are left to pytest: asv would spend its time preparing them."""

threads.pin()


class _Rotation:
    """The prepared inputs of one cell and the number of the next round."""

    def __init__(self, case: Case, values: tuple[Value, ...], axes: tuple[str, ...]) -> None:
        self.case = case
        self.prepared = case.setup(dict(zip(axes, values, strict=True)))
        case.call(self.prepared, 0)  # compiled and loaded before asv starts its clock
        self.turn = 1

    def __call__(self) -> None:
        self.case.call(self.prepared, self.turn)
        self.turn += 1


@functools.lru_cache(maxsize=1)
def _rotation(name: str, values: tuple[Value, ...], axes: tuple[str, ...]) -> _Rotation:
    return _Rotation(CASES[name], values, axes)


def _benchmark(case: Case) -> type:
    """A class as asv expects it, with the quick profile's parameters."""
    cells = [point.params for point in case.points("quick") if point.size <= LARGEST]
    axes = tuple(cells[0])

    def setup(self: Any, *values: Value) -> None:
        self.rotation = _rotation(case.name, values, axes)

    def time_call(self: Any, *_: Value) -> None:
        self.rotation()

    body = {
        "params": [list(dict.fromkeys(cell[axis] for cell in cells)) for axis in axes],
        "param_names": list(axes),
        "version": f"{case.name} {case.version}",
        "timeout": 120,
        "setup": setup,
        "time_call": time_call,
        "__doc__": f"{case.name} by {case.size}",
        "__module__": __name__,
    }
    return type("".join(part.capitalize() for part in case.name.split("/")), (), body)


for _case in CASES.values():
    if _case.group in GROUPS:
        _class = _benchmark(_case)
        globals()[_class.__name__] = _class
        del _class
