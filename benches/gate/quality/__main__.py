"""How good the gate is: known slowdowns, found or not, on this machine. `python -m benches.gate.quality --runs 13`.

Each run compares two checkouts that differ by known amounts of extra work (`benches.gate.quality.probes`), with the
gate, and for comparison with the usual ways, without and with a process beside it that keeps a core and the memory
busy. Every comparison is a line of quality.jsonl, and the table is made from those lines alone, so runs add up.
`--self-check` is the short form for CI: equal trees must pass, a slowdown of 25 % must not.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benches.gate import OK, REGRESSION
from benches.gate.plan import Tree
from benches.gate.quality import rivals
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


@contextlib.contextmanager
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


def compared_by_gate(scratch: Path, budget: float = 180.0, **options: Any) -> tuple[Gate, list[Row]]:
    """One run of the gate over all probes; a row for each."""
    trees = {
        side: Tree(side, checkout(scratch / side, slow=side == "head", **options), None) for side in ("base", "head")
    }
    gate = Gate(trees, budget=budget)
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


TOOLS: dict[str, Callable[[Path], list[Row]]] = {
    "gate": lambda scratch: compared_by_gate(scratch)[1],
    "pytest-benchmark mean:10%": rivals.pytest_benchmark,
    "asv continuous -f 1.1": rivals.asv_continuous,
}


def experiment(file: Path, tools: Sequence[str], hogs: Sequence[bool], runs: int, console: Console) -> None:
    """Run every tool `runs` times, each time for every entry of `hogs`, and append the rows."""
    for number in range(runs):
        for tool in tools:
            for busy in hogs:
                began = time.monotonic()
                load = machine.load_average()[0]
                with tempfile.TemporaryDirectory(prefix="quality-") as scratch, hog(runs=busy):
                    rows = TOOLS[tool](Path(scratch))
                seconds = time.monotonic() - began
                common = {"tool": tool, "hog": busy, "load": load, "seconds": seconds, "run": f"{os.getpid()}-{number}"}
                with file.open("a", encoding="utf-8") as stream:
                    for row in rows:
                        kind = row["name"].split("/")[1].split("-")[:2]  # of probe/clear-10-0, or of probe/order-0
                        what = {"kind": kind[0]} if kind[0] in KINDS else {"extra": int(kind[1])}
                        stream.write(json.dumps({**common, **row, **what}) + "\n")
                console.print(f"run {number + 1} of {runs}: {tool}, {'hog, ' if busy else ''}{seconds:.0f} s")


def upper(found: int, trials: int) -> float:
    """Upper bound of a share, one-sided 95 % (Clopper and Pearson 1934, doi:10.1093/biomet/26.4.404)."""
    from scipy.special import betaincinv

    return 1.0 if found >= trials else float(betaincinv(found + 1, trials - found, 0.95))


def grouped(rows: Iterable[Row]) -> dict[tuple[str, bool], list[Row]]:
    """The rows by tool, and whether a hog was there."""
    groups: dict[tuple[str, bool], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["tool"], row["hog"]), []).append(row)
    return groups


def kinds(rows: Iterable[Row]) -> Table:
    """What each tool found of each kind of slowdown; of the gate, by time or by what it counts."""
    table = Table("found", "hog", *KINDS)
    for (tool, busy), members in grouped(row for row in rows if "kind" in row).items():
        seen = [[bool(row.get("found", row["flagged"])) for row in members if row["kind"] == kind] for kind in KINDS]
        table.add_row(tool, "yes" if busy else "no", *(f"{sum(found)} of {len(found)}" for found in seen))
    return table


def summary(rows: Iterable[Row]) -> Table:
    """False alarms and detection by tool, with the number of trials."""
    headings = [f"+{extra} %" for extra in EXTRAS]
    table = Table("flagged as slower", "hog", "A/A", "A/A at most", *headings, "pairs", "s a run", "load")
    for (tool, busy), members in grouped(row for row in rows if "extra" in row).items():
        cells = []
        for extra in (0, *EXTRAS):
            flagged = [row["flagged"] for row in members if row["extra"] == extra]
            cells.append(f"{sum(flagged)} of {len(flagged)}")
            if extra == 0:
                cells.append(f"{upper(sum(flagged), len(flagged)):.1%}")
        pairs = [row["pairs"] for row in members if "pairs" in row]
        runs = {row["run"]: row for row in members}.values()
        table.add_row(
            tool,
            "yes" if busy else "no",
            *cells,
            f"{sum(pairs) / len(pairs):.1f}" if pairs else "-",
            f"{sum(row['seconds'] for row in runs) / len(runs):.0f}",
            f"{min(row['load'] for row in runs):.1f} to {max(row['load'] for row in runs):.1f}",
        )
    return table


def self_check(console: Console) -> int:
    """A fast run on one equal and one slower probe of each workload; 0 if the gate passes the one and not the other."""
    with tempfile.TemporaryDirectory(prefix="quality-") as scratch:
        equal, _ = compared_by_gate(Path(scratch, "equal"), extras=(), equal=1, kinds=())
        slower, rows = compared_by_gate(Path(scratch, "slower"), extras=(25,), equal=0, kinds=())
    statuses = (equal.status, slower.status)
    console.print(f"equal trees: status {equal.status}, {equal.pairs} pairs, {equal.seconds:.0f} s")
    console.print(f"25 % slower: status {slower.status}, {slower.pairs} pairs, {slower.seconds:.0f} s")
    if statuses == (OK, REGRESSION) and all(row["flagged"] for row in rows):
        return 0
    console.print(f"self-check FAILED: got statuses {statuses}; expected {(OK, REGRESSION)}")
    return 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the experiment, or just print the table of the lines there are."""
    parser = argparse.ArgumentParser(prog="python -m benches.gate.quality", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=0, help="runs of each tool and hog; 0: only the table")
    choices = ", ".join(TOOLS).replace("%", "%%")
    parser.add_argument("--tools", default=",".join(TOOLS), help=f"with commas between them, of: {choices}")
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
    tools = [tool.strip() for tool in options.tools.split(",")]
    unknown = [tool for tool in tools if tool not in TOOLS]
    if unknown:
        parser.error(f"--tools: got {unknown[0]!r}; allowed: {', '.join(TOOLS)}")
    options.output.mkdir(parents=True, exist_ok=True)
    file = options.output / FILE
    experiment(file, tools, HOGS[options.hog], options.runs, console)
    if not file.exists():
        parser.error(f"--runs: got 0, and there is no {file} yet; allowed: 1 or more")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]
    console.print(summary(rows))
    console.print(kinds(rows))
    return 0


if __name__ == "__main__":  # asv imports every module below `benches`
    sys.exit(main())
