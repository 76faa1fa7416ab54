"""Tables, CSV and figure of a run, from its records alone: `python -m benches.report results/<run> [more runs]`.

Several runs of the same cells are taken as separate processes: their medians are pooled, and the interval of the
exponent then covers what differs between processes.
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from benches import scaling, show
from benches.results import Record, Run, failures

CSV_NAME, FIGURE_NAME = "scalability_results.csv", "scaling.png"
INTERVALS = {
    "processes": "95 % over processes and sizes",
    "rounds": "95 % over sizes and the rounds of one process (give 3 runs to cover processes)",
    "sizes": "95 % over sizes alone, where there are under 3 rounds",
}


@dataclass
class Series:
    """The cells that one curve joins: one case, every parameter but the size fixed."""

    name: str
    case: str
    unit: str
    clock: str
    budget: float
    records: dict[float, list[Record]] = field(default_factory=dict)
    """Finished records by size, one per run that has it."""
    law: scaling.Scaling = field(default_factory=lambda: scaling.Scaling((), ()))

    def median(self, size: float) -> float:
        """Median wall seconds over the runs."""
        return statistics.median(record.median for record in self.records[size] if record.median is not None)

    def best(self, size: float) -> float:
        """Least wall seconds over the runs."""
        return min(record.min for record in self.records[size] if record.min is not None)

    def ratios(self, size: float) -> dict[str, float]:
        """How many times as long as each reference the calls took, median over the runs."""
        each = [record.ratios for record in self.records[size]]
        return {name: statistics.median(ratios[name] for ratios in each if name in ratios) for name in each[0]}

    def rates(self, size: float) -> dict[str, float]:
        """What a call does per second, by name: medians over the runs."""
        rates = [record.rates for record in self.records[size] if record.rates]
        return {name: statistics.median(each[name] for each in rates) for name in (rates[0] if rates else ())}


def series_of(runs: Sequence[Sequence[Record]]) -> list[Series]:
    """Curves of the finished cells in order of appearance, each with its fitted law; `runs` holds records per run."""
    found: dict[str, Series] = {}
    samples: dict[str, list[dict[float, list[float]]]] = {}
    for number, records in enumerate(runs):
        for record in records:
            if record.status != "ok" or not record.seconds:
                continue
            curve = found.setdefault(
                record.series, Series(record.series, record.case, record.unit, record.clock, record.budget)
            )
            curve.records.setdefault(record.size, []).append(record)
            each = samples.setdefault(record.series, [{} for _ in runs])
            each[number][record.size] = record.decisive
    for name, curve in found.items():
        curve.law = scaling.fit([process for process in samples[name] if process])
    return list(found.values())


def exponent(curve: Series) -> Text:
    """`0.98 [0.95, 1.01]`, marked when its interval lies above the case's budget; a dash when undetermined."""
    law = curve.law
    if math.isnan(law.exponent):
        return Text("-", style="dim")
    interval = "" if math.isnan(law.low) else f" [{law.low:.2f}, {law.high:.2f}]"
    over = law.low > curve.budget
    return Text(f"{law.exponent:.2f}{interval}{f' > {curve.budget:g}' if over else ''}", style="red" if over else "")


def table(curves: Sequence[Series]) -> Table:
    """One row per cell, sizes ascending; the exponent stands in the first row of its curve."""
    shown = Table(show_edge=False, pad_edge=False, header_style="bold")
    shown.add_column("case", no_wrap=True)
    for heading in ("size", "median", "min", "rate"):
        shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column("exponent", no_wrap=True)
    shown.add_column("also", no_wrap=True)
    for curve in curves:
        parts = curve.name.split()
        for row, size in enumerate(sorted(curve.records)):
            last = row == len(curve.records) - 1
            rates, also = curve.rates(size), show.compared(curve.ratios(size))
            if "env_steps" in rates:
                also = f"{show.number(rates['env_steps'])} env-steps/s"
            shown.add_row(
                " ".join(parts[row:] if last else parts[row : row + 1]),
                f"{show.count(size)} {curve.unit}",
                show.seconds(curve.median(size)),
                show.seconds(curve.best(size)),
                next((f"{show.number(rate)} {name.replace('_', '-')}/s" for name, rate in rates.items()), "-"),
                exponent(curve) if row == 0 else "",
                also,
                end_section=last,
            )
    return shown


