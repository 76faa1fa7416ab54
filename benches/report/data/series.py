"""Records as curves: one case, every parameter but size and seed fixed, with its fitted law."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from benches.measure.records import Record
from benches.stats import scaling

INTERVALS = {
    "processes": "95 % over whole processes, or other repetitions (runs, seeds)",
    "rounds": "95 % over the rounds of one process alone",
}


@dataclass
class Series:
    """The cells that one curve joins."""

    name: str
    case: str
    unit: str
    clock: str
    budget: float
    records: dict[float, list[Record]] = field(default_factory=dict)
    """Finished records by size, one per repetition that has it."""
    law: scaling.Scaling = field(default_factory=lambda: scaling.Scaling((), ()))
    """What is known of its growth: every text, table and figure takes it from here."""
    asked: bool = False
    """Whether an exponent was to be found: there are enough sizes, and rounds or repetitions for an interval."""

    def median(self, size: float) -> float:
        """Median wall seconds over the repetitions."""
        return statistics.median(record.median for record in self.records[size] if record.median is not None)

    def best(self, size: float) -> float:
        """Least wall seconds over the repetitions."""
        return min(record.min for record in self.records[size] if record.min is not None)

    def ratios(self, size: float) -> dict[str, float]:
        """How many times as long as each reference the calls took, median over the repetitions."""
        each = [record.ratios for record in self.records[size]]
        return {name: statistics.median(ratios[name] for ratios in each if name in ratios) for name in each[0]}

    def rates(self, size: float) -> dict[str, float]:
        """What a call does per second, by name: medians over the repetitions."""
        rates = [record.rates for record in self.records[size] if record.rates]
        names = rates[0] if rates else ()
        return {name: statistics.median(each[name] for each in rates if name in each) for name in names}


def series_of(runs: Sequence[Sequence[Record]]) -> list[Series]:
    """Curves of the finished cells in order of appearance, each with its fitted law.

    `runs` holds records per run; each run, each seed within it and each process of those is a repetition.
    """
    found: dict[str, Series] = {}
    samples: dict[str, dict[tuple[int, int, int], dict[float, list[float]]]] = {}
    for number, records in enumerate(runs):
        for record in records:
            if record.status != "ok" or not record.seconds:
                continue
            curve = found.setdefault(
                record.series, Series(record.series, record.case, record.unit, record.clock, record.budget)
            )
            curve.records.setdefault(record.size, []).append(record)
            for process, rounds in enumerate(record.by_process):
                repetition = samples.setdefault(record.series, {}).setdefault((number, record.seed, process), {})
                repetition[record.size] = rounds
    for name, curve in found.items():
        repetitions = list(samples[name].values())
        fewest = min(len(taken) for each in repetitions for taken in each.values())
        whole = sum(len(each) == len(curve.records) for each in repetitions)
        alone = not any(record.beside for records in curve.records.values() for record in records)
        curve.asked = alone and max(whole, fewest) >= scaling.MIN_UNITS and len(curve.records) >= scaling.MIN_SIZES
        curve.law = scaling.fit(repetitions) if alone else curve.law
    return list(found.values())
