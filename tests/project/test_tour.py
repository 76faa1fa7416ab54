"""The pages in cells run from their first cell to their last, and leave what they say."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from script_support import run_script

ROOT = Path(__file__).parents[2]
TOUR = ROOT / "benches" / "docs" / "tour.py"
OWN_DATA = TOUR.with_name("own_data.py")
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


def smaller(path, **values):
    """The page with other settings, "NAME = value" at the start of a line each."""
    script = path.read_text()
    for name, value in values.items():
        script, found = re.subn(rf"^{name} = .*$", f"{name} = {value!r}", script, flags=re.MULTILINE)
        assert found == 1
    return script


def meters(folder, *, utc, unit):
    """Three households over the end of summer time: a gap that is filled, one that is not, a first day that is cut."""
    times = pd.date_range("2026-10-22 06:00", "2026-10-27 23:45", freq="15min", tz="Europe/Berlin")
    energy = np.random.default_rng(0).uniform(0.1, 0.5, (2, len(times), 3))
    energy[:, 100:103] = energy[:, 380:400] = np.nan
    for name, values in zip(("demand", "generation"), energy, strict=True):
        shown = times.tz_convert("UTC") if utc else times.tz_localize(None)
        readings = pd.DataFrame(values * (1 if unit == "kWh" else 4), columns=["a", "b", "c"])
        readings.insert(0, "time", shown)
        readings.to_csv(folder / f"{name}.csv", index=False)
    prices = {"hour": range(24), "feed_in_tariff": 80.0, "utility_price": [220.0] * 6 + [300.0] * 18}
    pd.DataFrame(prices).to_csv(folder / "tariffs.csv", index=False)


@pytest.mark.slow  # loads torch and ray, and trains; CI runs it
@pytest.mark.parametrize(("utc", "unit"), [(True, "kW"), (False, "kWh")])
def test_own_data_ends_in_a_trained_policy(tmp_path, utc, unit):
    meters(tmp_path, utc=utc, unit=unit)
    output = run_script(smaller(OWN_DATA, UNIT=unit, HELD_OUT=1, ITERATIONS=1, episodes=2), tmp_path)
    # of 22 to 27 October the first is cut, one holds the long gap, the 25th has 25 hours
    assert "3 whole days of 3 households, 87.8 kWh a day" in output
    assert {"own_data.png", "policy"} <= {path.name for path in tmp_path.iterdir()}
    assert "trained" in output


@pytest.mark.slow
def test_own_data_makes_files_to_start_from(tmp_path):
    output = run_script(smaller(OWN_DATA, ITERATIONS=1, episodes=2), tmp_path)
    assert "8 whole days of 4 households" in output


@pytest.mark.parametrize("page", [TOUR, OWN_DATA])
def test_every_cell_is_explained_or_code(page):
    cells = page.read_text().split("# %%")
    assert all(cell.strip() for cell in cells[1:])
    assert sum(cell.startswith(" [markdown]") for cell in cells) >= 6
