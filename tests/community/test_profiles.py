"""Profiles: shapes, units, bounds, and what they depend on; tariffs."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market import Scenario
from market.community.synthetic import (
    CONSUMERS,
    DERProfileHandler,
    DSOProfileHandler,
    business,
    home,
    synthetic_profiles,
)
from market.constants import MAX_PRICE
from market.simulation.dynamics import initial

CAPACITY = np.random.default_rng(0).uniform(50, 150, 300)
HOURS = np.arange(24) + 0.5
NIGHT = (HOURS < 6) | (HOURS > 18)
seeds = st.integers(0, 2**32)


# Households


@given(seeds, st.integers(1, 60), st.sampled_from([0.25, 0.5, 1.0, 5 / 60, 0.7, 2.0, 24.0]))
def test_any_horizon_and_step_stays_within_the_capacity(seed, steps, step_hours):
    generation, demand = synthetic_profiles(CAPACITY[:20], steps, seed, step_hours)
    assert generation.shape == demand.shape == (20, steps)
    assert generation.dtype == demand.dtype == np.float64
    limit = CAPACITY[:20, None] * step_hours
    assert (generation >= 0).all()
    assert (generation <= limit).all()
    assert (demand > 0).all()
    assert (demand <= 1.1 * limit).all()


@given(seeds)
def test_the_sun_sets_and_the_household_does_not_sleep_through_the_evening(seed):
    generation, demand = synthetic_profiles(CAPACITY, 24, seed)
    assert (generation[:, NIGHT] == 0).all()
    assert generation.sum(0).argmax() in (11, 12)
    daily = demand.sum(0)
    assert daily[7] > daily[3]  # morning peak over base load
    assert daily[7] > daily[10]
    assert daily.argmax() in (18, 19)
    assert demand.mean() == pytest.approx(0.3 * CAPACITY.mean(), rel=0.1)


@given(seeds)
def test_there_are_sellers_at_noon_and_none_in_the_evening(seed):
    generation, demand = synthetic_profiles(CAPACITY, 24, seed)
    surplus = generation > demand
    assert 0.2 < surplus[:, 12].mean() < 0.8
    assert not surplus[:, 20].any()
    owners = generation.any(axis=1)
    assert owners.mean() == pytest.approx(1 - CONSUMERS, abs=0.01)
    peak = generation[owners].max(1) / CAPACITY[owners]
    assert 0.3 < peak.min() < 0.6 < peak.max() <= 1


@given(seeds)
def test_small_populations_have_their_share_of_owners(seed):
    owners = synthetic_profiles(CAPACITY, 24, seed)[0].any(axis=1)
    assert owners[0]
    counts = np.cumsum(owners)
    assert (np.abs(counts - (1 - CONSUMERS) * np.arange(1, 301)) < 4).all()


@given(seeds, st.integers(1, 30), st.integers(1, 50), st.sampled_from([0.25, 1.0]))
def test_a_household_depends_on_the_seed_and_its_number_alone(seed, agents, steps, step_hours):
    all_of_them = synthetic_profiles(CAPACITY[:30], 50, seed, step_hours)
    some = synthetic_profiles(CAPACITY[:agents], steps, seed, step_hours)
    for many, few in zip(all_of_them, some, strict=True):
        assert np.array_equal(many[:agents, :steps], few)


@given(seeds)
def test_handler_hands_out_the_same_households_whatever_was_asked_before(seed):
    handler = DERProfileHandler(seed)
    generation, demand = synthetic_profiles(CAPACITY[:4], 48, seed)
    for k, steps in enumerate((48, 3, 96, 48)):
        own_generation, own_demand = handler.get_energy_profiles(steps, CAPACITY[k])
        assert own_generation.shape == own_demand.shape == (steps,)
        common = min(steps, 48)
        assert np.array_equal(own_generation[:common], generation[k, :common])
        assert np.array_equal(own_demand[:common], demand[k, :common])
    assert handler.household == 4


def test_quarter_hours_add_up_to_hours():
    quarters, hours = (synthetic_profiles(CAPACITY, steps, 7, h) for steps, h in ((192, 0.25), (48, 1.0)))
    for fine, coarse in zip(quarters, hours, strict=True):
        assert fine.reshape(300, 48, 4).sum(2) == pytest.approx(coarse, rel=1e-12)


def test_energy_is_proportional_to_capacity():
    once, twice = synthetic_profiles(CAPACITY, 24), synthetic_profiles(2 * CAPACITY, 24)
    assert np.array_equal(2 * np.array(once), np.array(twice))
    assert not np.array(synthetic_profiles([0.0], 24)).any()


def test_seeds_days_and_households_differ():
    generation, demand = synthetic_profiles(CAPACITY, 48)
    other_generation, other_demand = synthetic_profiles(CAPACITY, 48, seed=43)
    assert (demand != other_demand).all()
    assert (generation != other_generation).any()
    assert (demand[:, :24] != demand[:, 24:]).all()
    assert len(np.unique(demand[:, 12] / CAPACITY)) == 300
    assert np.array_equal(generation, synthetic_profiles(CAPACITY, 48)[0])


@pytest.mark.parametrize("course", [home, business])
def test_courses_have_mean_one(course):
    assert course(np.arange(2400) / 100).mean() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: synthetic_profiles([1.0, np.nan], 24), "capacity: got nan at 1; allowed"),
        (lambda: synthetic_profiles([-1.0], 24), r"capacity: got -1\.0 at 0; allowed"),
        (lambda: synthetic_profiles([[1.0]], 24), r"capacity: got shape \[1, 1\]; allowed: \[agents\]"),
        (lambda: synthetic_profiles([1.0], 0), "steps: got 0; allowed: a whole number >= 1"),
        (lambda: synthetic_profiles([1.0], 24, step_hours=0), "step_hours: got 0; allowed"),
        (lambda: synthetic_profiles([1.0], 24, seed=-1), "seed: got -1; allowed"),
        (lambda: DERProfileHandler(1.5), r"seed: got 1\.5; allowed"),
        (lambda: DERProfileHandler().get_energy_profiles(24, -2), "capacity: got -2; allowed"),
        (lambda: DERProfileHandler().get_energy_profiles(2.5, 1), r"steps: got 2\.5; allowed"),
    ],
)
def test_bad_input_of_households_is_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)


# Tariffs


@given(
    seeds,
    st.floats(0, 1000),
    st.floats(0.01, 1000),
    st.lists(st.integers(0, 2**40), min_size=1, max_size=5),
    st.sampled_from([0.25, 1.0]),
)
def test_tariffs_stay_within_the_bounds_and_apart(seed, low, span, episodes, step_hours):
    high = low + span + 1e-9
    tariff, price = DSOProfileHandler(low, high).get_price_profiles(30, seed, episodes, step_hours)
    assert tariff.shape == price.shape == (len(episodes), 30)
    assert (low <= tariff).all()
    assert (tariff < price).all()
    assert (price <= high).all()
    assert (price - tariff >= 0.15 * span).all()  # well below: there is room to trade


@given(seeds, st.lists(st.integers(0, 2**40), min_size=1, max_size=4))
def test_a_batch_of_episodes_is_its_episodes_one_by_one(seed, episodes):
    handler = DSOProfileHandler(40, 240)
    batch = handler.get_price_profiles(24, seed, np.array(episodes))
    for e, episode in enumerate(episodes):
        for together, alone in zip(batch, handler.get_price_profiles(24, seed, episode), strict=True):
            assert alone.shape == (1, 24)
            assert np.array_equal(together[e], alone[0])


def test_the_price_follows_the_time_of_use():
    handler = DSOProfileHandler(40, 240)
    _, price = handler.get_price_profiles(24, 42, np.arange(50))
    night, day, evening = price[:, 2], price[:, 12], price[:, 18]
    assert (night < day).all()
    assert (day < evening).all()
    assert (price[:, 23] == night).all()
    _, fine = handler.get_price_profiles(2 * 96, 42, np.arange(50), 0.25)
    assert np.array_equal(fine[:, :96:4], price)
    assert np.array_equal(fine[:, 96:], fine[:, :96])


def test_episodes_and_seeds_have_their_own_levels():
    handler = DSOProfileHandler(40, 240)
    tariff, price = handler.get_price_profiles(24, 42, np.arange(50))
    assert len(np.unique(tariff[:, 0])) == len(np.unique(price[:, 0])) == 50
    assert (handler.get_price_profiles(24, 43, np.arange(50))[1] != price).all()
    assert np.array_equal(handler.get_price_profiles(24)[0], tariff[:1])  # seed 42, episode 0


def test_measured_tariffs_serve_every_episode(tmp_path):
    path = tmp_path / "price.csv"
    path.write_text("utility\n100\n120\n110\n")
    handler = DSOProfileHandler(40, 240, feed_in_tariff=60, utility_price=path)
    path.unlink()  # read once
    for copy in (handler, pickle.loads(pickle.dumps(handler))):
        tariff, price = copy.get_price_profiles(3, 42, [5, 6])
        assert tariff.tolist() == [[60, 60, 60]] * 2
        assert price.tolist() == [[100, 120, 110]] * 2
        price[:] = 0
    assert handler.get_price_profiles(3)[1].tolist() == [[100, 120, 110]]
    with pytest.raises(ValueError, match=r"utility_price: got shape \[3\]; allowed: a number or \[24\]"):
        handler.get_price_profiles(24)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((240, 40), r"min_price: got 240\.0; allowed: below max_price = 40\.0"),
        ((40, 40), r"min_price: got 40\.0; allowed: below"),
        ((-1, 40), "min_price: got -1; allowed"),
        ((40, np.nan), "max_price: got nan; allowed"),
        ((0, 2 * MAX_PRICE), "max_price: got .*; allowed"),
        ((40, 240, [50, 60]), "utility_price: got None; allowed: a profile, as the other price has one"),
        ((40, 240, None, [50, 60]), "feed_in_tariff: got None; allowed"),
        ((40, 240, [50, 60], [100, 300]), r"utility_price: got 300\.0 at 1; allowed: 40 to 240 \$/MWh"),
        ((40, 240, [30, 60], [100, 200]), r"feed_in_tariff: got 30\.0 at 0; allowed: 40 to 240 \$/MWh"),
        ((40, 240, [50, 60], [100, 60]), "feed_in_tariff: got 60.0 at 1; allowed: below utility_price at every step"),
        ((40, 240, [50, np.nan], [100, 200]), "feed_in_tariff: got nan at 1;"),
        ((40, 240, [50, 60], [100, 100, 100]), r"utility_price: got shape \[3\]; allowed: \[2\]"),
        (
            (40, 240, [[50, 60]], [100, 100]),
            r"feed_in_tariff: got shape \[1, 2\]; allowed: a number or \[steps\]",
        ),
        ((40, 240, "none.csv", [100, 100]), r"feed_in_tariff: got 'none\.csv'; allowed: a CSV file"),
    ],
)
def test_bad_tariffs_are_refused_in_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        DSOProfileHandler(*arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("odd", [np.nan, np.inf, -1, 0.5, [0.5], True, None, np.timedelta64(1), [np.nan], [1j], [[1]]])
def test_seeds_and_episodes_are_whole_numbers(odd):
    for field in ("seed", "episode"):
        with pytest.raises(ValueError, match=rf"^{field}: got [^\n]*; allowed: [^\n]*$"):
            DSOProfileHandler(40, 240).get_price_profiles(4, **{field: odd})
    with pytest.raises(ValueError, match=r"^episode: got [^\n]*; allowed: [^\n]*$"):
        initial(Scenario.study(1, max_steps=2, days=1).params, odd)


def test_bad_horizons_of_tariffs_are_refused():
    with pytest.raises(ValueError, match="steps: got 0"):
        DSOProfileHandler(40, 240).get_price_profiles(0)
    with pytest.raises(ValueError, match="step_hours: got -1"):
        DSOProfileHandler(40, 240).get_price_profiles(24, step_hours=-1)
