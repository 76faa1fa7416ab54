"""Cells measured in other processes, whose crash or memory cannot touch the next cell.

The other side, `python -m benches.measure.isolated TELL`, reads a request a line. It answers to the file descriptor
TELL: the number of the cell that is on, wherever several take turns, and in the end what was seen of each. It ends when
its parent does.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import importlib
import json
import math
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from benches.case import Case, Params, Point
from benches.measure import machine, process, threads
from benches.measure.records import Failed, ending, fail, plain
from benches.measure.stopwatch import Measurement, measure, tidy_memory
from benches.measure.turns import Ended, in_turns

TABLE = "benches.cases:CASES"
"""Where the other process finds the table of cases."""
PR_SET_PDEATHSIG = 1
ANSWERED = 77
"""Exit status of a copy that has answered."""
WITHOUT = "the cell's process ended without an answer"


class Process(process.Process):
    """One process that measures. at: which of the cells that were asked for last is on, or was when it ended."""

    def __init__(self) -> None:
        path = f"{machine.ROOT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"  # benches is not installed
        super().__init__("-m", "benches.measure.isolated", env=os.environ | threads.pin() | {"PYTHONPATH": path})
        self.at: int | None = None

    def ask(
        self, cells: Sequence[Point], limit: float = math.inf, on: Callable[[int], object] = lambda _: None, **how: Any
    ) -> Any:
        """Have cells of a case measured, one alone or several in turns. Raises Failed when the process ends instead of
        answering, or after `limit` seconds.

        on: is told which of the cells is on, whenever another one is.
        how: arguments of `turns.in_turns`.
        """
        self.at, end = None, time.monotonic() + limit
        params = [dict(point.params) for point in cells]
        self.send({"table": TABLE, "case": cells[0].case.name, "cells": params, "how": how})
        try:
            while isinstance(told := self.answer(end - time.monotonic()), int):
                self.at = told
                on(told)
        except TimeoutError:
            raise Failed(f"Timeout: no answer within {limit:g} s") from None
        except process.Lost as error:
            raise Failed(f"{WITHOUT}: {error}") from None
        return told


def measure_alone(point: Point, seen: Measurement) -> None:
    """Measure a cell in a process of its own, into `seen`. Raises Unsupported, or Failed with what happened there."""
    with Process() as alone:  # it ends also after a time-out, or Ctrl-C
        (told,) = alone.ask([point])
    seen.take(Measurement(**told["seen"]))
    seen.isolated = True
    fail(told["status"], told["error"])


def point_of(table: str, case: str, params: Params) -> Point:
    """The cell of a table that is named `module:variable`."""
    module, name = table.split(":")
    cases: dict[str, Case] = getattr(importlib.import_module(module), name)
    return Point(cases[case], params)


def _answer(request: dict[str, Any], tell: Callable[[Any], None]) -> None:
    """Measure the requested cells and answer: one cell alone, several in turns."""
    told: list[Ended] = []

    def cells() -> None:
        points = [point_of(request["table"], request["case"], params) for params in request["cells"]]
        tidy_memory()
        if "process" in request["how"]:
            told.extend(in_turns(points, at=tell, **request["how"]))
        else:
            seen = Measurement()
            told.append((seen, *ending(lambda: measure(points[0], seen))))

    status, error = ending(cells)
    _tell_all(tell, told or [(Measurement(), status, error)] * len(request["cells"]))


def _tell_all(tell: Callable[[Any], None], told: Sequence[Ended]) -> None:
    tell([{"seen": plain(dataclasses.asdict(seen)), "status": s, "error": e} for seen, s, e in told])


def _answer_forked(request: dict[str, Any], tell: Callable[[Any], None]) -> None:
    """The same in a copy of this process as it is after loading, which ends with the answer: its memory is its own."""
    importlib.import_module(request["how"].pop("fork"))
    child = os.fork()
    if child:
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        if status != ANSWERED:
            tell(None)  # ends half a line
            _tell_all(tell, [(Measurement(), "failed", f"{WITHOUT}: {machine.ending(status)}")])
        return
    try:
        _end_with_parent()
        _answer(request, tell)
        os._exit(ANSWERED)
    finally:
        os._exit(1)


def _end_with_parent() -> None:
    """A killed parent leaves no process behind (Linux)."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main(told: int) -> None:
    """Answer the requests on standard input until there are no more."""
    _end_with_parent()
    os.set_inheritable(told, False)
    channel = os.fdopen(told, "w", encoding="utf-8")

    def tell(value: Any) -> None:
        print("" if value is None else json.dumps(value, allow_nan=False), file=channel, flush=True)

    requests, sys.stdin = sys.stdin, open(os.devnull, encoding="utf-8")  # noqa: SIM115, PTH123 - a cell reads nothing
    for line in requests:
        request = json.loads(line)
        (_answer_forked if "fork" in request["how"] else _answer)(request, tell)


if __name__ == "__main__":
    main(int(sys.argv[1]))
