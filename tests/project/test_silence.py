"""Nobody waits in silence: pauses in what commands print, on a machine without caches."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LIMIT = 5.0
"""Seconds without a line."""
FIRST_CALLS = """
import numpy as np
from market import MarketConfig, Orders, Scenario, clear
from market.evaluation.policies import POLICIES, play
clear(Orders([150, 60], [1.0, 1.0], [True, False]), MarketConfig(), feed_in_tariff=2, utility_price=30)
play(Scenario.study(8).params, np.arange(2), POLICIES["truthful"])
print("played", flush=True)
"""


def pauses(command: list[str], folder: Path, **variables: str) -> tuple[list[tuple[float, str]], str]:
    """Seconds without output, each with what stood before it, longest first, and the whole output."""
    found, text, last = [], "", time.monotonic()
    environment = os.environ | {"PYTHONUNBUFFERED": "1"} | variables
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "stdin": subprocess.DEVNULL}
    with subprocess.Popen(command, cwd=folder, env=environment, **streams) as process:  # type: ignore[call-overload]
        while new := os.read(process.stdout.fileno(), 1 << 16):
            now = time.monotonic()
            found.append((now - last, text[-200:]))
            text, last = text + new.decode(errors="replace"), now
    assert process.returncode == 0, text[-3000:]
    return sorted(found, reverse=True), text


def test_an_installation_tells_how_far_it_is(tmp_path: Path) -> None:
    slow = tmp_path / "python"
    lines = (
        "#!/bin/sh",
        'mkdir -p "$3/bin"',
        "printf '#!/bin/sh\\nsleep 8\\n' > \"$3/bin/python\"",
        'chmod +x "$3/bin/python"',
    )
    slow.write_text("\n".join(lines))
    slow.chmod(0o755)
    found, text = pauses([str(ROOT / ".ci" / "install"), "venv", "torch"], tmp_path, PYTHON=str(slow))
    assert found[0][0] < LIMIT, found[0]
    assert text.startswith("Installing into venv ...\n  3 s, ")


@pytest.mark.slow
def test_the_first_calls_tell_that_they_compile(tmp_path: Path) -> None:
    found, text = pauses([sys.executable, "-c", FIRST_CALLS], ROOT, NUMBA_CACHE_DIR=str(tmp_path))
    assert found[0][0] < LIMIT, found[0]
    assert text.endswith("played\n")


@pytest.mark.slow
def test_the_quick_benchmarks_tell_what_they_do(tmp_path: Path) -> None:
    """All of them, compiled first; installing is the test above."""
    command = [sys.executable, "-m", "pytest", "--benchmark-only", f"--results={tmp_path}/results"]
    found, _ = pauses(command, ROOT, NUMBA_CACHE_DIR=str(tmp_path))
    assert found[0][0] < 2 * LIMIT, found[0]  # nothing is said within a call, nor while inputs are made
