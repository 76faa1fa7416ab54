"""The simulation: each step against the slow twin, conservation, repeatability, bounds, and constant Python work."""

from __future__ import annotations

import gc
import sys
from dataclasses import fields, replace

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle
from market import MarketConfig, Scenario
from market.simulation.dynamics import REWARD_LIMIT, initial, observe, orders, step
from market.simulation.history import Flows, State
from strategies import RULES, actions, play, powers, scenarios

SHORT = settings(max_examples=max(1, settings.default.max_examples // 2))
SEEDS = st.integers(0, 2**32)
SUPPLY = ("generation", "bought_p2p", "bought_dso", "imported", "discharged")
USE = ("demand", "sold_p2p", "sold_dso", "exported", "charged")


def twin_of(scenario: Scenario, state: State, action: np.ndarray, e: int):
    """Episode e of one step by the oracle: (cleared, accounts, the DSO's money)."""
    params, book = scenario.params, orders(scenario.params, state, action)
    columns = {
        "price": book.price[e] / 100,
        "quantity": book.quantity[e] / 1000,
        "is_buy": book.is_buy[e],
        "arrival": np.argsort(book.by_arrival[e]).tolist(),
        "reputation": state.reputation[e].tolist(),
        "partner": None if book.partner is None else book.partner[e],
        "node": params.node,
    }
    t, f = state.step, params.fleet
    dso = {"feed_in_tariff": state.feed_in_tariff[e, t], "utility_price": state.utility_price[e, t]}
    more = {"last_price": state.last_price[e], "grid": params.grid, "step_hours": params.step_hours}
    cleared = oracle.clear_book(columns, params.config, **dso, **more)
    limits = (f.low, f.high, f.charge_efficiency, f.discharge_efficiency, powers(scenario))
    batteries = [(*row, scenario.step_hours) for row in np.stack((state.energy[e], *limits)).T]
    generation, demand = (bank[int(state.day[e])][t] for bank in (params.generation, params.demand))
    return cleared, *oracle.settle(cleared.trades, generation, demand, batteries, **dso)


@SHORT
@given(st.data(), SEEDS)
@pytest.mark.parametrize("rule", RULES)
def test_every_step_is_that_of_the_twin(rule, data, seed):
    scenario = data.draw(scenarios(rules=(rule,), sizes=(9, 6, 2)))
    action = actions(scenario.params, 2, seed)
    for state, _, _, record in play(scenario.params, [0, 7], action):
        for e in range(2):
            cleared, accounts, dso = twin_of(scenario, state, action[state.step], e)
            assert np.rint(record.bought_p2p[e].sum() * 1000) == cleared.p2p_volume
            names = ("charged", "discharged", "imported", "exported", "energy", "cost")
            columns = {name: getattr(record, name) for name in names}
            columns["bought"] = record.bought_p2p + record.bought_dso
            columns["sold"] = record.sold_p2p + record.sold_dso
            for name, values in columns.items():
                expected = [getattr(account, name) for account in accounts]
                np.testing.assert_allclose(values[e], expected, rtol=1e-9, atol=1e-9, err_msg=name)
            assert record.dso_income[e] == pytest.approx(dso, rel=1e-9, abs=1e-9)
            assert record.loss[e] == pytest.approx(sum(t.loss for t in cleared.trades), rel=1e-9, abs=1e-12)
            assert record.social_welfare[e] == pytest.approx(float(cleared.social_welfare), rel=1e-9, abs=1e-12)


@given(scenarios(), SEEDS)
def test_energy_and_money_are_conserved_in_every_step(scenario, seed):
    params = scenario.params
    for state, following, _, record in play(params, [3, 4, 5], actions(params, 3, seed)):
        supply, use = (np.sum([getattr(record, name) for name in names], axis=0) for names in (SUPPLY, USE))
        np.testing.assert_allclose(supply, use, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(supply.sum(1), use.sum(1), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(record.bought_p2p.sum(1), record.sold_p2p.sum(1), rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(record.cost.sum(1), record.dso_income, rtol=1e-9, atol=1e-9)
        fleet, change = params.fleet, following.energy - state.energy
        stored = record.charged * fleet.charge_efficiency - record.discharged / fleet.discharge_efficiency
        np.testing.assert_allclose(change, stored, rtol=1e-9, atol=1e-9)
        assert (following.energy >= fleet.low).all()
        assert (following.energy <= fleet.high).all()
        moved = np.maximum(record.charged, record.discharged)
        assert (moved <= powers(scenario) * scenario.step_hours).all()
        assert not (record.charged * record.discharged).any()


def equal(one, two, pick=slice(None)) -> None:
    """Every array field of two records or states is the same, to the last bit."""
    for f in fields(Flows) if isinstance(one, Flows) else fields(one):
        value, other = getattr(one, f.name), getattr(two, f.name)
        if f.name == "last" or value is None:
            continue
        np.testing.assert_array_equal(value[pick] if np.ndim(value) else value, other, err_msg=f.name)


@SHORT
@given(scenarios(), SEEDS)
def test_a_batch_of_episodes_equals_each_alone(scenario, seed):
    params, episodes = scenario.params, [5, 0, 5, 11]
    action = actions(params, 4, seed)
    for e, number in enumerate(episodes):
        alone = play(params, [number], action[:, e : e + 1])
        for together, single in zip(play(params, episodes, action), alone, strict=True):
            np.testing.assert_array_equal(observe(params, together[1])[e], observe(params, single[1])[0])
            np.testing.assert_array_equal(together[2][e], single[2][0])
            equal(together[1], single[1], slice(e, e + 1))
            equal(together[3], single[3], slice(e, e + 1))


@pytest.mark.parametrize("rule", ["average", "uniform", "mcafee"])
def test_a_large_batch_equals_each_episode_alone(rule):
    config = MarketConfig(price_mechanism=rule, enable_partner_preference=True)
    params = Scenario.study(61, max_steps=5, market_config=config).params
    action = actions(params, 6, 1)
    alone = list(play(params, [4], action[:, 4:5]))
    for together, single in zip(play(params, list(range(6)), action), alone, strict=True):
        np.testing.assert_array_equal(observe(params, together[1])[4], observe(params, single[1])[0])
        equal(together[3], single[3], slice(4, 5))
    assert alone[-1][3].bought_p2p.sum() > 0


def trace(scenario: Scenario, episode: int = 0) -> np.ndarray:
    """Observations and rewards of an episode in one array."""
    params = scenario.params
    done = list(play(params, [episode], actions(params, 1, 0)))
    return np.concatenate([np.append(observe(params, after), reward) for _, after, reward, _ in done])


def test_the_same_seed_gives_the_same_and_another_seed_another_result():
    same, again, other = (trace(Scenario.study(4, seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(same, again)
    assert (same != other).any()
    one, two = (trace(Scenario(Scenario.study(4).agents, seed=seed)) for seed in (1, 2))
    assert (one != two).any()


@pytest.mark.parametrize("asynchronous", [True, False])
def test_arrival_changes_from_step_to_step_only_when_asynchronous(asynchronous):
    params = Scenario.study(30, enable_asynchronous_order=asynchronous, max_steps=2).params
    action = actions(params, 1, 0)
    states = [done[0] for done in play(params, [0], action)]
    one, two = (orders(params, s, action[0]).by_arrival for s in states)
    assert (one != two).any() == asynchronous
    assert np.sort(two[0]).tolist() == list(range(30))


def test_tariffs_follow_the_clock():
    hourly = initial(Scenario.study(1).params, np.array([0]))
    quarters = initial(Scenario.study(1, step_hours=0.25, max_steps=96).params, np.array([0]))
    np.testing.assert_allclose(quarters.utility_price[:, ::4], hourly.utility_price, rtol=1e-12)


@given(scenarios(sizes=(1,)), SEEDS)
def test_one_agent_trades_with_the_dso_alone(scenario, seed):
    params = scenario.params
    for *_, reward, record in play(params, [0], actions(params, 1, seed)):
        assert not record.bought_p2p.any()
        assert not record.sold_p2p.any()
        assert np.isnan(record.clearing_price).all()
        np.testing.assert_allclose(record.bought_dso + record.sold_dso, record.ordered, rtol=1e-9)
        assert np.isfinite(reward).all()


@given(scenarios(), SEEDS)
def test_who_orders_nothing_pays_what_the_dso_alone_would_cost(scenario, seed):
    params = scenario.params
    action = actions(params, 2, seed)
    action[..., 1] = -1.0
    params = replace(params, config=replace(params.config, min_quantity=0.1))
    for *_, record in play(params, [0, 1], action):
        np.testing.assert_allclose(record.cost, record.alone_cost, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(record.saving, 0.0, atol=1e-9)


@given(scenarios(), SEEDS)
def test_savings_add_up_to_the_bill_against_the_dso_alone(scenario, seed):
    params = scenario.params
    records = [done[3] for done in play(params, [0], actions(params, 1, seed))]
    day = initial(params, np.array([0])).day
    more_stored = records[-1].energy - params.alone.stored[day, -1]
    worth = initial(params, np.array([0])).feed_in_tariff.mean() * params.fleet.discharge_efficiency / 1000
    expected = sum(r.alone_cost - r.cost for r in records) + worth * more_stored
    np.testing.assert_allclose(sum(r.saving for r in records), expected, rtol=1e-9, atol=1e-9)


@given(scenarios(), SEEDS)
def test_rewards_observations_and_reputations_are_bounded(scenario, seed):
    params = scenario.params
    size = 42 + scenario.num_anchor * scenario.market_config.enable_partner_preference
    for state, following, reward, record in play(params, [0, 1], actions(params, 2, seed)):
        assert (np.abs(reward) <= REWARD_LIMIT + params.cooperation_weight + 1e-12).all()
        assert (np.abs(record.cooperation) <= 1).all()
        assert (following.reputation >= 0).all()
        assert (following.reputation <= 1).all()
        idle = record.ordered == 0
        np.testing.assert_array_equal(following.reputation[idle], state.reputation[idle])
        for seen in (observe(params, state), observe(params, following)):
            assert seen.shape == (2, params.num_agents, size)
            assert (np.abs(seen) <= 10).all()  # also refuses nan


@given(scenarios(sizes=(9, 6, 2)), SEEDS)
def test_rewards_and_reputations_follow_their_formulas(scenario, seed):
    params, config = scenario.params, scenario.market_config
    span = config.max_price - config.min_price
    for state, following, reward, record in play(params, [0, 1], action := actions(params, 2, seed)):
        limit = orders(params, state, action[state.step]).price / 100
        for e, i in np.ndindex(reward.shape):
            own = min(max(record.saving[e, i] / params.reward_scale[i], -REWARD_LIMIT), REWARD_LIMIT)
            assert reward[e, i] == pytest.approx(own + params.cooperation_weight * record.cooperation[e], abs=1e-9)
            if record.ordered[e, i] > 0:
                known = record.clearing_price[e]
                fair = 1 - abs(limit[e, i] - (state.last_price[e] if np.isnan(known) else known)) / span
                local, outside = (sum(getattr(record, f"{way}_{whom}")[e, i] for way in ("bought", "sold"))
                                  for whom in ("p2p", "dso"))  # fmt: skip
                outside += record.imported[e, i] + record.exported[e, i]
                score = (local / record.ordered[e, i] + max(fair, 0) + local / (local + outside)) / 3
                expected = 0.9 * state.reputation[e, i] + 0.1 * score
                assert following.reputation[e, i] == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize(("preference", "anchors", "size"), [(False, 8, 42), (True, 8, 50), (True, 3, 45)])
def test_what_an_agent_sees_does_not_grow_with_the_population(preference, anchors, size):
    config = MarketConfig(enable_partner_preference=preference)
    for agents in (1, 2, 10, 100):
        params = Scenario.study(agents, market_config=config, num_anchor=anchors, max_steps=1).params
        assert observe(params, initial(params, np.arange(3))).shape == (3, agents, size)


@given(scenarios(max_error=0.15), SEEDS)
def test_measurement_errors_are_relative_and_bounded(scenario, seed):
    noisy, exact = scenario.params, replace(scenario.params, max_error=0.0)
    for state, following, *_ in play(noisy, [0, 1], actions(noisy, 2, seed)):
        for s in (state, following):
            seen, true = observe(noisy, s), observe(exact, s)
            assert (np.abs(seen - true) <= 0.15 * np.abs(true) + 1e-12).all()
            np.testing.assert_array_equal(seen[..., :16], true[..., :16])
            np.testing.assert_array_equal(seen[..., 32:], true[..., 32:])


@SHORT
@given(scenarios(), SEEDS)
def test_a_step_changes_no_input_and_clips_actions(scenario, seed):
    params = scenario.params
    action = actions(params, 2, seed)
    state = initial(params, np.arange(2))
    before = {name: np.copy(value) for name, value in vars(state).items() if value is not None}
    _, reward, _ = step(params, state, action[0])
    _, clipped, _ = step(params, state, np.clip(action[0], -1, 1))
    np.testing.assert_array_equal(reward, clipped)
    for name, value in before.items():
        np.testing.assert_array_equal(getattr(state, name), value)


def test_an_episode_has_all_its_steps_and_no_more():
    params = Scenario.study(3).params
    state, idle = initial(params, np.array([0])), np.zeros((1, 3, 4))
    for _ in range(24):
        state, _, _ = step(params, state, idle)
    with pytest.raises(ValueError, match=r"^step: got step 24 .*; allowed: 0 to 23$"):
        step(params, state, idle)


def python_calls(agents: int, episodes: int, config: MarketConfig, topology: str) -> int:
    """Python functions entered by one step and the observation after it, once everything is warm."""
    params = Scenario.study(agents, max_steps=4, market_config=config, topology=topology, c_rate=None).params
    action = actions(params, episodes, 0)
    state = initial(params, np.arange(episodes))
    for warm in action[:2]:
        state, _, _ = step(params, state, warm)
        observe(params, state)
    calls = 0

    def count(frame, event, arg):
        nonlocal calls
        calls += event == "call"

    gc.disable()  # hypothesis hooks a Python function into the collector
    previous = sys.getprofile()
    sys.setprofile(count)
    try:
        following, _, record = step(params, state, action[2])
        observe(params, following)
    finally:
        sys.setprofile(previous)
        gc.enable()
    assert record.bought_p2p.any()
    return calls


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="without the JIT, kernels are Python and loop")
@pytest.mark.parametrize("rule", ["average", "mcafee"])
@pytest.mark.parametrize(("preference", "topology"), [(False, "mesh"), (True, "mesh"), (False, "tree")])
def test_python_work_does_not_grow_with_agents_or_episodes(rule, preference, topology):
    config = MarketConfig(price_mechanism=rule, enable_partner_preference=preference)
    few = python_calls(10, 4, config, topology)
    assert python_calls(1000, 4, config, topology) == python_calls(10, 32, config, topology) == few < 400
