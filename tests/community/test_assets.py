"""Batteries and agents: the fleet against the slow twin, within bounds, and never a source of energy."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracle
from market import Battery, DERAgent
from market.community.agents import Fleet, charge_discharge
from strategies import batteries

RESIDUALS = st.one_of(st.floats(-50, 50), st.sampled_from([0.0, 1e-12, -1e-12, 1e9, -1e9]))


def fleet_of(rows) -> tuple[Fleet, np.ndarray]:
    """Batteries as (stored, low, high, eta_c, eta_d, power) to a fleet of hourly steps and its energy [1, N]."""
    stored, low, high, eta_c, eta_d, power = np.array(rows, float).T
    return Fleet(low, high, stored, eta_c, eta_d, power), stored[None]


CASES = st.lists(st.tuples(batteries(), RESIDUALS), min_size=1, max_size=5)


@given(CASES)
def test_the_fleet_steps_as_the_twin_does(cases):
    fleet, energy = fleet_of([battery for battery, _ in cases])
    step = charge_discharge(np.array([[residual for _, residual in cases]]), energy, fleet)
    twin = np.array([oracle.charge_discharge(residual, *battery) for battery, residual in cases])
    np.testing.assert_allclose(step.energy[0], twin[:, 0], rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(step.charged[0], twin[:, 1], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(step.discharged[0], twin[:, 2], rtol=1e-9, atol=1e-12)


@given(CASES)
def test_stored_energy_stays_within_bounds_and_none_is_created(cases):
    fleet, energy = fleet_of([battery for battery, _ in cases])
    residual = np.array([[residual for _, residual in cases]])
    step = charge_discharge(residual, energy, fleet)
    assert (step.energy >= fleet.low).all()
    assert (step.energy <= fleet.high).all()
    assert (step.charged >= 0).all()
    assert (step.discharged >= 0).all()
    assert not (step.charged * step.discharged).any()
    assert (step.charged <= np.maximum(residual, 0)).all()
    assert (step.discharged <= np.maximum(-residual, 0)).all()
    assert (np.maximum(step.charged, step.discharged) <= fleet.step_limit).all()
    change = step.charged * fleet.charge_efficiency - step.discharged / fleet.discharge_efficiency
    np.testing.assert_allclose(step.energy - energy, change, rtol=1e-9, atol=1e-9)


@given(CASES, st.lists(st.floats(-30, 30), min_size=1, max_size=20))
def test_a_battery_gives_no_more_than_it_was_given(cases, course):
    fleet, energy = fleet_of([battery for battery, _ in cases])
    start, drawn, delivered = energy, 0.0, 0.0
    for residual in course:
        step = charge_discharge(np.full(energy.shape, residual), energy, fleet)
        energy, drawn, delivered = step.energy, drawn + step.charged, delivered + step.discharged
    assert (delivered <= drawn + (start - energy) + 1e-9).all()


@given(CASES)
def test_what_does_not_fit_is_left_and_nothing_is_refused(cases):
    fleet, energy = fleet_of([battery for battery, _ in cases])
    filled = charge_discharge(np.full(energy.shape, 1e9), energy, fleet)
    emptied = charge_discharge(np.full(energy.shape, -1e9), energy, fleet)
    full, empty = filled.charged[0] < fleet.step_limit, emptied.discharged[0] < fleet.step_limit
    np.testing.assert_allclose(filled.energy[0][full], fleet.high[full], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(emptied.energy[0][empty], fleet.low[empty], rtol=1e-12, atol=1e-12)
    np.testing.assert_array_equal(filled.charged, fleet.acceptable(energy))
    np.testing.assert_array_equal(emptied.discharged, fleet.deliverable(energy))


def test_charging_and_delivering_by_hand():
    fleet = Fleet.of([Battery(10.0, charge_efficiency=0.8, discharge_efficiency=0.5), None], 1.0)
    assert fleet.initial.tolist() == [5.0, 0.0]
    up = charge_discharge(np.array([[2.0, 2.0]]), fleet.initial[None], fleet)
    assert up.energy.tolist() == [[6.6, 0.0]]
    assert up.charged.tolist() == [[2.0, 0.0]]
    down = charge_discharge(np.array([[-3.0, -3.0]]), fleet.initial[None], fleet)
    assert down.discharged.tolist() == [[2.0, 0.0]]  # 4 kWh above the lowest state of charge, half of it arrives
    assert down.energy.tolist() == [[1.0, 0.0]]


def test_power_is_at_the_terminals_and_counts_by_the_step():
    batteries = [Battery(10.0, 0.0, 1.0, 0.8, 0.5, 0.5, power=4.0), Battery(10.0, 0.0, 1.0, 0.8, 0.5, 0.5), None]
    fleet = Fleet.of(batteries, 0.25)
    assert fleet.step_limit.tolist() == [1.0, math.inf, math.inf]
    assert fleet.acceptable(fleet.initial).tolist() == [1.0, 6.25, 0.0]
    assert fleet.deliverable(fleet.initial).tolist() == [1.0, 2.5, 0.0]
    up = charge_discharge(np.full((1, 3), 3.0), fleet.initial[None], fleet)
    assert up.charged.tolist() == [[1.0, 3.0, 0.0]]
    assert up.energy.tolist() == [[5.8, 7.4, 0.0]]
    down = charge_discharge(np.full((1, 3), -3.0), fleet.initial[None], fleet)
    assert down.discharged.tolist() == [[1.0, 2.5, 0.0]]
    assert down.energy.tolist() == [[3.0, 0.0, 0.0]]
    assert Fleet.of(batteries, 1.0).deliverable(fleet.initial).tolist() == [2.5, 2.5, 0.0], (
        "less than its power is left"
    )


@given(CASES, st.floats(-50, 50))
def test_no_limit_is_the_same_as_one_that_never_binds(cases, residual):
    fleet, energy = fleet_of([battery for battery, _ in cases])
    endless, wide = (replace(fleet, step_limit=np.full(len(cases), most)) for most in (np.inf, 1e9))
    one, two = (charge_discharge(np.full(energy.shape, residual), energy, each) for each in (endless, wide))
    for name in vars(one):
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name))
    np.testing.assert_array_equal(
        one.charged, np.clip(residual, 0, np.maximum(fleet.high - energy, 0) / fleet.charge_efficiency)
    )


PROFILE = [1.0, 2.0]


@pytest.mark.parametrize(
    ("change", "field", "value", "allowed"),
    [
        ({"nominal_capacity": math.nan}, "nominal_capacity", "nan", "0 to"),
        ({"discharge_efficiency": 1.01}, "discharge_efficiency", "1.01", "to 1"),
        ({"generation_profile": [1.0, math.nan]}, "generation_profile", "nan", ">= 0"),
        ({"demand_profile": [1.0, -2.0]}, "demand_profile", "-2.0", ">= 0"),
        ({"demand_profile": [1.0, 2.0, 3.0]}, "demand_profile", "3 steps", "2"),
        ({"generation_profile": []}, "generation_profile", "[0]", "at least one"),
        ({"demand_profile": "high"}, "demand_profile", "high", "kWh"),
        ({"node": -1}, "node", "-1", ">= 0"),
        ({"node": True}, "node", "True", "whole number"),
        ({"node": np.timedelta64(1)}, "node", "timedelta64", "whole number"),
        ({"id": 3}, "id", "3", "str"),
        ({"capacity": np.array([5.0])}, "capacity", "array([5.])", "kW"),
        ({"capacity": 10**5000}, "capacity", "some int", "kW"),
        ({"demand_profile": np.array([1 + 1j, 2])}, "demand_profile", "1.+1.j", "finite kWh"),
        ({"power": math.nan}, "power", "nan", "None"),
        ({"power": -1.0}, "power", "-1.0", "0 to"),
        ({"battery": 3.0}, "battery", "3.0", "Battery"),
    ],
)
def test_bad_descriptions_are_refused(change, field, value, allowed):
    agent = {"id": "a", "capacity": 5.0, "battery": None, "generation_profile": PROFILE, "demand_profile": PROFILE}
    is_agent = change.keys() <= agent.keys() | {"node"}
    kind, settings = (DERAgent, agent) if is_agent else (Battery, {"nominal_capacity": 10.0})
    with pytest.raises(ValueError, match=field) as error:
        kind(**(settings | change))
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(f"{field}: got ")
    assert value in message.split("; allowed: ", maxsplit=1)[0]
    assert allowed in message.split("; allowed: ")[1]
