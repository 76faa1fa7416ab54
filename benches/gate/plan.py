"""Which cells the gate measures: those that mean the same in both tables; the others are named and are no error."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benches.case import Params

WALL_SIZES = (10, 100)
"""Sizes of cases on the wall clock (trainings) that are measured; all sizes would take an hour."""
LARGEST = 100_000
THREADS = "threads"
"""The axis that says how many threads a cell has; one without it has one."""
MIN_ROUNDS = 3
"""A case that is made for fewer rounds (a whole training) is left to the benchmarks."""


@dataclass(frozen=True)
class Cell:
    """A row of a table with its parameters, as a worker lists it."""

    case: str
    version: str
    params: Params
    unit: str
    size: float
    clock: str
    budget: float
    rounds: int

    @property
    def key(self) -> str:
        """Equal for cells that can be compared, but for their version."""
        return json.dumps([self.case, sorted(self.params.items())])

    @property
    def threaded(self) -> bool:
        """Whether it has more than one thread, so that what its calls do depends on how they are scheduled."""
        return self.params.get(THREADS, 1) != 1

    @property
    def series(self) -> str:
        """The case and all parameters but the size."""
        rest = [str(v) if isinstance(v, str) else f"{a}={v}" for a, v in self.params.items() if a != self.unit]
        return " ".join([self.case, *rest])

    @property
    def label(self) -> str:
        """The series and the size."""
        return f"{self.series} {self.unit}={self.params[self.unit]}"


@dataclass(frozen=True)
class Plan:
    """Cells to measure, and labels of those that one table lacks or whose version changed."""

    cells: list[Cell]
    new: list[str]
    removed: list[str]
    changed: list[str]


def wanted(parts: Sequence[str] = ()) -> Callable[[Cell], bool]:
    """Which cells are measured: of cases whose name contains one of `parts`, or of all, and not too long."""

    def want(cell: Cell) -> bool:
        if parts and not any(part in cell.case for part in parts):
            return False
        if cell.rounds < MIN_ROUNDS or cell.size > LARGEST:
            return False
        return cell.clock == "cpu" or cell.size in WALL_SIZES

    return want


def match(base: Sequence[Cell], head: Sequence[Cell], want: Callable[[Cell], bool]) -> Plan:
    """Join two tables by case and parameters."""
    ours = {cell.key: cell for cell in base if want(cell)}
    theirs = {cell.key: cell for cell in head if want(cell)}
    both = [cell for key, cell in theirs.items() if key in ours]
    return Plan(
        cells=[cell for cell in both if cell.version == ours[cell.key].version],
        new=_named([cell for key, cell in theirs.items() if key not in ours], base),
        removed=_named([cell for key, cell in ours.items() if key not in theirs], head),
        changed=sorted(
            {
                f"{c.case} (version {ours[c.key].version} to {c.version})"
                for c in both
                if c.version != ours[c.key].version
            }
        ),
    )


def _named(cells: Sequence[Cell], other: Sequence[Cell]) -> list[str]:
    """A name per case that the other table lacks altogether, else per cell."""
    known = {cell.case for cell in other}
    return list(dict.fromkeys(cell.label if cell.case in known else cell.case for cell in cells))
