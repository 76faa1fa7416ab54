"""A goal's figure, and how one is taken from a cell of the table of cases, measured now."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from benches.case import Point
from benches.cases import CASES
from benches.measure.records import Record, record_of
from benches.measure.stopwatch import Measurement, measure


@dataclass(frozen=True)
class Figure:
    """A measured figure. value: what the limit applies to. detail: what else was seen, for people.

    judged: False where this machine cannot tell now; then the limit decides nothing.
    """

    name: str
    value: float
    limit: float
    unit: str
    detail: str
    at_least: bool = False
    judged: bool = True

    def __str__(self) -> str:
        measured = self.detail if math.isnan(self.value) else f"{self.value:.3g} {self.unit}"
        return f"{self.name}: {measured}, {self.verdict}"

    @property
    def verdict(self) -> str:
        """In words."""
        return "not judged" if not self.judged else "met" if self.met else "NOT MET"

    @property
    def met(self) -> bool:
        """Whether the value is within the limit, if it is judged; not a number never is."""
        if not self.judged:
            return True
        return self.value >= self.limit if self.at_least else self.value <= self.limit


@dataclass(frozen=True)
class Goal:
    """Figures that are measured together. seconds: about how long that takes on one slow core."""

    measure: Callable[[], Iterator[Figure]]
    seconds: float


def measured_median(case: str, limit: float, unit_seconds: float, unit: str, name: str, **params: int | str) -> Figure:
    """Median time of a cell of the table."""
    times = np.array(measured_record(case, **params).seconds) / unit_seconds
    return Figure(name, float(np.median(times)), limit, unit, f"min {times.min():.3g}, {len(times)} rounds")


def measured_record(case: str, **params: int | str) -> Record:
    """A cell of the table, measured now, with its references in every round."""
    point, seen = Point(CASES[case], params), Measurement()
    measure(point, seen, math.inf)
    return record_of(point, seen, status="ok", error=None, profile="goals")


def measured_ratio(
    record: Record, reference: str, limit: float, name: str | None = None, *, at_least: bool = False
) -> Figure:
    """How many times as long as a reference, round by round; with at_least how many times as fast."""
    turned, rounds = (-1 if at_least else 1), len(record.references[reference])
    least = (min(record.seconds) / min(record.references[reference])) ** turned
    name = name or f"{record.case}, {record.size:,.0f}, against {reference}"
    detail = f"ratio of the minima {least:.3g}, {rounds} rounds"
    return Figure(name, record.ratios[reference] ** turned, limit, "times", detail, at_least)
