"""Records as one flat table, `scalability_results.csv` and `.parquet`: a row per record, failed ones too."""

from __future__ import annotations

import csv
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benches.measure.records import Record
from benches.report.data.series import Series
from benches.stats.scaling import Scaling
from benches.terminal.text import csv_cell

NAME = "scalability_results"
MACHINE = ("cpu", "cores", "cores_usable", "memory_bytes", "host")


def write(folder: Path, runs: Sequence[Sequence[Record]], curves: Sequence[Series]) -> list[Path]:
    """Write both files; the first columns are the study's. Times in seconds, memory in bytes, KPIs in their units."""
    import pyarrow as pa
    from pyarrow import parquet

    laws = {curve.name: curve.law for curve in curves}
    rows = [row_of(record, laws.get(record.series)) for records in runs for record in records]
    columns = list(dict.fromkeys(name for row in rows for name in row))
    files = [folder / f"{NAME}.csv", folder / f"{NAME}.parquet"]
    with files[0].open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(map(csv_cell, columns))
        writer.writerows([csv_cell(row.get(name)) for name in columns] for row in rows)
    table = pa.table({name: pa.array(_uniform([row.get(name) for row in rows])) for name in columns})
    parquet.write_table(table, files[1])
    return files


def _uniform(values: list[Any]) -> list[Any]:
    """A column of one type: numbers, or text where a column holds both."""
    types = {type(value) for value in values if value is not None}
    if len(types) < 2:
        return values
    common = str if str in types else float
    return [value if value is None else common(value) for value in values]


def mean_of(values: Any) -> float | None:
    """Mean of a figure that is one number, or one per episode; of those that are defined, None without any."""
    known = [value for value in (values if isinstance(values, list) else [values]) if value is not None]
    return statistics.fmean(known) if known else None


def training_seconds(record: Record) -> float | None:
    """What the iterations of a whole training took; None for other cases."""
    return record.facts.get("training_seconds") if record.case == "train/whole" else None


def row_of(record: Record, law: Scaling | None) -> dict[str, Any]:
    """A record as a flat row."""
    whole, params, facts = training_seconds(record), record.params, record.facts

    def each(count: Any) -> float | None:
        return whole / float(count) if whole and count else None

    row: dict[str, Any] = {
        "num_agents": params.get("agents"),
        "training_mode": params.get("mode"),
        "algorithm": params.get("algorithm"),
        "training_time": whole,
        "time_per_agent": each(params.get("agents")),
        "time_per_episode": each(facts.get("training_episodes")),
        "time_per_iteration": each(params.get("iterations")),
        "status": record.status,
        "error": record.error,
        "seed": record.seed,
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
        "peak_is_own": record.peak_is_own,
        "isolated": record.isolated,
        "load_before": record.load_before[0] if record.load_before else None,
        "load_after": record.load_after[0] if record.load_after else None,
        "profile": record.profile,
        "commit": record.commit,
        "dirty": record.dirty,
        "timestamp": record.timestamp,
    }
    row |= {name: record.machine.get(name) for name in MACHINE}
    row |= {f"{name}_per_second": value for name, value in record.rates.items()}
    row |= {f"times_{name}": value for name, value in record.ratios.items()}
    row |= {f"{name}_seconds": statistics.median(values) for name, values in record.phases.items() if values}
    row |= {name: value for name, value in facts.items() if isinstance(value, int | float | str)}
    kpis: Mapping[str, Any] = facts.get("evaluation_kpis") or {}
    row |= {f"kpi_{name}": mean_of(values) for name, values in kpis.items()}
    if law is not None:
        row |= {"exponent": law.exponent, "exponent_low": law.low, "exponent_high": law.high}
    return row
