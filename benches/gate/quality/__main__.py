"""How good the gate is: known slowdowns, found or not, on this machine. `python -m benches.gate.quality --runs 13`.

Each run compares two checkouts that differ by known amounts of extra work (`benches.gate.quality.probes`), without and
with a process beside it that keeps a core and the memory busy. Every comparison is a line of quality.jsonl, and the
tables are made from those lines alone, so runs add up. `--self-check` is the short form for CI: equal trees must pass,
a slowdown of 25 % must not.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benches.gate import OK, REGRESSION
from benches.gate.plan import Tree
from benches.gate.quality.kinds import KINDS
from benches.gate.quality.layout import alarms
from benches.gate.quality.probes import EXTRAS, checkout
from benches.gate.result import MORE
from benches.gate.run import Gate
from benches.measure import machine

Row = dict[str, Any]
FILE = "quality.jsonl"
HOG = "import numpy as np\na = np.ones(8_000_000)\nwhile True:\n    a *= 1.0000001\n"
"""Keeps a core busy, and the memory that all cores share."""
HOGS = {"no": (False,), "yes": (True,), "both": (False, True)}


@contextmanager
def hog(*, runs: bool) -> Iterator[None]:
    """A process that computes for as long as the block lasts."""
    if not runs:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", HOG]) as process:
        try:
            yield
        finally:
            process.kill()


def compared(scratch: Path, **options: Any) -> tuple[Gate, list[Row]]:
    """One run of the gate over all probes; a row for each."""
    folders = {side: checkout(scratch / side, slow=side == "head", **options) for side in ("base", "head")}
    gate = Gate({side: Tree(side, folder, None) for side, folder in folders.items()}, budget=180.0)
    gate.run(lambda cell: cell.case.startswith("probe/"), lambda _: None, lambda: None)
    rows = [
        {
            "name": result.cell.case,
            "flagged": result.time.outcome == "slower",  # by time alone: counting calls finds every extra unit
            "found": bool({"slower", MORE} & set(result.findings)),
            "outcome": result.time.outcome,
            "ratio": result.time.interval.ratio,
            "pairs": result.time.pairs,
        }
        for result in gate.results
    ]
    return gate, rows


def experiment(file: Path, hogs: Sequence[bool], runs: int, console: Console) -> None:
    """Run the gate `runs` times for every entry of `hogs`, and append the rows."""
    for number in range(runs):
        for busy in hogs:
            load = machine.load_average()[0]
            with tempfile.TemporaryDirectory(prefix="quality-") as scratch, hog(runs=busy):
                began = time.monotonic()
                rows = compared(Path(scratch))[1]
                seconds = time.monotonic() - began
            common = {"hog": busy, "load": load, "seconds": seconds, "run": f"{os.getpid()}-{number}"}
            with file.open("a", encoding="utf-8") as stream:
                for row in rows:
                    kind, extra = row["name"].split("/")[1].split("-")[:2]  # of probe/clear-10-0, or of probe/order-0
                    what = {"kind": kind} if kind in KINDS else {"extra": int(extra)}
                    stream.write(json.dumps({**common, **row, **what}) + "\n")
            console.print(f"run {number + 1} of {runs}: {'hog, ' if busy else ''}{seconds:.0f} s")


def by_hog(rows: Iterable[Row], column: str) -> dict[str, list[Row]]:
    """The rows that have a value in this column, by whether a hog was there."""
    groups: dict[str, list[Row]] = {}
    for row in rows:
        if column in row:
            groups.setdefault("yes" if row["hog"] else "no", []).append(row)
    return groups


def kinds(rows: Iterable[Row]) -> Table:
    """What the gate found of each kind of slowdown, by time or by what it counts."""
    table = Table("hog", *KINDS, title="found")
    for busy, members in by_hog(rows, "kind").items():
        seen = [[row["found"] for row in members if row["kind"] == kind] for kind in KINDS]
        table.add_row(busy, *(f"{sum(found)} of {len(found)}" for found in seen))
    return table


def summary(rows: Iterable[Row]) -> Table:
    """False alarms, with the upper bound of their rate, and detection, with the number of trials."""
    from scipy.stats import binomtest

    headings = ["hog", "A/A", "A/A at most", *(f"+{extra} %" for extra in EXTRAS), "pairs", "s a run", "load"]
    table = Table(*headings, title="flagged as slower")
    for busy, members in by_hog(rows, "extra").items():
        seen = [[row["flagged"] for row in members if row["extra"] == extra] for extra in (0, *EXTRAS)]
        equal, *slower = (f"{sum(flagged)} of {len(flagged)}" for flagged in seen)
        most = 1.0  # one-sided 95 % (Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404)
        if seen[0]:
            most = binomtest(sum(seen[0]), len(seen[0]), alternative="less").proportion_ci(0.95).high
        runs = {row["run"]: row for row in members}.values()
        pairs, seconds = sum(r["pairs"] for r in members) / len(members), sum(r["seconds"] for r in runs) / len(runs)
        loads = [row["load"] for row in runs]
        effort = f"{pairs:.1f}", f"{seconds:.0f}", f"{min(loads):.1f} to {max(loads):.1f}"
        table.add_row(busy, equal, f"{most:.1%}", *slower, *effort)
    return table


def self_check(console: Console) -> int:
    """A fast run on one equal and one slower probe of each workload; 0 if the gate passes the one and not the other."""
    with tempfile.TemporaryDirectory(prefix="quality-") as scratch:
        equal, _ = compared(Path(scratch, "equal"), extras=(), equal=1, kinds=())
        slower, rows = compared(Path(scratch, "slower"), extras=(25,), equal=0, kinds=())
    statuses = (equal.status, slower.status)
    for name, gate in (("equal trees", equal), ("25 % slower", slower)):
        console.print(f"{name}: status {gate.status}, {gate.pairs} pairs, {gate.seconds:.0f} s")
    if statuses == (OK, REGRESSION) and all(row["flagged"] for row in rows):
        return 0
    console.print(f"self-check FAILED: got statuses {statuses}; expected {(OK, REGRESSION)}")
    return 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment, or just print the tables of the lines there are."""
    parser = argparse.ArgumentParser(prog="python -m benches.gate.quality", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=0, help="runs for each hog; 0: only the tables")
    parser.add_argument("--hog", choices=list(HOGS), default="both", help="whether a process keeps a core busy")
    parser.add_argument("--output", type=Path, default=Path("results", "gate"), help=f"folder of {FILE}")
    parser.add_argument("--self-check", action="store_true", help="the short form for CI, about a minute")
    parser.add_argument("--layout", type=int, default=0, metavar="N", help="only N runs over equal code laid out anew")
    parser.add_argument("--budget", type=float, default=600.0, metavar="S", help="seconds of a run of --layout (600)")
    parser.add_argument("--case", default="", metavar="TEXT", help="its cases, as in the gate")
    options = parser.parse_args(arguments)
    console = Console() if sys.stdout.isatty() else Console(width=150)
    if options.self_check:
        return self_check(console)
    if options.layout:
        return alarms(options.layout, options.budget, options.case, console)
    options.output.mkdir(parents=True, exist_ok=True)
    file = options.output / FILE
    experiment(file, HOGS[options.hog], options.runs, console)
    if not file.exists():
        parser.error(f"--runs: got 0, and there is no {file} yet; allowed: 1 or more")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    rows = [row for row in rows if row.get("tool", "gate") == "gate"]  # older lines are of other tools, too
    for table in (summary(rows), kinds(rows)):
        console.print(table)
    return 0


if __name__ == "__main__":  # asv imports every module below `benches`
    sys.exit(main())
