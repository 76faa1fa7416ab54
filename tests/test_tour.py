"""The tour `examples/study.py` runs from its first cell to its last, and leaves what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
TOUR = ROOT / "examples" / "study.py"
SMALL = {"POPULATIONS = (1, 5, 10)": "POPULATIONS = (1, 2)", "ITERATIONS = 3": "ITERATIONS = 1"}


@pytest.mark.slow  # loads torch and ray, and trains; CI runs it
def test_the_tour_runs(tmp_path):
    script = TOUR.read_text()
    for value, small in SMALL.items():
        assert value in script
        script = script.replace(value, small)
    (tmp_path / "tour.py").write_text(script)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    done = subprocess.run(
        [sys.executable, "tour.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-4000:]
    assert "24 steps of 10 episodes add up" in done.stdout
    written = {path.name for path in (tmp_path / "tour").iterdir()}
    assert written == {"export", "training.csv", "training.png"}


def test_every_cell_is_explained_or_code():
    cells = TOUR.read_text().split("# %%")
    assert all(cell.strip() for cell in cells[1:])
    assert sum(cell.startswith(" [markdown]") for cell in cells) >= 7
