"""Days that differ: every episode draws one, training and evaluation from disjoint ones; the first is as ever."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market import DERAgent, Scenario
from market.community.agents import Params
from market.community.bank import PROFILES
from market.community.tables import load_community, save_community
from market.envs import MarketVectorEnv
from market.evaluation.optimum import alone_cost, cooperative_optimum, net_generation
from market.records.export import replay
from market.simulation.dynamics import initial, step
from market_support import at_random

MANY = np.arange(200)


def banks(params: Params) -> np.ndarray:
    """Generation and demand, [2, D, T, N]."""
    return np.stack((params.generation, params.demand))


# --- where days come from


@pytest.mark.parametrize("profiles", PROFILES)
def test_days_are_a_long_horizon_cut_at_midnight(profiles):
    params = Scenario.study(7, profiles=profiles, days=4).params
    day, days = (np.stack(PROFILES[profiles](params.capacity, steps)) for steps in (24, 96))
    assert banks(params).shape == (2, 4, 24, 7)
    assert params.generation.flags.c_contiguous
    np.testing.assert_array_equal(banks(params)[:, 0], day.swapaxes(1, 2))
    expected = days.reshape(2, 7, 4, 24).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(banks(params), expected, rtol=1e-12, atol=1e-12)
    assert (banks(params)[:, 0] != banks(params)[:, 1]).any(axis=(1, 2)).all()


@pytest.mark.parametrize(("steps", "hours"), [(6, 1.0), (30, 1.0), (5, 0.7)])
def test_days_of_any_length_begin_at_midnight(steps, hours):
    whole = 24 * -(-steps * hours // 24)
    series = np.arange(400, dtype=float)
    params = Scenario.study(1, max_steps=steps, step_hours=hours, days=3).params
    assert params.generation.shape == (3, steps, 1)
    own = Scenario.study(1, max_steps=steps, step_hours=hours, days=3, demand=series[: round(whole / hours) * 4])
    begins = own.params.demand[:, 0, 0]
    np.testing.assert_allclose(begins * hours, whole * np.arange(3), atol=hours / 2)


def test_the_study_holds_out_a_fifth_of_thirty_days():
    scenario = Scenario.study(2)
    assert (scenario.num_days, scenario.held_out_days) == (30, 6)
    assert scenario.days.tolist() == list(range(24))
    assert scenario.unseen.days.tolist() == list(range(24, 30))
    assert Scenario.study(2, days=4).unseen.num_days == 4


def test_own_series_of_one_day_or_several():
    day, week = np.arange(24.0), np.arange(7 * 24.0)
    params = Scenario.study(2, generation=day).params
    assert (params.generation == day[:, None]).all()
    assert params.num_days == 30
    assert Scenario.study(2, generation=day, demand=2.0).num_days == 1
    params = Scenario.study(2, generation=day, demand=[week, 2 * week]).params
    np.testing.assert_array_equal(params.demand[..., 1], 2 * week.reshape(7, 24))
    assert params.num_days == 7
    assert Scenario.study(2, demand=week, days=3).num_days == 3


# --- which day an episode plays


@given(st.integers(0, 2**40), st.integers(1, 9), st.data())
def test_training_never_draws_a_held_out_day_and_evaluation_only_those(seed, days, data):
    held = data.draw(st.integers(0, days - 1))
    agent = DERAgent("a", 1.0, None, np.ones((days, 1)), np.ones((days, 1)))
    scenario = Scenario([agent], max_steps=1, seed=seed, held_out_days=held)
    trained, evaluated = (initial(each.params, MANY).day for each in (scenario, scenario.unseen))
    assert set(trained) <= set(range(days - held))
    if held:
        assert set(evaluated) <= set(range(days - held, days))
    else:
        assert scenario.unseen is scenario
    again = initial(scenario.params, MANY[::-1]).day
    np.testing.assert_array_equal(trained, again[::-1])  # whatever else is in the batch


def test_every_day_is_drawn_about_equally_often():
    for scenario in (Scenario.study(1), Scenario.study(1).unseen):
        day = initial(scenario.params, np.arange(30_000)).day
        counts = np.bincount(day)[scenario.days]
        assert counts.sum() == len(day)
        np.testing.assert_allclose(counts / counts.mean(), 1.0, atol=0.15)


def test_without_redrawing_all_play_the_first_day():
    scenario = Scenario.study(2, enable_reset_der_profiles=False)
    assert scenario.num_days == 1
    assert scenario.unseen is scenario
    several = replace(Scenario.study(2, days=5), enable_reset_der_profiles=False)
    assert not initial(several.params, MANY).day.any()
    assert (initial(several.unseen.params, MANY).day == 4).all()


def test_a_step_plays_the_day_of_each_episode():
    params = Scenario.study(3).params
    state, idle = initial(params, MANY), np.zeros((len(MANY), 3, 4))
    assert len(set(state.day)) == 24
    for t in range(3):
        state, _, record = step(params, state, idle)
        np.testing.assert_array_equal(record.generation, params.generation[state.day, t])
        np.testing.assert_array_equal(record.demand, params.demand[state.day, t])


def test_a_day_among_many_is_that_day_alone():
    """Its bill without a market and at best; only the unit of rewards is that of all days."""
    params = Scenario.study(3).params
    start = initial(params, MANY[:6])
    for e, day in enumerate(start.day):
        bank = {"generation": params.generation[[day]], "demand": params.demand[[day]], "days": np.arange(1)}
        single = replace(params, **bank)
        alone = initial(single, MANY[e : e + 1])
        assert not alone.day.any()
        assert alone_cost(params, start)[e] == pytest.approx(alone_cost(single, alone)[0])
        assert cooperative_optimum(params, start, e).cost == pytest.approx(cooperative_optimum(single, alone).cost)
        np.testing.assert_array_equal(net_generation(params, start)[e], net_generation(single, alone)[0])


def test_held_out_days_have_the_units_and_the_arrays_of_the_others():
    scenario = Scenario.study(3)
    seen = scenario.params
    scale, unseen = seen.reward_scale, scenario.unseen.params
    assert unseen.generation is seen.generation
    assert unseen.grid is seen.grid
    assert unseen.alone is seen.alone
    assert scenario.unseen.unseen.held_out
    exchange = seen.alone.imported + seen.alone.exported
    np.testing.assert_allclose(scale, exchange.mean((0, 1)) * 0.24, rtol=1e-12)
    elsewhere = pickle.loads(pickle.dumps(scenario.unseen)).params
    np.testing.assert_array_equal(elsewhere.days, unseen.days)
    np.testing.assert_array_equal(elsewhere.reward_scale, scale)


BAD = {
    "all held out": (lambda: Scenario.study(1, days=3, held_out_days=3), "held_out_days: got 3; allowed: 0 to 2"),
    "negative": (lambda: Scenario.study(1, held_out_days=-1), "held_out_days: got -1; allowed: "),
    "none held out": (lambda: Scenario.study(1, days=1, held_out=True), "held_out: got True without held_out_days"),
    "no truth": (lambda: Scenario.study(1, enable_reset_der_profiles=1), "enable_reset_der_profiles: got 1; allowed: "),
    "no days": (lambda: Scenario.study(1, days=0), "days: got 0; allowed: "),
    "too many": (lambda: Scenario.study(1, demand=np.ones(72), days=4), "days: got 4; allowed: 1 to 3, .* in demand"),
    "half a day": (
        lambda: Scenario.study(1, demand=np.ones(36)),
        r"demand: got shape \[36\]; allowed: a number or \[24\] or \[1, 24\]",
    ),
    "other days": (
        lambda: Scenario([DERAgent(str(d), 1.0, None, np.ones((d, 24)), np.ones((d, 24))) for d in (2, 3)]),
        "generation_profile: got 3 days of 24 steps for agent '3'; allowed: 2 days, as for agent '2'",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_days_that_cannot_be(name):
    build, message = BAD[name]
    with pytest.raises(ValueError, match=rf"\A{message}[^\n]*\Z"):
        build()


# --- days in tables


@pytest.mark.parametrize("options", [{}, {"max_steps": 6}, {"max_steps": 5, "step_hours": 0.7}])
def test_days_survive_a_folder_of_tables(tmp_path, options):
    scenario = Scenario.study(3, days=4, **options)
    save_community(scenario, tmp_path)
    loaded = load_community(tmp_path, held_out_days=1)
    np.testing.assert_array_equal(banks(loaded.params), banks(scenario.params))
    assert loaded.unseen.days.tolist() == [3]


def test_long_tables_are_cut_into_days(tmp_path):
    scenario = Scenario.study(3, max_steps=24 * 5 + 7, days=1)
    save_community(scenario, tmp_path)
    loaded = load_community(tmp_path, max_steps=24).params
    np.testing.assert_array_equal(banks(loaded), banks(scenario.params)[:, :, :-7].reshape(2, 5, 24, 3))
    fine = load_community(tmp_path, max_steps=96, step_hours=0.25).params
    np.testing.assert_allclose(fine.demand.sum(1), loaded.demand.sum(1))
    (tmp_path / "steps.csv").write_text("hours,days\n1,2\n")
    with pytest.raises(ValueError, match="steps, 'days': got 2; allowed: a divisor of the 127 rows of demand"):
        load_community(tmp_path)


def test_an_export_says_which_day_was_played(tmp_path):
    import pandas as pd

    env = at_random(MarketVectorEnv(Scenario.study(2, max_steps=2).unseen, 5), steps=2, seed=3)
    env.export(tmp_path)
    written = pd.read_parquet(tmp_path / "communities.parquet")
    assert written["day"].tolist() == [*env.start.day, *env.start.day]
    verified, bank = replay(tmp_path), load_community(tmp_path).params
    for t in range(2):
        np.testing.assert_array_equal(verified.history.generation[t], bank.generation[env.start.day, t])
