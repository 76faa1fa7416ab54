"""The files of a report: the flat table, figures, `summary.md` and `report.html`, from the records alone."""

from __future__ import annotations

import importlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from benches.measure.records import Record
from benches.measure.runs import Run
from benches.report.data import table
from benches.report.data.words import GLOSSARY
from benches.report.document import Document, Figure, Row, Section, Table, markdown, varying
from benches.report.sections import comparison

if TYPE_CHECKING:
    from benches.report.data.series import Series
    from benches.report.sections.limits import Budgets

PAGE, SUMMARY = "report.html", "summary.md"
SCALING_FIGURE = "scaling"
WORDS = Section("Words", tables=[Table("What the names mean", ("word", "meaning"), list(GLOSSARY.items()))])


def write(
    folder: Path, runs: Sequence[Run], records: Sequence[Sequence[Record]], curves: Sequence[Series], budgets: Budgets
) -> Iterator[Path]:
    """Write everything that the records allow; yields the files as they are written."""
    yield from table.write(folder, records, curves)
    if not curves:
        return
    _load_matplotlib()
    from benches.report.data.study import study_of
    from benches.report.figures import drawings, learning
    from benches.report.sections import findings as report_findings
    from benches.report.sections import kpis as report_kpis
    from benches.report.sections import limits, quality, times

    yield from drawings.draw_scaling(curves, folder / SCALING_FIGURE)
    study = study_of(records, {curve.name: curve.law for curve in curves})
    kpis = report_kpis.kpis_of(records)
    sections: list[Section] = []
    findings: dict[str, list[str]] = {}
    if study is not None:
        checks = limits.checks(study)
        findings = report_findings.findings(study, kpis, budgets, checks)
        sections += [times.section(study), limits.section(study, budgets, checks)]
        yield from drawings.draw_time(study, folder / "time")
        if limits.phases_of(study):
            yield from drawings.draw_phases(study, folder / "phases")
    if kpis.values:
        sections.append(report_kpis.section(kpis))
        if report_kpis.drawn(kpis):
            yield from drawings.draw_kpis(kpis, folder / "kpis")
    if kpis.curves:
        sections.append(quality.section(kpis, study))
        yield from learning.draw_learning(kpis, folder / "learning")
        yield from learning.draw_profiles(quality.profiles(kpis), folder / "profiles")
        yield quality.export(kpis, folder / quality.EXPORT)
    sections += [_cases(curves), _records(runs, records), WORDS]
    facts = [*_facts(runs, records), ("words", "spelled out at the end, under Words")]
    document = Document("Scalability of local energy markets", facts, findings, sections)
    yield from _documents(document, folder)


def write_comparison(folder: Path, runs: Sequence[Run], records: Sequence[Sequence[Record]]) -> Iterator[Path]:
    """Write the comparison of two runs."""
    pairs = comparison.compared(*records)
    section = Section("Cells", [], [], [comparison.table(pairs)])
    title = f"{runs[1].folder.name} against {runs[0].folder.name}"
    facts, found = list(_facts(runs, records)), {"Cells": list(comparison.findings(pairs))}
    yield from _documents(Document(title, facts, found, [section, _records(runs, records)]), folder)


def _documents(document: Document, folder: Path) -> Iterator[Path]:
    from benches.report.page.html import page

    for name, text in ((SUMMARY, "\n".join(markdown(document)) + "\n"), (PAGE, page(document, folder))):
        (folder / name).write_text(text, encoding="utf-8", errors="backslashreplace")
        yield folder / name


def _load_matplotlib() -> None:
    """Without MPLBACKEND, which ends the import where it names nothing known; the figures need no backend."""
    asked = os.environ.pop("MPLBACKEND", None)
    try:
        importlib.import_module("matplotlib")
    finally:
        os.environ |= {} if asked is None else {"MPLBACKEND": asked}


def _facts(runs: Sequence[Run], records: Sequence[Sequence[Record]]) -> Iterator[tuple[str, str]]:
    """What the figures depend on besides the code; several values where cells differ."""
    everything = [record for each in records for record in each]

    def distinct(values: Iterator[object]) -> str:
        return ", ".join(dict.fromkeys(str(value) for value in values))

    yield "runs", ", ".join(run.folder.name for run in runs)
    yield "commit", distinct(f"{str(r.commit)[:10]}{' with changes' if r.dirty else ''}" for r in everything)
    yield "machine", distinct(f"{r.machine.get('cpu')}, {r.machine.get('cores_usable')} cores" for r in everything)
    versions = ("python", "numpy", "numba", "torch", "ray")
    yield "versions", distinct(" ".join(f"{v} {r.versions.get(v)}" for v in versions) for r in everything)
    loads = [load[0] for r in everything for load in (r.load_before, r.load_after) if load]
    if loads:
        yield "load average", f"{min(loads):.2f} to {max(loads):.2f} (one minute, before and after each cell)"
    yield "seeds", distinct(r.seed for r in sorted(everything, key=lambda r: r.seed))
    yield "own process per cell", distinct("yes" if r.isolated else "no" for r in everything if r.status == "ok")
    stamps = sorted(r.timestamp for r in everything)
    yield "measured", f"{stamps[0]} to {stamps[-1]}"
    yield "time spent", f"{sum(r.elapsed for r in everything) / 60:.1f} minutes in {len(everything)} cells"


def _cases(curves: Sequence[Series]) -> Section:
    """The generic figure and fits of every case of the table."""
    rows: list[Row] = []
    for curve in curves:
        law, most = curve.law, max(curve.records)
        sizes = min(curve.records), most, curve.median(most)
        told = (law.told, law.verdict, law.reason) if curve.asked else ("", "", "")
        rows.append([curve.name, curve.unit, *sizes, *told])
    columns = ("series", "size", "smallest", "largest", "seconds at the largest", "exponent", "verdict", "why not")
    figure = Figure(SCALING_FIGURE, "Every case by size, with the fitted law")
    return Section("All cases", [], [figure], [varying(Table("Scaling of every case", columns, rows))])


def _records(runs: Sequence[Run], records: Sequence[Sequence[Record]]) -> Section:
    """How complete the records are."""
    everything = [record for each in records for record in each]
    counts = Counter(record.status for record in everything)
    problems = [problem for run in runs for problem in run.read()[1]]
    told = [f"{', '.join(f'{count} {status}' for status, count in counts.items())}.", *problems]
    rows = [[r.status, r.where, r.error or ""] for r in everything if r.status != "ok"]
    tables = [Table("Cells without figures", ("status", "cell", "why"), rows)] if rows else []
    return Section("Records", told, [], tables)
