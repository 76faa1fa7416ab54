"""Tables, figures, a Markdown summary and a self-contained page, from the records of runs alone.

python -m benches.report results/<run>         the report of one run, into its folder
python -m benches.report A B                   two runs compared, cell by cell, into B's folder
python -m benches.report --pool A B [C ...]    runs taken as repetitions: intervals then cover whole processes
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from benches.measure.records import Record
from benches.measure.runs import Run, failures
from benches.report import text as report_text
from benches.report import write as report_write
from benches.report.data.series import series_of
from benches.report.sections import comparison as report_compare
from benches.report.sections.limits import Budgets
from benches.terminal import show
from benches.terminal.arguments import forgive_stdout, positive
from benches.terminal.text import one_line, told

COMPARED = 2
"""So many runs are compared, unless they are to be pooled."""


def lines(runs: Sequence[Run], folder: Path | None, *, color: bool, budgets: Budgets | None = None) -> Iterator[str]:
    """The report as text for a terminal; writes all files into `folder`, if one is given."""
    read = [run.read() for run in runs]
    records = [each for each, _ in read]
    curves = series_of(records)
    if curves:
        yield from show.rendered(report_text.table(curves), color=color).splitlines()
        yield ""
        yield from report_text.notes(curves)
    yield from _warnings(read)
    for each in records:
        yield from (f"{record.status}: {record.where}: {record.error}" for record in each if record.status != "ok")
    if not any(records):
        yield "no records"
        return
    if folder is not None:
        for path in report_write.write(folder, runs, records, curves, budgets or Budgets()):
            yield f"wrote {path}"


def _warnings(read: Sequence[tuple[list[Record], list[str]]]) -> Iterator[str]:
    """What was wrong with the lines of the runs."""
    for _, problems in read:
        yield from (f"warning: {problem}" for problem in problems)


def comparison(runs: Sequence[Run], folder: Path) -> Iterator[str]:
    """Two runs compared, as text; writes the summary and the page into `folder`."""
    read = [run.read() for run in runs]
    records = [each for each, _ in read]
    yield from _warnings(read)
    pairs = report_compare.compared(*records)
    if not pairs:
        yield f"{runs[0].folder} and {runs[1].folder} have no finished cell in common: nothing to compare"
        return
    yield from report_compare.findings(pairs)
    for path in report_write.write_comparison(folder, runs, records):
        yield f"wrote {path}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the report of finished runs; 1 when a cell that should have worked failed.

    2 when a run is not found or the report fails: then one line on stderr says why, and the records are as before.
    """
    parser = argparse.ArgumentParser(
        prog="python -m benches.report", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("runs", nargs="*", default=["results/latest"], help="run folders (default: results/latest)")
    parser.add_argument("--pool", action="store_true", help="take the runs as repetitions; so are three and more")
    parser.add_argument("--out", type=Path, help="where to write (default: the run; of a comparison B/against-A)")
    parser.add_argument("--budget-seconds", type=positive, default=Budgets.seconds, help="time a training may take")
    parser.add_argument("--budget-gib", type=positive, default=Budgets.gib, help="memory it may take")
    parser.add_argument("--traceback", action="store_true", help="show where in the code an error of the report is")
    chosen = parser.parse_args(arguments)
    forgive_stdout()
    try:
        runs = [Run.find(Path("results"), name) for name in chosen.runs]
        failed = any(failures(run.read()[0]) for run in runs)
    except OSError as error:
        print(error, file=sys.stderr)
        return 2
    if len({run.folder.resolve() for run in runs}) < len(runs):
        print(f"runs: got one of {', '.join(chosen.runs)} twice; allowed: each run once", file=sys.stderr)
        return 2
    compares = len(runs) == COMPARED and not chosen.pool
    usual = runs[1].folder / f"against-{runs[0].folder.name}" if compares else runs[0].folder
    folder: Path = chosen.out or usual
    budgets = Budgets(chosen.budget_seconds, chosen.budget_gib)
    text = comparison(runs, folder) if compares else lines(runs, folder, color=sys.stdout.isatty(), budgets=budgets)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for line in text:
            print(line)
    except BrokenPipeError:  # whoever read the text has enough; the files are another matter
        raise
    except OSError as error:
        print(f"--out: cannot write to {folder} ({error}); free some space or name another folder", file=sys.stderr)
        return 2
    except Exception as error:
        if chosen.traceback:
            raise
        what = one_line(f"{type(error).__name__}: {told(error)}", 300)
        where = ", ".join(str(run.folder) for run in runs)
        print(f"the report failed: {what}; the records are untouched in {where}; try --traceback", file=sys.stderr)
        return 2
    return 1 if failed else 0
