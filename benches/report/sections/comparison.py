"""Two runs side by side: the same cells, how many times as long the second took, and which differences are real."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import numpy as np

from benches.measure.records import Record
from benches.report.document import Row, Table
from benches.stats.intervals import Interval

REPLICATES = 1000
MIN_SAMPLES = 3
"""Rounds that an interval is taken from."""


def ratio(before: Sequence[float], after: Sequence[float], *, seed: int = 42) -> Interval:
    """Median of `after` over median of `before`, with its bootstrap interval when both have three values."""
    mid = float(np.median(after) / np.median(before))
    if min(len(before), len(after)) < MIN_SAMPLES:
        return Interval(mid)
    rng = np.random.default_rng(seed)
    drawn = [np.median(rng.choice(each, (REPLICATES, len(each))), axis=1) for each in (after, before)]
    low, high = np.quantile(drawn[0] / drawn[1], (0.025, 0.975)).tolist()
    return Interval(mid, low, high)


def compared(first: Sequence[Record], second: Sequence[Record]) -> list[tuple[Record, Record, Interval]]:
    """Cells that both runs finished, with the ratio of their times on the clock that decides, where it saw any."""
    known = [[r for r in each if r.status == "ok" and min(r.decisive, default=0.0) > 0] for each in (first, second)]
    finished = {record.key: record for record in known[0]}
    pairs = [(finished[record.key], record) for record in known[1] if record.key in finished]
    return [(a, b, ratio(a.decisive, b.decisive)) for a, b in pairs]


def table(pairs: Sequence[tuple[Record, Record, Interval]]) -> Table:
    """One row per cell, the slowest change first."""
    rows: list[Row] = [
        [before.where, *(float(np.median(run.decisive)) for run in (before, after)), found, _verdict(found)]
        for before, after, found in sorted(pairs, key=lambda each: -each[2].mid)
    ]
    columns = ("cell", "first run (s)", "second run (s)", "second / first", "verdict")
    note = (
        "Medians on the clock that decides for the case; intervals are those of the rounds within each run. The two "
        "runs were not interleaved: a change of the machine's state between them looks like a change of the code, and "
        "`make gate` is the judge of commits."
    )
    return Table("Every cell of both runs", columns, rows, note)


def _verdict(found: Interval) -> str:
    if not found.known:
        return "one value each"
    return "no difference" if found.holds(1.0) else "slower" if found.mid > 1 else "faster"


def _loads(records: Sequence[Record]) -> str:
    """Lowest and highest load average of one minute around the cells, as words."""
    loads = [load[0] for record in records for load in (record.load_before, record.load_after) if load]
    return f"{min(loads):.1f} to {max(loads):.1f}" if loads else "nobody knows what"


def findings(pairs: Sequence[tuple[Record, Record, Interval]]) -> Iterator[str]:
    """How many cells changed, and the median change by case."""
    first, second = _loads([before for before, _, _ in pairs]), _loads([after for _, after, _ in pairs])
    yield (
        f"The runs were measured at different times, under a load of {first} and of {second}: what differs may be the "
        "machine. Only `make gate` judges whether code became slower."
    )
    verdicts = [_verdict(found) for _, _, found in pairs]
    counts = ", ".join(f"{verdicts.count(name)} {name}" for name in dict.fromkeys(verdicts))
    yield f"{len(pairs)} cells are in both runs: {counts}."
    for case in dict.fromkeys(before.case for before, _, _ in pairs):
        logs = [math.log(found.mid) for before, _, found in pairs if before.case == case]
        yield f"{case}: {math.exp(float(np.median(logs))):.2f} times as long in the median of {len(logs)} cells."
