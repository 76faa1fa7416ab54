"""The DSO-only baseline and the cooperative optimum bracket what any policy can do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market import Battery, DERAgent, DSOProfileHandler, GridNetwork, GridTopology, Scenario
from market.evaluation import policies
from market.evaluation.optimum import alone_cost, cooperative_optimum, net_generation, position
from market.simulation.dynamics import initial
from strategies import actions, powers, scenarios

SHORT = settings(max_examples=max(1, settings.default.max_examples // 2))


def play(scenario, episodes, policy):
    return scenario.params, *policies.play(scenario.params, np.arange(episodes), policy)


def nothing(params, state):
    action = np.zeros((*state.energy.shape, 4))
    action[..., 1] = -1.0
    return action


def two_agents(capacity):
    """One agent has 10 kWh too much in step 0, the other 10 kWh too little; no batteries."""
    agents = [
        DERAgent("sun", 20.0, None, np.array([10.0, 0.0]), np.array([0.0, 0.0])),
        DERAgent("house", 20.0, None, np.array([0.0, 0.0]), np.array([10.0, 0.0])),
    ]
    return Scenario(agents, max_steps=2, grid_network=GridNetwork("line", 2, capacity))


@pytest.mark.parametrize("num_agents", [1, 2, 7])
def test_without_orders_everybody_pays_what_the_baseline_pays(num_agents):
    params, start, history = play(Scenario.study(num_agents), 3, nothing)
    np.testing.assert_allclose(history.saving.sum((0, 2)), 0.0, atol=1e-9)
    np.testing.assert_allclose(position(params, start, history), 0.0, atol=1e-9)
    more = (history.energy[-1] - params.fleet.initial) * params.fleet.discharge_efficiency
    worth = start.feed_in_tariff.mean(1) * more.sum(1) / 1000
    np.testing.assert_allclose(history.cost.sum((0, 2)) - worth, alone_cost(params, start), rtol=1e-9)


@pytest.mark.parametrize("num_agents", [1, 2, 7])
@pytest.mark.parametrize("topology", list(GridTopology))
@pytest.mark.parametrize("policy", policies.POLICIES.values())
def test_no_policy_beats_the_optimum(num_agents, topology, policy):
    params, start, history = play(Scenario.study(num_agents, topology=topology), 2, policy)
    assert (position(params, start, history) <= 1 + 1e-9).all()


def test_sharing_is_worth_the_spread_and_the_capacity_limits_it():
    scenario = two_agents(capacity=100.0)
    params, start = scenario.params, initial(scenario.params, np.arange(1))
    spread = (start.utility_price[0, 0] - start.feed_in_tariff[0, 0]) / 1000
    assert alone_cost(params, start)[0] - cooperative_optimum(params, start).cost == pytest.approx(10 * spread)
    narrow = two_agents(capacity=4.0).params
    best = cooperative_optimum(narrow, initial(narrow, np.arange(1)))
    assert alone_cost(narrow, start)[0] - best.cost == pytest.approx(4 * spread)
    assert best.imported[0] == pytest.approx(6.0)
    assert best.exported[0] == pytest.approx(6.0)


def test_pooled_and_full_programme_agree_when_the_capacity_is_wide():
    scenario = Scenario.study(6)
    wide, state = scenario.params, initial(scenario.params, np.arange(2))
    pooled = cooperative_optimum(replace(wide, grid=None), state, 1)
    from market.evaluation.optimum import _solve

    net = net_generation(wide, state)[1].T
    assert _solve(wide, state, 1, 1e6, net).cost == pytest.approx(pooled.cost, rel=1e-9)


def test_trading_the_imbalance_reaches_the_optimum_of_two():
    scenario = two_agents(capacity=100.0)
    scenario = replace(
        scenario, market_config=replace(scenario.market_config, distance_fee=0.0, congestion_fee=0.0, loss_rate=0.0)
    )

    def trade(params, state):
        side = np.array([-1.0, 1.0])
        return np.stack([np.zeros(2), np.ones(2), side, np.zeros(2)], -1)[None]

    params, start, history = play(scenario, 1, trade)
    assert position(params, start, history)[0] == pytest.approx(1.0)
    assert history.bought_p2p.sum() == pytest.approx(10.0)


def test_optimal_battery_moves_energy_from_noon_to_evening():
    battery = Battery(10.0, 0.0, 1.0, 1.0, 1.0, 0.0)
    agent = DERAgent("a", 10.0, battery, np.array([8.0, 0.0]), np.array([0.0, 8.0]))
    scenario = Scenario([agent], max_steps=2)
    best = cooperative_optimum(scenario.params, initial(scenario.params, np.arange(1)))
    assert best.charged[0, 0] == pytest.approx(8.0)
    assert best.discharged[0, 1] == pytest.approx(8.0)
    assert best.imported.sum() == pytest.approx(0.0)


def test_power_limits_the_optimal_battery_at_its_terminals():
    battery = Battery(10.0, 0.0, 1.0, 0.8, 0.5, 0.0, power=6.0)
    agent = DERAgent("a", 10.0, battery, np.array([8.0, 0.0, 0.0]), np.array([0.0, 0.0, 8.0]))
    prices = DSOProfileHandler(40.0, 240.0, np.full(3, 50.0), np.full(3, 200.0))  # worth it: 0.4 x 200 > 50
    params = Scenario([agent], max_steps=3, step_hours=0.5, dso_profile_handler=prices).params
    best = cooperative_optimum(params, initial(params, np.arange(1)))
    np.testing.assert_allclose(best.charged, [[3.0, 0.0, 0.0]], atol=1e-9)
    np.testing.assert_allclose(best.discharged, [[0.0, 0.0, 3 * 0.8 * 0.5]], atol=1e-9)
    np.testing.assert_allclose(best.exported, [5.0, 0.0, 0.0], atol=1e-9)
    np.testing.assert_allclose(best.imported, [0.0, 0.0, 8 - 1.2], atol=1e-9)


@SHORT
@given(scenarios(sizes=(6, 2, 1)), st.integers(0, 2**32), st.sampled_from(["random", "zero_intelligence", "truthful"]))
def test_the_optimum_keeps_every_battery_within_its_power_and_no_play_beats_it(scenario, seed, name):
    params, acts = scenario.params, np.clip(actions(scenario.params, 1, seed), -1, 1)
    start = initial(params, np.arange(1))
    best = cooperative_optimum(params, start)
    limit = powers(scenario)[:, None] * scenario.step_hours
    assert (np.maximum(best.charged, best.discharged) <= limit + 1e-7).all()
    assert (np.minimum(best.charged, best.discharged) <= 1e-7).all(), "a battery that does both wastes energy"
    endless = replace(params, fleet=replace(params.fleet, step_limit=np.full(scenario.num_agents, np.inf)))
    assert cooperative_optimum(endless, start).cost <= best.cost + 1e-7
    for policy in (policies.POLICIES[name], lambda _params, state: acts[state.step]):
        _, history = policies.play(params, np.arange(1), policy)
        assert alone_cost(params, start)[0] - history.saving.sum() >= best.cost - 1e-7
