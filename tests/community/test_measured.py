"""Measured profiles: the shapes of BDEW and of the sun, the size of the synthetic households, any horizon and step."""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd
import pytest

from benches.cases import CASES
from benches.workloads.training import population
from market import Scenario
from market.community.measured import BERLIN, Place, measured_profiles
from market.community.synthetic import BUSINESSES, Traits, synthetic_profiles

CAPACITY = np.linspace(50.0, 150.0, 40)
YEAR = Place(start="2025-01-01")


@pytest.fixture(scope="module")
def day():
    return measured_profiles(CAPACITY, 24)


@pytest.fixture(scope="module")
def year():
    return measured_profiles(CAPACITY, 8760, place=YEAR)


def test_power_is_within_what_is_installed(day, year):
    for generation, demand in (day, year):
        assert (generation >= 0).all()
        assert (demand > 0).all()
        assert (generation <= CAPACITY[:, None]).all()
        assert np.isfinite(demand).all()


def test_households_keep_their_yearly_consumption(year):
    traits = Traits.of(np.arange(40), 42, 8760)
    expected = traits.level[:, 0] * CAPACITY * 8760
    np.testing.assert_allclose(year[1].sum(1), expected, rtol=0.03)  # habits are drawn; weekends move with the year


def test_pv_yields_what_it_yields_in_germany(year):
    installed = Traits.of(np.arange(40), 42, 8760).size[:, 0] * CAPACITY
    owners = installed > 0
    yields = year[0][owners].sum(1) / installed[owners]
    assert (yields > 900).all()
    assert (yields < 1700).all()
    assert not year[0][~owners].any()


def test_it_is_dark_at_night_and_summer_days_are_longer(year):
    hours = pd.date_range("2025-01-01", periods=8760, freq="h", tz="Europe/Berlin")
    generation = year[0].sum(0)
    assert not generation[(hours.hour < 3) | (hours.hour > 22)].any()
    lit = pd.Series(generation > 0, hours).groupby(hours.month).mean() * 24
    assert lit[6] > 15.5 > 9.5 > lit[12]


def test_demand_has_the_shape_of_the_standard_load_profile():
    """The mean of many homes is the profile, moved by up to an hour each: compared by the hours of the day."""
    from demandlib.bdew import H25

    rated = np.full(2000, 100.0)
    _, demand = measured_profiles(rated, 24)
    traits = Traits.of(np.arange(2000), 42, 24)
    homes = ~traits.is_business[:, 0]
    assert homes.mean() == pytest.approx(1 - BUSINESSES, abs=0.03)
    mean = (demand[homes] / traits.level[homes]).mean(0)
    with pytest.warns(DeprecationWarning, match="inplace"):  # demandlib's own
        profile = H25(pd.date_range(BERLIN.start, periods=96, freq="15min", tz=BERLIN.timezone))
    expected = profile.to_numpy().reshape(24, 4).mean(1)
    mean, expected = mean / mean.mean(), expected / expected.mean()
    assert np.corrcoef(mean, expected)[0, 1] > 0.99
    np.testing.assert_allclose(mean, expected, atol=0.08)


