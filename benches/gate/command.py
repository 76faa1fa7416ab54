"""The command of the gate: its options, the two trees, the comparison, and what is printed and written of it."""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from benches import gate
from benches.gate import UNMEASURED, Stopped, instructions
from benches.gate import report as gate_report
from benches.gate.pair import SIDES, Failed
from benches.gate.plan import MOST, check_out, wanted
from benches.gate.run import Gate
from benches.gate.verdict import FINE, LONG_BUDGET, TOLERANCE, usual_tolerance
from benches.measure import machine
from benches.terminal import show
from benches.terminal.arguments import count, forgive_stdout, positive, words
from benches.terminal.text import one_line


class Plain(Console):
    """Takes no text for markup. When nobody reads any more, nothing more is printed and the gate goes on."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, width=show.width(), markup=False, emoji=False, highlight=False)

    def on_broken_pipe(self) -> None:
        """Rich would end with status 1, which means a regression."""
        self.quiet = True
        os.dup2(os.open(os.devnull, os.O_WRONLY), self.file.fileno())

    def tell(self, text: str, style: str | None = None) -> None:
        """Print one line, which rich does not wrap."""
        self.print(one_line(text), style=style, soft_wrap=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print, write; the exit status."""
    began = time.monotonic()
    forgive_stdout()
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    progress = Plain(stderr=True)
    try:
        if options.instructions:
            instructions.check()
        with _writing(options.output, "name another folder"):
            options.output.mkdir(parents=True, exist_ok=True)
            tempfile.TemporaryFile(dir=options.output).close()
        with tempfile.TemporaryDirectory(prefix="gate-") as scratch:
            return _compare(options, Path(scratch), Plain(), progress, began)
    except Stopped as error:
        progress.tell(f"gate: {error}")
    return UNMEASURED


def _compare(options: argparse.Namespace, scratch: Path, console: Plain, progress: Plain, began: float) -> int:
    """Measure, then write and show what was measured, however it ends. Returns the exit status."""
    names = dict(zip(SIDES, (options.base, options.head), strict=True))
    try:
        trees = {side: check_out(name, scratch / side, machine.ROOT) for side, name in names.items()}
    except OSError as error:
        raise Stopped(str(error)) from error
    gate = Gate(
        trees,
        options.budget,
        options.timeout,
        options.tolerance / 100 if options.tolerance else usual_tolerance(options.budget),
        options.profile,
        options.instructions,
        options.cells,
        options.same_results,
        began=began,
    )
    if gate.same_code:
        console.tell(gate_report.same_code(gate))

    def write() -> None:
        with _writing(options.output, "free some space"):
            gate_report.write(gate, options.output)

    try:
        gate.run(wanted(options.case), progress.tell, write)
    except Failed as error:
        gate.stopped = f"{trees[error.side].label}: {error}"
    except Stopped as error:
        gate.stopped = str(error)
    except KeyboardInterrupt:
        gate.stopped = f"interrupted after {gate.seconds:.0f} s; what was seen is in {options.output}"
    except Exception as error:
        gate.stopped = f"an error of the gate's own: {type(error).__name__}"
        with contextlib.suppress(Exception):
            write()
        raise
    with contextlib.suppress(Stopped, OSError):
        if gate.stopped:
            write()
        gate_report.remember(gate, options.output)
    _show(gate, console)
    if gate.stopped:
        progress.tell(f"gate: {gate.stopped}")
    elif not gate.results:
        progress.tell("no cell is in both tables; --case takes parts of the names of cases")
    return gate.status


@contextlib.contextmanager
def _writing(folder: Path, cure: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise Stopped(f"--output: cannot write to {folder} ({error.strerror}); {cure}") from None


def _show(gate: Gate, console: Plain) -> None:
    if gate.results:
        console.print(gate_report.table(gate, console.width))
    for remark in gate_report.remarks(gate):
        console.tell(remark)
    console.tell(gate_report.footnote(gate), style="dim")
    console.tell(gate_report.headline(gate), style="bold")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benches.gate", description=(gate.__doc__ or "").splitlines()[0])
    parser.add_argument("base", metavar="BASE", help="commit, or a folder with benches/cases.py")
    parser.add_argument("head", metavar="HEAD", help="the same")
    parser.add_argument("--case", metavar="TEXT,TEXT", type=words, default=(), help="parts of names of cases (all)")
    parser.add_argument("--budget", metavar="S", type=positive, default=600.0, help="seconds for everything (600)")
    parser.add_argument("--timeout", metavar="S", type=positive, default=120.0, help="seconds for one answer (120)")
    usual = f"({TOLERANCE:.0%}, {FINE:.1%} from --budget {LONG_BUDGET:.0f} on)".replace("%", "%%")
    parser.add_argument("--tolerance", metavar="%", type=positive, help=f"slowdown that passes {usual}")
    parser.add_argument("--cells", metavar="N", type=count, default=MOST, help=f"cells at most ({MOST})")
    parser.add_argument("--same-results", action="store_true", help="fail where a result changed, too")
    parser.add_argument("--instructions", action="store_true", help="count instructions, too; needs valgrind")
    parser.add_argument("--profile", choices=("quick", "study", "full"), default="quick", help="sizes to measure")
    folder = Path("results", "gate")
    parser.add_argument("--output", metavar="DIR", type=Path, default=folder, help="for gate.json and gate.md")
    return parser
