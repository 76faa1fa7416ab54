"""Several days, quarter hours, and agents of every kind: the same market, whatever the steps are."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

import oracle_observation
from market import Scenario
from market.community.series import resample
from market.envs import MarketVectorEnv, check_market_env
from market.evaluation.optimum import alone_cost, cooperative_optimum, position
from market.records.audit import violations
from market.simulation.dynamics import REWARD_LIMIT, initial, observe
from market.simulation.history import Flows
from market.simulation.observation import LIMIT

FIRST = np.arange(2)
HORIZONS = {
    "quarter hours": {"max_steps": 96, "step_hours": 0.25},
    "half hours over midnight": {"max_steps": 60, "step_hours": 0.5},
    "three days": {"max_steps": 72},
    "one step": {"max_steps": 1},
    "two days in blocks of six hours": {"max_steps": 8, "step_hours": 6.0},
    "an odd step": {"max_steps": 7, "step_hours": 0.7},
    "measured quarter hours": {"max_steps": 96, "step_hours": 0.25, "profiles": "measured"},
}


def play(scenario, act=None, num_envs=2):
    """One episode of random actions, or those of `act`; the environment, its rewards [T, E, N] and observations."""
    env = MarketVectorEnv(scenario, num_envs)
    env.action_space.seed(0)
    observation, _ = env.reset(seed=0)
    observations, rewards = [observation], []
    for _ in range(scenario.max_steps):
        action = env.action_space.sample() if act is None else act
        observation, _, _, _, info = env.step(np.broadcast_to(action, env.action_space.shape))
        observations.append(observation)
        rewards.append(info["agent_rewards"])
    return env, np.stack(rewards), np.stack(observations)


@pytest.mark.parametrize("name", HORIZONS)
def test_every_horizon_keeps_the_contract(name):
    check_market_env(MarketVectorEnv(Scenario.study(3, **HORIZONS[name])))


@pytest.mark.parametrize("name", HORIZONS)
def test_kpis_and_ends_of_efficiency_on_every_horizon(name):
    env, _, _ = play(Scenario.study(4, **HORIZONS[name]))
    known = ("self_consumption", "self_sufficiency", "p2p_share", "gini_savings")
    for kpi in known:
        assert ((env.kpis()[kpi] >= 0) & (env.kpis()[kpi] <= 1)).all(), kpi
    where = position(env.params, env.start, env.history())
    assert (where[~np.isnan(where)] <= 1 + 1e-9).all()


def quartered(scenario):
    """The same community and the same power, in quarter hours."""
    steps, hours = 4 * scenario.max_steps, scenario.step_hours / 4
    agents = [
        replace(
            agent,
            generation_profile=resample(agent.generation_profile, scenario.step_hours, steps, hours),
            demand_profile=resample(agent.demand_profile, scenario.step_hours, steps, hours),
        )
        for agent in scenario.agents
    ]
    return replace(scenario, agents=tuple(agents), max_steps=steps, step_hours=hours)


@pytest.fixture(scope="module")
def twice():
    hourly = Scenario.study(5)
    return hourly.params, quartered(hourly).params


def test_the_same_power_costs_the_same_in_quarter_hours(twice):
    hourly, fine = twice
    one, four = initial(hourly, FIRST), initial(fine, FIRST)
    np.testing.assert_array_equal(np.repeat(one.utility_price, 4, axis=1), four.utility_price)
    np.testing.assert_allclose(alone_cost(hourly, one), alone_cost(fine, four), rtol=1e-9)
    best, finest = cooperative_optimum(hourly, one), cooperative_optimum(fine, four)
    assert finest.cost == pytest.approx(best.cost, rel=1e-7)
    np.testing.assert_allclose(hourly.reward_scale, 4 * fine.reward_scale, rtol=1e-9)


def test_at_full_hours_quarter_hours_look_the_same(twice):
    hourly, fine = (observe(params, initial(params, FIRST)) for params in twice)
    by_step = ("next_", "deliverable", "acceptable")  # of the next step, and what the battery holds in power
    params, state = twice[0], initial(twice[0], FIRST)
    names = (*oracle_observation.market_signals(params, state), *oracle_observation.own_signals(params, state))
    same = [i for i, name in enumerate(names) if not name.startswith(by_step)]
    np.testing.assert_allclose(hourly[..., same], fine[..., same], rtol=1e-9, atol=1e-12)


def test_without_orders_four_quarters_are_an_hour():
    nothing = np.array([0.0, -1.0, 0.0, 0.0], np.float32)
    scenario = Scenario.study(5)
    (hourly, one, _), (fine, four, _) = play(scenario, nothing), play(quartered(scenario), nothing)
    for name in ("generation", "demand", "imported", "exported", "charged", "discharged", "cost", "alone_cost"):
        sums = getattr(fine.history(), name).reshape(24, 4, 2, 5).sum(1)
        np.testing.assert_allclose(sums, getattr(hourly.history(), name), rtol=1e-9, atol=1e-9, err_msg=name)
    np.testing.assert_allclose(fine.history().energy[3::4], hourly.history().energy, rtol=1e-9)
    weight = 0.1 * hourly.history().cooperation[..., None]
    np.testing.assert_allclose(one, np.broadcast_to(weight, one.shape), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(four[..., 0], 0.1 * fine.history().cooperation, rtol=1e-9, atol=1e-9)


def test_three_days_begin_with_the_first():
    day, days = Scenario.study(5, days=1), Scenario.study(5, max_steps=72, days=1)
    (short, _, _), (long, _, _) = play(day), play(days)
    for field in fields(Flows):
        whole = getattr(long.history(), field.name)[:24]
        tolerance = 1e-12 if field.name == "saving" else 0.0  # its mean of the tariffs sums more terms
        np.testing.assert_allclose(
            whole, getattr(short.history(), field.name), rtol=tolerance, atol=tolerance, err_msg=field.name
        )


def test_a_second_day_is_no_copy_of_the_first():
    params = Scenario.study(5, max_steps=48, days=1).params
    assert (params.generation[:, :24] != params.generation[:, 24:]).any()
    angle = [observe(params, replace(initial(params, FIRST), step=t))[0, 0, :2] for t in (5, 29)]
    np.testing.assert_allclose(*angle, atol=1e-12)


# --- agents of every kind

MIXES = {
    "consumers only": ("consumer",),
    "producers only": ("producer",),
    "storage only": ("storage",),
    "consumers and storage": ("consumer", "storage"),
    "all": ("prosumer", "consumer", "producer", "storage"),
}


@pytest.mark.parametrize("name", MIXES)
def test_every_mix_keeps_the_contract(name):
    check_market_env(MarketVectorEnv(Scenario.study(5, kinds=MIXES[name], max_steps=6), 2))


@pytest.mark.parametrize("name", MIXES)
def test_every_mix_adds_up_and_has_bounded_signals(name):
    env, rewards, observations = play(Scenario.study(5, kinds=MIXES[name]))
    assert not violations(env.history(), env.params.fleet)
    assert np.isfinite(observations).all()
    assert (np.abs(observations) <= LIMIT).all()
    assert (np.abs(rewards) <= REWARD_LIMIT + 0.1 + 1e-9).all()
    best = cooperative_optimum(env.params, env.start)
    assert best.cost <= alone_cost(env.params, env.start)[0] + 1e-9


def test_kinds_are_what_they_say():
    agents = Scenario.study(8, kinds=MIXES["all"]).agents
    plain = Scenario.study(8).agents
    for i, (agent, whole) in enumerate(zip(agents, plain, strict=True)):
        kind = MIXES["all"][i % 4]
        assert (agent.battery is not None) == (kind in ("prosumer", "storage"))
        made = whole.generation_profile if kind in ("prosumer", "producer") else np.zeros((30, 24))
        used = whole.demand_profile if kind in ("prosumer", "consumer") else np.zeros((30, 24))
        np.testing.assert_array_equal(agent.generation_profile, made)
        np.testing.assert_array_equal(agent.demand_profile, used)


def test_consumers_alone_trade_nothing_that_they_do_not_buy_from_the_dso():
    env, _, _ = play(Scenario.study(4, kinds=("consumer",)))
    assert not env.history().sold_p2p.any()
    assert not env.history().to_dso.sum() > env.history().bought_dso.sum()


def test_storage_alone_earns_rewards_within_its_limits():
    """Its rewards are not cut off: a full cycle of the battery a day is the unit."""
    env, rewards, _ = play(Scenario.study(4, kinds=("prosumer", "storage")))
    assert (np.abs(rewards[..., 1::2]) < REWARD_LIMIT).mean() > 0.99
    fleet, params = env.params.fleet, env.params
    cycle = 2 * (fleet.high - fleet.low)[1] / 24 * params.config.max_price / 1000
    assert params.reward_scale[1] == pytest.approx(cycle)


@pytest.mark.parametrize("kinds", ["prosumer", (), ("prosumr",)])
def test_kinds_that_there_are_not(kinds):
    with pytest.raises(ValueError, match=r"kinds: got .*; allowed: "):
        Scenario.study(2, kinds=kinds)


@pytest.mark.slow  # loads torch and ray
def test_training_in_quarter_hours():
    from market.rl import PPOHyperparameters, RLTrainer

    scenario = Scenario.study(2, max_steps=96, step_hours=0.25, kinds=("prosumer", "storage"))
    small = PPOHyperparameters(hidden=(8,), minibatch=96, epochs=1)
    with RLTrainer(scenario, "ppo", "dtde", 1, episodes_per_iteration=2, hyperparameters=small) as trainer:
        assert trainer.train().env_steps == 2 * 96
        assert np.isfinite(trainer.evaluate(2).returns).all()
