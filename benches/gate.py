"""Is HEAD slower than BASE? `python -m benches.gate BASE HEAD`: both are measured here and now, in alternation.

Exit status: 0 nothing became slower, 1 something did, 2 it could not be measured. How it decides and how good its
decisions are: benches/docs/gate.md.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benches import gate_instructions, gate_report, machine, show
from benches.arguments import positive
from benches.gate_instructions import NoCallgrind
from benches.gate_pair import SIDES, Failed
from benches.gate_plan import wanted
from benches.gate_run import UNMEASURED, Gate
from benches.gate_trees import NoTree, check_out
from benches.gate_verdict import TOLERANCE


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print, write; the exit status."""
    options = _parser().parse_args(arguments)
    progress = Console(stderr=True, highlight=False)
    console = Console() if sys.stdout.isatty() else Console(width=show.MIN_WIDTH)
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        options.output.mkdir(parents=True, exist_ok=True)
        (options.output / ".probe").touch()
        (options.output / ".probe").unlink()
    except OSError as error:
        return _give_up(progress, f"--output: cannot write to {options.output} ({error.strerror}); name another folder")
    if options.instructions:
        try:
            gate_instructions.check()
        except NoCallgrind as error:
            return _give_up(progress, f"--instructions: {error}")
    with tempfile.TemporaryDirectory(prefix="gate-") as scratch:
        try:
            names = dict(zip(SIDES, (options.base, options.head), strict=True))
            trees = {side: check_out(name, Path(scratch, side), machine.ROOT) for side, name in names.items()}
        except (NoTree, OSError) as error:
            return _give_up(progress, str(error))
        gate = Gate(
            trees, options.budget, options.timeout, options.tolerance / 100, options.profile, options.instructions
        )
        try:
            gate.run(wanted(options.case), progress.print, lambda: gate_report.write(gate, options.output))
        except Failed as error:
            return _give_up(progress, f"{trees[error.side].label}: {error}")
        except NoCallgrind as error:
            return _give_up(progress, f"--instructions: {error}")
        except OSError as error:
            return _give_up(progress, f"--output: cannot write to {options.output} ({error.strerror}); free some space")
        except KeyboardInterrupt:
            _show(gate, console)
            return _give_up(progress, f"interrupted after {gate.pairs} pairs; what was seen is in {options.output}")
    _show(gate, console)
    if not gate.results:
        progress.print("no cell is in both tables; --case takes parts of the names of cases")
    return gate.status


def _show(gate: Gate, console: Console) -> None:
    console.print(gate_report.table(gate))
    for remark in gate_report.remarks(gate):
        console.print(remark, soft_wrap=True, highlight=False, markup=False)
    console.print(gate_report.footnote(gate), soft_wrap=True, style="dim", highlight=False)
    console.print(gate_report.headline(gate), soft_wrap=True, style="bold", highlight=False)


def _give_up(console: Console, text: str) -> int:
    console.print(f"gate: {text}", soft_wrap=True, markup=False)
    return UNMEASURED


def _interrupt(_number: int, _frame: object) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benches.gate", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("base", metavar="BASE", help="commit, or a folder with benches/cases.py")
    parser.add_argument("head", metavar="HEAD", help="the same")
    parser.add_argument(
        "--case", metavar="TEXT,TEXT", type=_parts, default=(), help="only cases whose name contains one"
    )
    parser.add_argument("--budget", metavar="S", type=positive, default=600.0, help="seconds for everything (600)")
    parser.add_argument("--timeout", metavar="S", type=positive, default=120.0, help="seconds for one answer (120)")
    parser.add_argument(
        "--tolerance",
        metavar="%",
        type=positive,
        default=100 * TOLERANCE,
        help="slowdown that passes, in per cent (5)",
    )
    parser.add_argument(
        "--instructions", action="store_true", help="count instructions of single-threaded cells, too; needs valgrind"
    )
    parser.add_argument("--profile", choices=("quick", "study", "full"), default="quick", help="sizes to measure")
    parser.add_argument(
        "--output", metavar="DIR", type=Path, default=Path("results", "gate"), help="for gate.json, gate.md"
    )
    return parser


def _parts(text: str) -> tuple[str, ...]:
    parts = tuple(part.strip() for part in text.split(",") if part.strip())
    if not parts:
        raise argparse.ArgumentTypeError(f"got {text!r}; allowed: parts of case names with commas between them")
    return parts


if __name__ == "__main__":
    sys.exit(main())
