"""Instructions of one call, counted by callgrind: the same on any machine, however busy. Optional: it needs valgrind.

Each side is one process under callgrind that opens the cells one after the other. The counted call is made from within
SWITCH, on whose entry and exit callgrind switches, so that nothing around the call is counted. Kernels are compiled for
CPU before, without callgrind: below it they are loaded only.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benches.gate.process import WORKER, environment, last_words
from benches.gate.worker import SWITCH

CPU = {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": "+avx2,+fma,+bmi,+bmi2"}
"""What numba compiles for: no more than what valgrind knows."""
VALGRIND = f"valgrind --tool=callgrind --toggle-collect={SWITCH} --dump-after={SWITCH}"
TOTALS = re.compile(r"^(?:totals|summary): (\d+)", re.MULTILINE)
Asked = Sequence[tuple[str, dict[str, Any]]]
"""Cells to count: case and parameters."""


class NoCallgrind(Exception):
    """Instructions cannot be counted here; the text says why."""


def counted(folders: Mapping[str, Path], cells: Asked, limit: float) -> dict[str, list[int | None]]:
    """Instructions of a call of each cell by side, which run side by side; None where the cell fails.

    folders: the checkouts.
    limit: seconds for everything.

    Raises NoCallgrind.
    """
    end = time.monotonic() + limit
    with tempfile.TemporaryDirectory(prefix="gate-") as scratch:
        places = {side: Path(scratch, side) for side in folders}
        for place in places.values():
            place.mkdir()
        _run(folders, places, cells, end)  # compiles the kernels
        _run(folders, places, cells, end, VALGRIND)
        found = {side: _read(place) for side, place in places.items()}
    for side, counts in found.items():
        if cells and not any(counts):
            raise NoCallgrind(f"{side}: callgrind saw no call of {SWITCH}; this C library or processor is unsupported")
    return found


def check() -> None:
    """Raises NoCallgrind without valgrind."""
    if shutil.which("valgrind") is None:
        raise NoCallgrind("valgrind is not installed; allowed: apt-get install valgrind, or no --instructions")


def _run(folders: Mapping[str, Path], places: Mapping[str, Path], cells: Asked, end: float, valgrind: str = "") -> None:
    """Run both sides at the same time, to their end. Each writes into its place."""
    with contextlib.ExitStack() as stack:
        started = {}
        for side, place in places.items():
            files = [f"--callgrind-out-file={place / 'out'}", f"--log-file={place / 'valgrind'}"]
            under = [*valgrind.split(), *files] if valgrind else []
            started[side] = subprocess.Popen(
                [*under, sys.executable, "-P", str(WORKER), json.dumps(list(cells)), str(place)],
                cwd=folders[side],
                env=environment(folders[side]) | CPU,
                stdout=subprocess.DEVNULL,
                stderr=stack.enter_context((place / "errors").open("wb")),
            )
            stack.callback(started[side].wait)
            stack.callback(started[side].kill)
        for side, process in started.items():
            try:
                status = process.wait(max(0.0, end - time.monotonic()))
            except subprocess.TimeoutExpired:
                raise NoCallgrind("not counted in time; allowed: fewer cells (--case), or a larger --budget") from None
            if status:
                raise NoCallgrind(f"{side}: {last_words(status, (places[side] / 'errors').read_bytes())}")


def _read(place: Path) -> list[int | None]:
    """The sum of the dumps of each cell; None where the call failed."""
    dumps: list[list[str]] = json.loads((place / "dumps.json").read_text(encoding="utf-8"))
    return [sum(_total(place / name) for name in names) if names else None for names in dumps]


def _total(dump: Path) -> int:
    found = TOTALS.search(dump.read_text(encoding="utf-8", errors="replace"))
    if found is None:
        raise NoCallgrind(f"{dump.name}: no totals in what callgrind wrote")
    return int(found[1])