@pytest.mark.parametrize("step_hours", [0.25, 0.5, 2.0])
def test_other_steps_add_up(day, step_hours):
    steps = round(24 / step_hours)
    parts = max(steps // 24, 1)
    for hourly, other in zip(day, measured_profiles(CAPACITY, steps, step_hours=step_hours), strict=True):
        wide = hourly.reshape(40, -1, round(max(step_hours, 1))).sum(2)
        np.testing.assert_allclose(other.reshape(40, -1, parts).sum(2), wide, rtol=1e-12, atol=1e-12)


def test_a_longer_horizon_begins_with_the_shorter_one(day):
    for short, long in zip(day, measured_profiles(CAPACITY, 72), strict=True):
        np.testing.assert_allclose(long[:, :24], short, rtol=1e-12, atol=1e-12)


def test_weekdays_differ_and_clocks_change():
    weekend = measured_profiles(CAPACITY, 24, place=Place(start="2025-05-17"))
    assert (weekend[1] != measured_profiles(CAPACITY, 24)[1]).any()
    generation, demand = measured_profiles(CAPACITY, 72, place=Place(start="2025-03-29"))  # an hour is left out
    assert np.isfinite(generation + demand).all()


def test_a_household_is_the_same_in_every_population_and_differs_by_seed(day):
    few = measured_profiles(CAPACITY[:3], 24)
    for part, whole in zip(few, day, strict=True):
        np.testing.assert_array_equal(part, whole[:3])
    assert (measured_profiles(CAPACITY[:3], 24, seed=1)[1] != few[1]).all()


def test_panels_face_the_equator_in_the_south_too():
    south = Place(latitude=-33.9, longitude=18.4, timezone="Africa/Johannesburg", start="2025-09-22")
    assert measured_profiles(CAPACITY, 24, place=south)[0].sum() > 0.7 * measured_profiles(CAPACITY, 24)[0].sum()


def test_study_on_measured_profiles_is_as_large_as_on_synthetic_ones():
    scenario = Scenario.study(20, profiles="measured", max_steps=96, step_hours=0.25, days=1)
    made, used = synthetic_profiles(scenario.params.capacity, 96, step_hours=0.25)
    assert 0.7 < scenario.params.generation.sum() / made.sum() < 1.3
    assert 0.7 < scenario.params.demand.sum() / used.sum() < 1.3


BAD = {
    "source": (lambda: Scenario.study(2, profiles="mesured"), "profiles: got 'mesured'.*did you mean 'measured'"),
    "load": (lambda: Place(home="H26"), "home: got 'H26'; allowed: H25.*did you mean 'H25'"),
    "latitude": (lambda: Place(latitude=91), "latitude: got 91; allowed: -90 to 90 degrees"),
    "day": (lambda: Place(start=20250512), "start: got 20250512; allowed: a date"),
    "date": (lambda: measured_profiles([1.0], 2, place=Place(start="someday")), "place: got start 'someday'.*a date"),
    "zone": (lambda: measured_profiles([1.0], 2, place=Place(timezone="Europe/Berln")), "place: .*'Europe/Berln'"),
    "capacity": (lambda: measured_profiles([[1.0]], 2), r"capacity: got shape \[1, 1\]; allowed: \[agents\]"),
    "part of a zone": (lambda: measured_profiles([1.0], 2, place=Place(timezone="Europe")), "place: .*'Europe'"),
    "no zone": (lambda: Place(timezone=1), "timezone: got 1; allowed: a zone as 'Europe/Berlin'"),
    "steps": (lambda: measured_profiles([1.0], 0), "steps: got 0"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    build, message = BAD[name]
    with pytest.raises(ValueError, match=message):
        build()


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "demandlib", None)
    with pytest.raises(
        ModuleNotFoundError, match=r"^demandlib is not installed; pip install 'lem-scalability\[data\]' brings it"
    ):
        measured_profiles([100.0], 24)


# --- the study on them


def test_the_option_adds_an_axis_to_trainings_and_references_alone():
    served = {"train/iteration", "train/whole", "reference/policy", "reference/optimum"}
    assert served <= set(CASES)
    selection = {"profiles": ("measured",), "agents": (2,)}
    for name, case in CASES.items():
        points = case.points("quick", selection)
        if not points:
            continue
        expected = {"measured"} if name in served else {None}
        assert {point.params.get("profiles") for point in points} == expected, name
        plain = case.points("quick", {"agents": (2,)})
        assert not any("profiles" in point.params for point in plain), name


def test_cells_of_the_study_get_the_population_they_name():
    cell = {"agents": 3, "seed": 42}
    for name in ("synthetic", "measured"):
        expected = Scenario.study(3, profiles=name).params
        np.testing.assert_array_equal(population(cell | {"profiles": name}).params.demand, expected.demand)
    np.testing.assert_array_equal(population(cell).params.demand, Scenario.study(3).params.demand)
