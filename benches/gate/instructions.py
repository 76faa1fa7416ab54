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

from benches.gate import Stopped
from benches.gate.pair import WORKER, environment
from benches.gate.worker import SWITCH
from benches.measure import machine

CPU = {"NUMBA_CPU_NAME": "x86-64-v3", "NUMBA_CPU_FEATURES": "+avx2,+fma,+bmi,+bmi2"}
"""What numba compiles for: no more than what valgrind knows."""
VALGRIND = ("valgrind", "--tool=callgrind", f"--toggle-collect={SWITCH}", f"--dump-after={SWITCH}")
TOTALS = re.compile(r"^(?:totals|summary): (\d+)", re.MULTILINE)
Asked = Sequence[tuple[str, dict[str, Any]]]
"""Cells to count: case and parameters."""


def check() -> None:
    """Raises Stopped without valgrind."""
    if shutil.which("valgrind") is None:
        raise _stopped("valgrind is not installed; allowed: apt-get install valgrind, or no --instructions")


def counted(folders: Mapping[str, Path], cells: Asked, limit: float) -> dict[str, list[int | None]]:
    """Instructions of a call of each cell by side, which run side by side; None where the cell fails.

    folders: the checkouts.
    limit: seconds for everything.

    Raises Stopped.
    """
    end = time.monotonic() + limit
    with tempfile.TemporaryDirectory(prefix="gate-") as scratch:
        places = {side: Path(scratch, side) for side in folders}
        for place in places.values():
            place.mkdir()
        _run(folders, places, cells, end)  # compiles the kernels
        _run(folders, places, cells, end, *VALGRIND)
        found = {side: [_sum(place, names) for names in _dumps(place)] for side, place in places.items()}
    for side, counts in found.items():
        if cells and not any(counts):
            raise _stopped(f"{side}: callgrind saw no call of {SWITCH}; this C library or processor is unsupported")
    return found


def _stopped(why: str) -> Stopped:
    return Stopped(f"--instructions: {why}")


def _run(folders: Mapping[str, Path], places: Mapping[str, Path], cells: Asked, end: float, *under: str) -> None:
    """Run both sides at the same time, to their end. Each writes into its place."""
    with contextlib.ExitStack() as stack:
        started = {}
        for side, place in places.items():
            files = [f"--callgrind-out-file={place / 'out'}", f"--log-file={place / 'valgrind'}"] if under else []
            started[side] = subprocess.Popen(
                [*under, *files, sys.executable, "-P", str(WORKER), json.dumps(list(cells)), str(place)],
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
                raise _stopped("not counted in time; allowed: fewer cells (--case), or a larger --budget") from None
            if status:
                raise _stopped(f"{side}: {machine.ending(status, (places[side] / 'errors').read_bytes())}")


def _dumps(place: Path) -> list[list[str]]:
    return list(json.loads((place / "dumps.json").read_text(encoding="utf-8")))


def _sum(place: Path, names: list[str]) -> int | None:
    """Instructions in the dumps of a cell."""
    texts = [(place / name).read_text(encoding="utf-8", errors="replace") for name in names]
    return sum(int(TOTALS.findall(text)[0]) for text in texts) if names else None
