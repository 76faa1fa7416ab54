"""What users of pytest-benchmark know still works on the real suite: save a run, compare the next one with it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.slow
def test_autosave_and_compare(tmp_path):
    def run(*arguments):
        command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--case=ledger"]
        done = subprocess.run(
            [*command, f"--results={tmp_path / 'results'}", f"--benchmark-storage=file://{tmp_path}/saved", *arguments],
            cwd=ROOT,
            env={**os.environ, "NUMBA_NUM_THREADS": "1"},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    status, output = run("--benchmark-only", "--benchmark-autosave")
    assert status == 0, output
    assert len(list((tmp_path / "saved").rglob("0001_*.json"))) == 1
    status, output = run("--benchmark-only", "--benchmark-compare")
    assert status == 0, output
    assert "Comparing against benchmarks from" in output
    assert "(0001_" in output, "the table has a row of either run"
