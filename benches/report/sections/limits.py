"""Where the time goes, what limits the population, and how well small populations predict large ones."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benches.report.data.study import Cell, Combination, Study
from benches.report.document import Figure, Row, Section, Table, Value, interval, varying
from benches.report.sections.times import name_of
from benches.stats import forecast
from benches.stats.forecast import GIB
from benches.stats.intervals import Interval

SMALL = 100
"""Predictions are made from populations up to this one and judged beyond it."""
MIN_SHARE = 0.005
"""Phases that never take a larger share are not listed one by one."""


@dataclass(frozen=True)
class Budgets:
    """What a training may take: seconds and GiB of memory."""

    seconds: float = 3600.0
    gib: float = 16.0


def phases_of(study: Study) -> list[str]:
    """The phases that matter, in order of first appearance; "other" last."""
    seen = dict.fromkeys(name for cell in study.cells.values() for name in cell.phases)
    shown = [n for n in seen if max(cell.phases.get(n, 0.0) for cell in study.cells.values()) >= MIN_SHARE]
    return sorted(shown, key=lambda name: name == "other")


def dominant(cell: Cell) -> str | None:
    """The phase with the largest share; None without phases."""
    return max(cell.phases, key=lambda name: cell.phases[name], default=None)


def affordable(study: Study, combination: Combination, budgets: Budgets) -> tuple[Interval, Interval]:
    """The populations for which the budgets of time and of memory afford a training, by the fits."""
    law, peaks = study.laws[combination], study.memory.get(combination, {})
    memory = forecast.memory_of(list(peaks), list(peaks.values()))
    by_time = forecast.affordable(lambda size: forecast.seconds_at(law, size), budgets.seconds / study.units)
    by_memory = Interval(math.nan) if memory is None else forecast.affordable(memory.at, budgets.gib * GIB)
    return by_time, by_memory


@dataclass(frozen=True)
class Check:
    """A prediction from at most SMALL agents beside what was measured. error: predicted / measured - 1."""

    combination: Combination
    agents: int
    predicted: Interval
    measured: float

    @property
    def error(self) -> float:
        return self.predicted.mid / self.measured - 1


def checks(study: Study) -> list[Check]:
    """Every cell beyond SMALL agents whose time could be predicted."""
    found = []
    for combination in study.combinations:
        large = [cell for cell in study.of(*combination) if cell.agents > SMALL]
        law = study.law_up_to(SMALL, combination) if large else None
        for cell in large:
            assert law is not None
            predicted = forecast.seconds_at(law, cell.agents)
            if not math.isnan(predicted.mid):
                found.append(Check(combination, cell.agents, predicted, cell.time.mid))
    return found


def section(study: Study, budgets: Budgets, found: Sequence[Check]) -> Section:
    """Bottlenecks and limits."""
    sentences = ["Shares of the training's own phases, as its records name them."]
    if not study.memory:
        sentences.append("A law of memory needs trainings in processes of their own: `make study`, or --isolate.")
    phases = phases_of(study)
    figures = [Figure("phases", "Share of each phase in the training time, by population")] if phases else []
    tables = [
        *([_phases(study, phases)] if phases else ()),
        _limits(study, budgets),
        *([_checks(found)] if found else ()),
    ]
    return Section("Bottlenecks and limits", sentences, figures, tables)


def _phases(study: Study, phases: Sequence[str]) -> Table:
    cells = [cell for _, cell in sorted(study.cells.items())]
    shares = [(cell, [cell.phases.get(phase, 0.0) for phase in phases]) for cell in cells]
    return Table(
        "Share of each phase",
        ("combination", "agents", *phases),
        [[name_of(cell.combination), cell.agents, *(Value(f"{s:.0%}", s) for s in each)] for cell, each in shares],
    )


def _limits(study: Study, budgets: Budgets) -> Table:
    rows: list[Row] = []
    for combination in study.combinations:
        by_time, by_memory = affordable(study, combination, budgets)
        limit = min((each.mid for each in (by_time, by_memory) if not math.isnan(each.mid)), default=math.nan)
        which = "-" if not math.isfinite(limit) else "time" if limit == by_time.mid else "memory"
        most, peaks = study.of(*combination)[-1], study.memory.get(combination, {})
        afforded = interval(by_time, 2), interval(by_memory, 2)
        peak = max(peaks.values(), default=most.memory) / GIB
        rows.append([name_of(combination), *afforded, which, most.agents, max(peaks, default=most.agents), peak])
    within = f"agents within {budgets.seconds:g} s", f"agents within {budgets.gib:g} GiB"
    note = (
        f"Predicted for a training of {study.trained} iterations: time by the fitted t(N), memory by a + b N + d N^2, "
        "with 95 % intervals. Far beyond the largest population that was measured this is an extrapolation; a dash "
        "where no law could be fitted."
    )
    columns = ("combination", *within, "what limits", "largest timed", "largest trained", "its peak (GiB)")
    return varying(Table("The population that a budget affords", columns, rows, note))


def _checks(found: Sequence[Check]) -> Table:
    rows: list[Row] = []
    for each in found:
        error = Value(f"{each.error:+.0%}", each.error)
        within = "yes" if each.predicted.holds(each.measured) else "no"
        rows.append([name_of(each.combination), each.agents, each.predicted, each.measured, error, within])
    columns = ("combination", "agents", "predicted (s)", "measured (s)", "error", "within the interval")
    return Table(f"Predictions from at most {SMALL} agents beside what was measured", columns, rows)
