"""The tour `benches/docs/tour.py` runs from its first cell to its last, and leaves what it says."""

from __future__ import annotations

from pathlib import Path

import pytest

from script_support import run_script

ROOT = Path(__file__).parents[2]
TOUR = ROOT / "benches" / "docs" / "tour.py"
SMALL = {"POPULATIONS = (1, 5, 10)": "POPULATIONS = (1, 2)", "ITERATIONS = 3": "ITERATIONS = 1"}


@pytest.mark.slow  # loads torch and ray, and trains; CI runs it
def test_the_tour_runs(tmp_path):
    script = TOUR.read_text()
    for value, small in SMALL.items():
        assert value in script
        script = script.replace(value, small)
    assert "24 steps of 10 episodes add up" in run_script(script, tmp_path)
    written = {path.name for path in (tmp_path / "tour").iterdir()}
    assert written == {"export", "training.csv", "training.png"}


def test_every_cell_is_explained_or_code():
    cells = TOUR.read_text().split("# %%")
    assert all(cell.strip() for cell in cells[1:])
    assert sum(cell.startswith(" [markdown]") for cell in cells) >= 7
