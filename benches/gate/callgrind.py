"""The far side of `gate.instructions`: opens the cells of a checkout and makes one call of each, under callgrind.

Like `worker.py` it is run as a file, so that `benches` and `market` are the checkout's.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path

SWITCH = "qsort_r"
"""The C library's function, called by its `qsort`, from within which the counted call is made."""


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


def main(request: str) -> None:
    """Open each cell of the checkout, make the counted call, and tell which files callgrind wrote at its end."""
    spec = importlib.util.spec_from_file_location("gate_worker", Path(__file__).with_name("worker.py"))
    assert spec is not None
    assert spec.loader is not None
    worker = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(worker)
    asked = json.loads(request)
    cells, place = worker.Cells(None), Path(asked["place"])
    dumps: list[list[str]] = []
    for case, params in asked["cells"]:
        dumps.append([])
        with contextlib.suppress(Exception):  # whatever a case raises: the gate's own rounds tell what
            cells.open(case, params)
            before = set(place.glob("out.*"))
            within_switch(functools.partial(cells.case.call, cells.prepared, worker.COUNTED))
            dumps[-1] = [file.name for file in set(place.glob("out.*")) - before]
        with contextlib.suppress(Exception):
            cells.close()
    (place / "dumps.json").write_text(json.dumps(dumps), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
