"""The far side of the gate: one process that runs the cases of one checkout, a line of JSON per request and answer.

It runs as a file, `PYTHONPATH=CHECKOUT python -P benches/gate/worker.py IN OUT TELL`: the gate's own code is the
caller's, while `benches.cases` and `market` are the checkout's, so that each commit's table goes with that commit's
market. The worker needs no more than the table: `CASES` by name, and of a case `points`, `setup`, `call`, `warmup`,
`close`, `rounds`, `version`, `size`, `clock`, `figures` where there are any, and the facts that a call without a clock
returns. `worker.py CELLS PLACE` makes one call of each cell instead, for callgrind to count.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import importlib.util
import json
import os
import select
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

OWN = Path(__file__).parents[1]
Answer = dict[str, Any]
COUNTED = 2
"""The round that is counted; 0 warms up and 1 shows what a call costs."""
SWITCH = "qsort_r"
"""The C library's function, called by its `qsort`, from within which the call for callgrind is made."""


def beside(place: str) -> ModuleType:
    """A module of the gate's own tree (`measure/counters`), whatever `benches` means in this process."""
    spec = importlib.util.spec_from_file_location(f"gate_{Path(place).name}", OWN / f"{place}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Idle(Exception):
    """It never became this worker's turn."""


class Turns:
    """The two pipes by which a pair of workers takes turns: whoever has read a byte may run."""

    def __init__(self, inward: int, outward: int) -> None:
        self.inward, self.outward = inward, outward

    def wait(self, limit: float) -> None:
        """Block until the other one is done."""
        if not select.select([self.inward], [], [], limit)[0] or not os.read(self.inward, 1):
            raise Idle("the other side did not finish its turn")

    def done(self) -> None:
        """Let the other one run."""
        os.write(self.outward, b".")


@contextlib.contextmanager
def pinned(core: int | None) -> Iterator[None]:
    """Keep to one core: two cores of a shared machine may differ by half for a second at a time."""
    if core is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


class Probe:
    """Case of the gate's own code, the same on both sides: what differs between them is the machine's noise."""

    clock, warmup, close = "cpu", None, None

    @staticmethod
    def setup(params: dict[str, Any]) -> list[float]:
        """As many numbers, in no order."""
        return [number * 0.6180339887 % 1.0 for number in range(params["items"])]

    @staticmethod
    def call(prepared: list[float], _: int) -> None:
        """Sort them."""
        sorted(prepared)


class Cells:
    """The checkout's table, the gate's probe, and the one cell that is open."""

    def __init__(self, turns: Turns | None = None) -> None:
        from benches.cases import CASES

        self.turns = turns
        self.table: dict[str, Any] = {**CASES, "probe": Probe}
        self.case: Any = None
        self.prepared: Any = None
        self.counters = beside("measure/counters")

    def listing(self, profile: str) -> Answer:
        """Every cell of a profile, with what decides how it is measured and judged."""
        cells = [
            {
                "case": case.name,
                "version": case.version,
                "params": dict(point.params),
                "unit": case.size,
                "size": point.size,
                "clock": case.clock,
                "rounds": point.rounds,
            }
            for case in self.table.values()
            if case is not Probe
            for name in (profile, "gate")
            for point in case.points(name)
        ]
        return {"cells": cells}

    def open(self, case: str, params: dict[str, Any]) -> Answer:
        """Prepare a cell, warm it up, and see what a call costs in wall seconds.

        alone: whether all that it computes is done by this process, so that its CPU seconds miss nothing.
        """
        self.close()
        self.case = self.table[case]
        began = time.perf_counter()
        self.prepared = self.case.setup(params)
        prepared = time.perf_counter() - began
        if self.case.clock == "none":
            return {"setup": prepared, "cost": 0.0, "alone": True}
        if self.case.warmup is not None:
            self.case.warmup(self.prepared)
        else:
            self.case.call(self.prepared, 0)
        began = time.perf_counter()
        self.case.call(self.prepared, 1)
        cost = time.perf_counter() - began
        gc.collect()
        gc.freeze()
        ray, cuda = sys.modules.get("ray"), sys.modules.get("torch.cuda")
        alone = not (ray and ray.is_initialized()) and not (cuda and cuda.is_initialized())
        return {"setup": prepared, "cost": cost, "alone": alone}

    def count(self) -> Answer:
        """The deterministic figures of the counted round; of a case without a clock, its facts."""
        if self.case.clock == "none":
            return {"counters": {k: float(v) for k, v in self.case.call(self.prepared, COUNTED).facts.items()}}
        found = self.counters.calls(lambda: self.case.call(self.prepared, COUNTED))
        found["peak_bytes"] = self.counters.peak_bytes(lambda: self.case.call(self.prepared, COUNTED + 1))
        for name, figure in getattr(self.case, "figures", {}).items():
            found[name] = float(figure(self.prepared, COUNTED))
        return {"counters": found}

    def time(self, first: int, batch: int, samples: int, leads: bool, core: int | None, limit: float) -> Answer:
        """CPU and wall seconds of each of `samples`, of `batch` calls each, from round `first` on.

        The two workers of a pair take turns, sample by sample; the one that `leads` begins.
        core: the processor core that both are pinned to, or None.
        limit: seconds after which the other one's turn raises Idle.
        """
        call, prepared, turns = self.case.call, self.prepared, self.turns
        assert turns is not None
        cpu_seconds, wall_seconds = [], []
        with pinned(core):
            for start in range(first, first + batch * samples, batch):
                if start > first or not leads:
                    turns.wait(limit)
                batched = range(start, start + batch)
                wall = time.perf_counter()
                cpu = time.process_time()
                for turn in batched:
                    call(prepared, turn)
                cpu_seconds.append(time.process_time() - cpu)
                wall_seconds.append(time.perf_counter() - wall)
                turns.done()
            if leads:
                turns.wait(limit)  # the other's last sample: nothing else may run beside it
        return {"cpu": cpu_seconds, "wall": wall_seconds}

    def close(self) -> Answer:
        """Release the open cell."""
        case, prepared = self.case, self.prepared
        self.case = self.prepared = None
        gc.unfreeze()
        if case is not None and case.close is not None:
            case.close(prepared)
        return {}


def answer(cells: Cells, request: dict[str, Any]) -> Answer:
    """Do what is asked; what goes wrong in a case is an answer, too."""
    action = request.pop("do")
    try:
        return dict(getattr(cells, action)(**request))
    except Idle as error:
        return {"idle": str(error)}
    except MemoryError:
        return {"error": f"{action}: out of memory"}
    except Exception as error:  # noqa: BLE001 - whatever a case raises belongs into the gate's table
        return {"error": beside("terminal/text").named(error)}


def main(inward: int, outward: int, told: int) -> None:
    """Answer requests until there are no more, to the file descriptor `told`."""
    channel = os.fdopen(told, "w", encoding="utf-8")
    try:
        cells = Cells(Turns(inward, outward))
        hello: Answer = {"ready": os.getpid()}
    except Exception as error:  # noqa: BLE001 - a commit without a table that loads is a finding, not a crash
        hello = {"error": f"benches.cases cannot be imported: {beside('terminal/text').named(error)}"}
    print(json.dumps(hello), file=channel, flush=True)
    if "error" in hello:
        return
    for line in sys.stdin:
        print(json.dumps(answer(cells, json.loads(line))), file=channel, flush=True)
    cells.close()


def within_switch(action: Callable[[], object]) -> None:
    """Call `action` once from within SWITCH: it is what compares the two items of an array to be sorted."""
    outcome: list[Exception | None] = []

    def compare(_first: object, _second: object) -> int:
        if not outcome:
            outcome.append(None)
            try:
                action()
            except Exception as error:  # noqa: BLE001 - ctypes would swallow it
                outcome[0] = error
        return 0

    callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(compare)
    ctypes.CDLL(None).qsort((ctypes.c_int * 2)(), ctypes.c_size_t(2), ctypes.c_size_t(4), callback)
    if outcome[0] is not None:
        raise outcome[0]


def under_callgrind(asked: str, place: Path) -> None:
    """Open each cell, make the counted call, and write into `place` which files callgrind wrote at its end.

    asked: JSON list of (case, parameters).
    """
    cells = Cells()
    dumps: list[list[str]] = []
    for case, params in json.loads(asked):
        dumps.append([])
        with contextlib.suppress(Exception):  # whatever a case raises: the gate's own rounds report it
            cells.open(case, params)
            before = set(place.glob("out.*"))
            within_switch(functools.partial(cells.case.call, cells.prepared, COUNTED))
            dumps[-1] = [file.name for file in set(place.glob("out.*")) - before]
        with contextlib.suppress(Exception):
            cells.close()
    (place / "dumps.json").write_text(json.dumps(dumps), encoding="utf-8")


if __name__ == "__main__":
    first, *rest = sys.argv[1:]
    if first.startswith("["):
        under_callgrind(first, Path(*rest))
    else:
        main(*map(int, sys.argv[1:]))
