"""Cells measured in other processes, whose crash or memory cannot touch the next cell.

The other side, `python -m benches.measure.isolated TELL`, reads a request a line and answers with a file, which no
print can spoil, and a byte to the file descriptor TELL. It ends when its parent does.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import importlib
import json
import math
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benches.case import Case, Params, Point
from benches.measure import machine, threads
from benches.measure.endings import Failed, ending, fail
from benches.measure.records import plain
from benches.measure.stopwatch import Measurement, measure, tidy_memory
from benches.measure.turns import Ended, in_turns
from benches.terminal import text
from market.support.files import write_whole

TABLE = "benches.cases:CASES"
"""Where the other process finds the table of cases."""
PR_SET_PDEATHSIG = 1
KEPT_OUTPUT = 400
"""Characters of a crashed process's last words that are quoted."""
POLL = 0.05
"""Seconds between two looks at whether a process that has not answered still lives."""
PATIENCE = 1.0
"""Seconds that a process which is no longer needed has to end by itself."""


class Process:
    """One process that measures, and everything that it starts: they have a session of their own and end together."""

    def __init__(self) -> None:
        self.asked = 0
        self._folder = tempfile.TemporaryDirectory(prefix="benches-")
        self._errors = Path(self._folder.name, "errors")
        self._told, tell = os.pipe()
        os.set_blocking(self._told, False)
        path = f"{machine.ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"  # benches is not installed
        with self._errors.open("wb") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "benches.measure.isolated", str(tell)],
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                pass_fds=(tell,),
                start_new_session=True,
                env=os.environ | threads.pin() | {"PYTHONPATH": path},
            )
        os.close(tell)

    def ask(self, cells: Sequence[Point], limit: float = math.inf, **how: Any) -> Any:
        """Have cells of a case measured, one alone or several in turns. Raises Failed when the process ends instead of
        answering, or after `limit` seconds.

        how: arguments of `turns.in_turns`.
        """
        self.asked += 1
        answer, end = Path(self._folder.name, f"{self.asked}.json"), time.monotonic() + limit
        params = [dict(point.params) for point in cells]
        request = {"table": TABLE, "case": cells[0].case.name, "cells": params, "how": how, "answer": str(answer)}
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # told below
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        # not until the end of a stream: a process that the cell has started may keep that open for an hour
        while not select.select([self._told], [], [], POLL)[0] and self._process.poll() is None:
            if time.monotonic() > end:
                raise Failed(f"Timeout: no answer within {limit:g} s")
        if not answer.is_file():
            output = self._errors.read_text(encoding="utf-8", errors="replace")[-20 * KEPT_OUTPUT :]
            last, ended = text.one_line(output)[-KEPT_OUTPUT:], machine.ending(self._process.wait())
            raise Failed(f"the cell's process ended without an answer: {ended}{f' ({last})' if last else ''}")
        with contextlib.suppress(BlockingIOError):  # it died between the answer and the byte
            os.read(self._told, 1)
        return json.loads(answer.read_text(encoding="utf-8"))

    @property
    def at(self) -> int | None:
        """Which of the cells that were asked for last is being measured, or was when the process ended."""
        place = Path(self._folder.name, f"{self.asked}.at")
        return int(place.read_text(encoding="utf-8")) if place.is_file() else None

    def stop(self) -> None:
        """End the process and whatever it has started."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        os.close(self._told)
        self._folder.cleanup()


def measure_alone(point: Point, seen: Measurement) -> None:
    """Measure a cell in a process of its own, into `seen`. Raises Unsupported, or Failed with what happened there."""
    process = Process()
    try:
        (told,) = process.ask([point])
    finally:  # also after a time-out, or Ctrl-C
        process.stop()
    seen.take(Measurement(**told["seen"]))
    seen.isolated = True
    fail(told["status"], told["error"])


def point_of(table: str, case: str, params: Params) -> Point:
    """The cell of a table that is named `module:variable`."""
    module, name = table.split(":")
    cases: dict[str, Case] = getattr(importlib.import_module(module), name)
    return Point(cases[case], params)


def _answer(request: dict[str, Any]) -> None:
    """Measure the requested cells and write the answer: one cell alone, several in turns."""
    place, how = Path(request["answer"]), request["how"]
    told: list[Ended] = []

    def cells() -> None:
        points = [point_of(request["table"], request["case"], params) for params in request["cells"]]
        tidy_memory()
        if "process" in how:
            mark = place.with_suffix(".at")
            told.extend(in_turns(points, at=lambda cell: mark.write_text(str(cell), encoding="utf-8"), **how))
        else:
            seen = Measurement()
            told.append((seen, *ending(lambda: measure(points[0], seen))))

    status, error = ending(cells)
    told = told or [(Measurement(), status, error)] * len(request["cells"])
    answer = [{"seen": plain(dataclasses.asdict(seen)), "status": s, "error": e} for seen, s, e in told]
    write_whole(place, json.dumps(answer, allow_nan=False))


def _answer_forked(request: dict[str, Any]) -> None:
    """The same in a copy of this process as it is after loading, which ends with the answer: its memory is its own."""
    importlib.import_module(request["how"].pop("fork"))
    child = os.fork()
    if child:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if not Path(request["answer"]).is_file():
            error = f"the cell's process ended without an answer: {machine.ending(status)}"
            told = {"seen": dataclasses.asdict(Measurement()), "status": "failed", "error": error}
            write_whole(Path(request["answer"]), json.dumps([told]))
        return
    try:
        _end_with_parent()
        _answer(request)
    finally:
        os._exit(0)


def _end_with_parent() -> None:
    """A killed parent leaves no process behind (Linux)."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main(arguments: list[str]) -> None:
    """Answer the requests on standard input until there are no more."""
    _end_with_parent()
    (tell,) = map(int, arguments)
    os.set_inheritable(tell, False)
    requests, sys.stdin = sys.stdin, open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123 - a cell reads nothing
    for line in requests:
        request = json.loads(line)
        (_answer_forked if "fork" in request["how"] else _answer)(request)
        os.write(tell, b".")


if __name__ == "__main__":
    main(sys.argv[1:])