def notes(curves: Sequence[Series]) -> Iterator[str]:
    """How the exponents were made, and why some are missing."""
    for basis in sorted({curve.law.basis for curve in curves if curve.law.basis != "none"}):
        yield f"exponent k of t(N) = floor + c N^k on CPU time (training: wall time), {INTERVALS[basis]}"
    for curve in curves:
        if curve.law.reason:
            yield f"no exponent for {curve.name}: {curve.law.reason}"
        elif not math.isnan(curve.law.knee):
            yield f"{curve.name}: growth becomes super-linear at about {curve.law.knee:.3g} {curve.unit}"


def write_csv(path: Path, runs: Sequence[Sequence[Record]], curves: Sequence[Series]) -> None:
    """One row per record, failed ones too; the first columns are the study's. Times in seconds."""
    laws = {curve.name: curve.law for curve in curves}
    rows = [_row(record, laws.get(record.series)) for records in runs for record in records]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def _row(record: Record, law: scaling.Scaling | None) -> dict[str, Any]:
    whole = record.facts.get("training_seconds") if record.case == "train/whole" else None
    agents, iterations = record.params.get("agents"), record.params.get("iterations")
    row: dict[str, Any] = {
        "num_agents": agents,
        "training_mode": record.params.get("mode"),
        "algorithm": record.params.get("algorithm"),
        "training_time": whole,
        "time_per_agent": whole / float(agents) if whole and agents else None,
        "time_per_iteration": whole / float(iterations) if whole and iterations else None,
        "status": record.status,
        "error": record.error,
        "case": record.case,
        "series": record.series,
        "size": record.size,
        "unit": record.unit,
        "median_seconds": record.median,
        "min_seconds": record.min,
        "cpu_median_seconds": record.cpu_median,
        "rounds": record.rounds,
        "setup_seconds": record.setup_seconds,
        "warmup_seconds": record.warmup_seconds,
        "peak_memory_bytes": record.peak_memory,
        "load_before": record.load_before[0] if record.load_before else None,
        "load_after": record.load_after[0] if record.load_after else None,
        "commit": record.commit,
        "timestamp": record.timestamp,
    }
    row |= {f"{name}_per_second": value for name, value in record.rates.items()}
    row |= {f"times_{name}": value for name, value in record.ratios.items()}
    row |= {f"{name}_seconds": statistics.median(values) for name, values in record.phases.items() if values}
    row |= {name: value for name, value in record.facts.items() if isinstance(value, int | float | str)}
    row |= {f"kpi_{name}": value for name, value in record.facts.get("evaluation_kpis", {}).items()}
    if law is not None:
        row |= {"exponent": law.exponent, "exponent_low": law.low, "exponent_high": law.high}
    return row


def lines(runs: Sequence[Run], folder: Path, *, color: bool) -> Iterator[str]:
    """The whole report as text for a terminal; writes the CSV and the figure into `folder`."""
    read = [run.read() for run in runs]
    records = [each for each, _ in read]
    curves = series_of(records)
    if curves:
        yield from show.rendered(table(curves), color=color).splitlines()
        yield ""
        yield from notes(curves)
    for _, problems in read:
        yield from (f"warning: {problem}" for problem in problems)
    for each in records:
        for record in each:
            if record.status != "ok":
                where = " ".join(f"{axis}={value}" for axis, value in record.params.items())
                yield f"{record.status}: {record.case} {where}: {record.error}"
    if not any(records):
        yield "no records"
        return
    write_csv(folder / CSV_NAME, records, curves)
    yield f"wrote {folder / CSV_NAME}"
    if curves:
        from benches import figures

        yield from (f"wrote {path}" for path in figures.draw(curves, folder / FIGURE_NAME))


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report of finished runs; 1 when a cell that should have worked failed, 2 when a run is not found."""
    parser = argparse.ArgumentParser(prog="python -m benches.report", description=__doc__)
    parser.add_argument("runs", nargs="*", default=["results/latest"], help="run folders (default: results/latest)")
    parser.add_argument("--out", type=Path, help="where to write the CSV and the figure (default: the first run)")
    chosen = parser.parse_args(arguments)
    try:
        runs = [Run.find(Path("results"), name) for name in chosen.runs]
    except OSError as error:
        print(error, file=sys.stderr)
        return 2
    folder = chosen.out or runs[0].folder
    folder.mkdir(parents=True, exist_ok=True)
    for text in lines(runs, folder, color=sys.stdout.isatty()):
        print(text)
    return 1 if any(failures(run.read()[0]) for run in runs) else 0


if __name__ == "__main__":
    raise SystemExit(main())
