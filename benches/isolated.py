"""A cell measured in a fresh process, whose crash or memory cannot touch the next cell: `--isolate`.

The parent calls `measure`; the child is `python -m benches.isolated REQUEST`, ends when its parent does, and answers
with a file, so that nothing that a library prints can spoil the answer.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from pathlib import Path

from benches import machine, threads

threads.pin()  # before anything below imports numpy

from benches.case import Case, Params, Point, Unsupported  # noqa: E402
from benches.measure import Measurement, Stopwatch  # noqa: E402
from benches.results import plain  # noqa: E402

TABLE = "benches.cases:CASES"
"""Where the child finds the table of cases."""
PR_SET_PDEATHSIG = 1
KEPT_OUTPUT = 400
"""Characters of a crashed process's last words that are quoted."""


class Failed(Exception):
    """What went wrong in the other process, as one line."""


def measure(point: Point, seen: Measurement) -> None:
    """Measure the cell in a new process, into `seen`. Raises Unsupported, or Failed with what happened there."""
    with tempfile.TemporaryDirectory(prefix="benches-") as folder:
        answer = Path(folder, "answer.json")
        request = {"table": TABLE, "case": point.case.name, "params": dict(point.params), "answer": str(answer)}
        command = [sys.executable, "-m", "benches.isolated", json.dumps(request)]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
        if not answer.is_file():
            raise Failed(_end(done.returncode, done.stderr.decode(errors="replace")))
        told = json.loads(answer.read_text())
    for name, value in told["seen"].items():
        setattr(seen, name, value)
    if told["unsupported"] is not None:
        raise Unsupported(told["unsupported"])
    if told["error"] is not None:
        raise Failed(told["error"])


def point_of(table: str, case: str, params: Params) -> Point:
    """The cell of a table that is named `module:variable`."""
    module, name = table.split(":")
    cases: dict[str, Case] = getattr(importlib.import_module(module), name)
    return Point(cases[case], params)


def _end(status: int, output: str) -> str:
    """How a process ended that gave no answer."""
    last = " ".join(output.split())[-KEPT_OUTPUT:]
    return f"the cell's process ended without an answer: {machine.ending(status)}{f' ({last})' if last else ''}"


def one_line(error: BaseException) -> str:
    """`ValueError: what it says (file.py:12)`; what another process told, as it is."""
    if isinstance(error, Failed):
        return str(error)
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" ({Path(last[0].filename).name}:{last[0].lineno})" if last else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{where}"


def main(arguments: list[str]) -> None:
    """Measure the requested cell and write the answer."""
    with contextlib.suppress(AttributeError, OSError):  # Linux: a killed parent leaves no process behind
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    request = json.loads(arguments[0])
    point = point_of(request["table"], request["case"], request["params"])
    watch = Stopwatch(point)
    error = unsupported = None
    try:
        with watch:
            watch.warm_up()
            for _ in range(point.rounds):
                watch.round()
    except Unsupported as reason:
        unsupported = str(reason)
    except Exception as raised:  # noqa: BLE001 - whatever a cell raises is its record
        error = one_line(raised)
    told = {"seen": plain(dataclasses.asdict(watch.seen)), "error": error, "unsupported": unsupported}
    fresh = Path(request["answer"]).with_suffix(f".{os.getpid()}")
    fresh.write_text(json.dumps(told, allow_nan=False))
    fresh.replace(request["answer"])


if __name__ == "__main__":
    main(sys.argv[1:])
