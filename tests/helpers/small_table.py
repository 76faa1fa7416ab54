"""A pytest plugin: the real table of cases, every series with two of its sizes, a training with one iteration.

Cells keep at most three rounds, so that cheap calls are still timed in blocks.
"""

from __future__ import annotations

from dataclasses import replace

from benches.cases import CASES
from benches.measure import isolated

ROUNDS = {"cpu": 3, "wall": 1, "none": 1}

isolated.TABLE = "small_table:CASES"


def small(case):
    grids = {}
    for profile, grid in case.grids.items():
        cut = {**grid, case.size: tuple(sorted(grid[case.size])[:2])}
        grids[profile] = cut | ({"iterations": (1,)} if "iterations" in grid else {})
    return replace(case, grids=grids, rounds=lambda params: min(case.rounds(params), ROUNDS[case.clock]))


CASES.update({name: small(case) for name, case in CASES.items()})
