"""Cells measured in other processes, whose crash or memory cannot touch the next cell: `--isolate`.

A cell on the wall clock (a training) has a process to itself, as its peak memory is fitted; short cells of one case
share one until a cell breaks it. The other side, `python -m benches.measure.isolated TELL`, reads a request a line and
answers with a file, which no print can spoil, and a byte to the file descriptor TELL. It ends when its parent does.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import importlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benches.case import Case, Params, Point, Unsupported
from benches.measure import machine, threads
from benches.measure.records import Status, plain
from benches.measure.stopwatch import Measurement, measure, tidy_memory
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


class Failed(Exception):
    """What went wrong in the other process, as one line."""


class _Process:
    """One process that measures, and everything that it starts: they have a session of their own and end together."""

    def __init__(self, case: str) -> None:
        self.case, self.asked = case, 0
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

    def ask(self, point: Point) -> dict[str, Any]:
        """Have a cell measured. Raises Failed when the process ends instead of answering."""
        self.asked += 1
        answer = Path(self._folder.name, f"{self.asked}.json")
        request = {"table": TABLE, "case": point.case.name, "params": dict(point.params), "answer": str(answer)}
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # told below
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()
        # not until the end of a stream: a process that the cell has started may keep that open for an hour
        while not select.select([self._told], [], [], POLL)[0] and self._process.poll() is None:
            pass
        if not answer.is_file():
            output = self._errors.read_text(encoding="utf-8", errors="replace")[-20 * KEPT_OUTPUT :]
            last, ended = text.one_line(output)[-KEPT_OUTPUT:], machine.ending(self._process.wait())
            raise Failed(f"the cell's process ended without an answer: {ended}{f' ({last})' if last else ''}")
        with contextlib.suppress(BlockingIOError):  # it died between the answer and the byte
            os.read(self._told, 1)
        return dict(json.loads(answer.read_text(encoding="utf-8")))

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


class Processes:
    """Measures cells in other processes, one at a time. `close` ends the last one."""

    def __init__(self) -> None:
        self._process: _Process | None = None

    def measure(self, point: Point, seen: Measurement) -> None:
        """Measure the cell in another process, into `seen`. Raises Unsupported, or Failed with what happened there."""
        shares = point.case.clock == "cpu"
        if self._process is not None and not (shares and self._process.case == point.case.name):
            self.close()
        if self._process is None:
            self._process = _Process(point.case.name)
        try:
            told = self._process.ask(point)
        except BaseException:  # a crash, a time-out, Ctrl-C
            self.close()
            raise
        if not shares:
            self.close()
        seen.take(Measurement(**told["seen"]))
        seen.isolated = not shares
        fail(told["status"], told["error"])

    def close(self) -> None:
        """End the process that is running, if one is."""
        process, self._process = self._process, None
        if process is not None:
            process.stop()


def point_of(table: str, case: str, params: Params) -> Point:
    """The cell of a table that is named `module:variable`."""
    module, name = table.split(":")
    cases: dict[str, Case] = getattr(importlib.import_module(module), name)
    return Point(cases[case], params)


def one_line(error: BaseException) -> str:
    """`ValueError: what it says (file.py:12)`; what another process told, as it is."""
    if isinstance(error, Failed):
        return str(error)
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" ({Path(last[0].filename).name}:{last[0].lineno})" if last else ""
    return text.named(error) + where


def ending(measured: Callable[[], None]) -> tuple[Status, str | None]:
    """How a measurement ended, and why: whatever a cell raises is its record."""
    try:
        measured()
    except Unsupported as reason:
        return "unsupported", str(reason)
    except Exception as error:  # noqa: BLE001
        return "failed", one_line(error)
    return "ok", None


def fail(status: Status, error: str | None) -> None:
    """Raise Unsupported or Failed where a measurement elsewhere ended so."""
    if status != "ok":
        raise (Unsupported if status == "unsupported" else Failed)(error)


def _answer(request: dict[str, Any]) -> None:
    """Measure the requested cell and write the answer."""
    seen = Measurement()

    def cell() -> None:
        point = point_of(request["table"], request["case"], request["params"])
        tidy_memory()
        measure(point, seen)

    status, error = ending(cell)
    told = {"seen": plain(dataclasses.asdict(seen)), "status": status, "error": error}
    write_whole(Path(request["answer"]), json.dumps(told, allow_nan=False))


def main(arguments: list[str]) -> None:
    """Answer the requests on standard input until there are no more."""
    with contextlib.suppress(AttributeError, OSError):  # Linux: a killed parent leaves no process behind
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    (tell,) = map(int, arguments)
    os.set_inheritable(tell, False)
    requests, sys.stdin = sys.stdin, open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123 - a cell reads nothing
    for line in requests:
        _answer(json.loads(line))
        os.write(tell, b".")


if __name__ == "__main__":
    main(sys.argv[1:])
