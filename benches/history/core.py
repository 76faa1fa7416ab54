"""asv's view of the market's cases (clearing, power flow, steps, scenario, ledger), made from the table, row by row."""

from __future__ import annotations

from benches.cases import CASES
from benches.history import view as asv_view

GROUPS = ("clear", "powerflow", "step", "scenario", "ledger")
LARGEST = 10_000
"""Larger sizes are left to pytest: asv would spend its time preparing them."""

for _case in CASES.values():
    if _case.group in GROUPS:
        _points = [point for point in _case.points("quick") if point.size <= LARGEST]
        globals().update(asv_view.benchmark(_case, __name__, _points) | asv_view.curve(_case, __name__, _points))
