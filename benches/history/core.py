"""asv's view of the market's cases (clearing, power flow, steps, scenario, ledger), made from the table, row by row.

Few cells, so that a commit takes minutes: two sizes of a case, or one where it has another axis with several values.
"""

from __future__ import annotations

from benches.cases import CASES
from benches.history import view as asv_view

GROUPS = ("clear", "powerflow", "step", "scenario", "ledger")
LARGEST = 10_000
"""Larger sizes are left to pytest: asv would spend its time preparing them."""

for _case in CASES.values():
    if _case.group in GROUPS:
        _points = [point for point in _case.points("quick") if point.size <= LARGEST]
        _sizes = sorted({point.size for point in _points})
        _kept = {_sizes[0], _sizes[-1]} if len(_points) == len(_sizes) else {_sizes[len(_sizes) // 2]}
        globals().update(asv_view.benchmark(_case, __name__, [point for point in _points if point.size in _kept]))
