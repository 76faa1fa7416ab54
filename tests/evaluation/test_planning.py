"""Policies that plan batteries: what is planned comes true, and those that know more do better."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market import Battery, DERAgent, DSOProfileHandler, MarketConfig, Scenario
from market.constants import ENERGY_TICK
from market.evaluation import planning
from market.evaluation.optimum import cooperative_optimum, position
from market.evaluation.policies import POLICIES, play
from market.simulation.dynamics import initial, step
from strategies import scenarios

EPISODES = np.arange(3)
SHORT = settings(max_examples=max(1, settings.default.max_examples // 2))
FREE = MarketConfig(congestion_fee=0.0, distance_fee=0.0, loss_rate=0.0)
PLANNED = ("own_battery", "pooled_battery", "mpc_persistence", "mpc_perfect")


def positions(params, name, episodes=EPISODES):
    return position(params, *play(params, episodes, POLICIES[name]))


def home(generation, demand, battery=None, prices=(50.0, 100.0)):
    """One agent, with the DSO's feed-in tariff and utility price, each a number or a price for each step, $/MWh."""
    steps = len(demand)
    tariffs = DSOProfileHandler(0.0, 300.0, *(np.broadcast_to(each, steps).astype(float) for each in prices))
    agent = DERAgent("a", 20.0, battery, np.array(generation, float), np.array(demand, float))
    config = MarketConfig(min_price=0.0, max_price=300.0)
    return Scenario([agent], max_steps=steps, market_config=config, dso_profile_handler=tariffs).params


@SHORT
@given(scenarios(sizes=(6, 2, 1)), st.integers(0, 2**32))
def test_what_is_planned_is_what_settlement_does(scenario, seed):
    """To a tick of energy, whether peers or the DSO fill the order, where no limit of orders' sizes binds."""
    params, rng = scenario.params, np.random.default_rng(seed)
    params = replace(params, config=replace(params.config, min_quantity=ENERGY_TICK, max_quantity=1e6))
    state = initial(params, EPISODES)
    shape = state.energy.shape
    for _ in range(params.max_steps):
        share, charges = rng.random(shape), rng.random(shape) < 0.5
        charged = np.where(charges, share * params.fleet.acceptable(state.energy), 0.0)
        discharged = np.where(charges, 0.0, share * params.fleet.deliverable(state.energy))
        actions = planning.planned_orders(params, state, charged, discharged)
        assert (np.abs(actions) <= 1).all()
        state, _, record = step(params, state, actions)
        np.testing.assert_allclose(record.charged, charged, rtol=1e-9, atol=1.001 * ENERGY_TICK)
        np.testing.assert_allclose(record.discharged, discharged, rtol=1e-9, atol=1.001 * ENERGY_TICK)


@pytest.mark.parametrize("num_agents", [1, 6])
def test_with_a_perfect_forecast_and_no_fees_the_mpc_perfect_reaches_the_optimum(num_agents):
    params = replace(Scenario.study(num_agents, market_config=FREE).params, grid=None)
    assert (positions(params, "mpc_perfect") >= 0.99).all()


def test_yesterday_is_the_day_before_in_the_bank():
    params = Scenario.study(3).params
    state = replace(initial(params, EPISODES), day=np.arange(len(EPISODES)))
    yesterday = planning.net_generation(params, state, days_back=1)
    np.testing.assert_array_equal(yesterday[1:], planning.net_generation(params, state)[:-1])
    np.testing.assert_array_equal(yesterday[0], params.generation[-1] - params.demand[-1])


def test_a_wrong_forecast_costs_and_the_present_step_is_observed(monkeypatch):
    """Once yesterday was like today; once it ran backwards, with the evening's demand in the morning."""
    params = replace(Scenario.study(4, market_config=FREE).params, grid=None)
    today, exact = planning.net_generation, positions(params, "mpc_perfect")

    def play_after(order):
        def days(params, state, steps=slice(None), days_back=0):
            return today(params, state)[:, ::order][:, steps] if days_back else today(params, state, steps)

        monkeypatch.setattr(planning, "net_generation", days)
        return positions(params, "mpc_persistence")

    np.testing.assert_array_equal(play_after(1), exact)
    assert (play_after(-1) < exact - 0.01).all()
    last = replace(initial(params, EPISODES), step=params.max_steps - 1)
    yesterday = planning.mpc_persistence(params, last)
    np.testing.assert_array_equal(yesterday, planning.mpc_perfect(params, last))


def test_yesterday_of_a_single_day_is_that_day():
    params = home([0, 8, 0], [4, 4, 4])
    state = initial(params, EPISODES)
    today = planning.net_generation(params, state)
    np.testing.assert_array_equal(today, np.tile([[-4.0], [4.0], [-4.0]], (3, 1, 1)))
    np.testing.assert_array_equal(planning.net_generation(params, state, days_back=1), today)
    np.testing.assert_array_equal(planning.net_generation(params, state, 1), today[:, 1])


def test_an_optimum_from_a_step_of_the_day_is_what_the_optimum_of_the_day_leaves():
    """Bellman: along the optimal plan, cost so far and the least cost from there on add up to the least cost."""
    params = replace(Scenario.study(3).params, grid=None)
    start = initial(params, EPISODES)
    best, half = cooperative_optimum(params, start, 1), params.max_steps // 2
    fleet = params.fleet
    gained = fleet.charge_efficiency[:, None] * best.charged - best.discharged / fleet.discharge_efficiency[:, None]
    energy = np.tile(start.energy[1] + gained[:, :half].sum(1), (3, 1))
    rest = cooperative_optimum(params, replace(start, step=half, energy=energy), 1)
    assert rest.charged.shape == (3, params.max_steps - half)
    flows = start.utility_price[1] * best.imported - start.feed_in_tariff[1] * best.exported
    worth = start.feed_in_tariff[1].mean() * fleet.discharge_efficiency @ gained[:, :half].sum(1)
    assert best.cost == pytest.approx((flows[:half].sum() - worth) / 1000 + rest.cost, rel=1e-9)


def test_an_own_battery_keeps_and_buys_what_dearer_hours_will_need():
    """Full battery of 10 kWh, 4 kWh a step, ends dear: it keeps the last 8; empty, it buys them while cheap."""
    cheap, dear = 100.0, 200.0
    for stored, flows in ((1.0, [-2.0, -4.0, -4.0]), (0.0, [8.0, -4.0, -4.0])):
        params = home([0] * 3, [4] * 3, Battery(10.0, 0, 1, 1, 1, stored), (50.0, [cheap, dear, dear]))
        _, history = play(params, np.arange(1), planning.own_battery)
        np.testing.assert_allclose((history.charged - history.discharged)[:, 0, 0], flows, atol=0.002)


def test_an_own_battery_counts_on_its_own_sun_and_does_not_buy_for_a_gain_that_losses_eat():
    sun = home([0, 8, 0], [0, 0, 8], Battery(10.0, 0, 1, 1, 1, 0), (50.0, [100.0, 150.0, 200.0]))
    _, history = play(sun, np.arange(1), planning.own_battery)
    np.testing.assert_allclose(history.charged[:, 0, 0], [0, 8, 0], atol=0.002)
    for price, bought in ((124.0, 0.0), (126.0, 10.0)):  # 100 / 0.8 = 125
        lossy = home([0, 0], [0, 8], Battery(20.0, 0, 1, 0.8, 1, 0), (50.0, [100.0, price]))
        _, history = play(lossy, np.arange(1), planning.own_battery)
        np.testing.assert_allclose(history.charged[0, 0, 0], bought, atol=0.002)


def test_pooled_batteries_fill_at_night_empty_before_noon_take_the_sun_and_wait_for_the_evening():
    hours = 24
    price = np.full(hours, 150.0)
    price[:6], price[18:22], price[22:] = 100.0, 250.0, 100.0
    sun, demand = np.zeros(hours), np.full(hours, 1.0)
    sun[10:16] = 5.0
    params = home(sun, demand, Battery(10.0, 0, 1, 1, 1, 0.5), (50.0, price))
    _, history = play(params, np.arange(1), planning.pooled_battery)
    flow = (history.charged - history.discharged)[:, 0, 0]
    expected = np.zeros(hours)
    expected[0], expected[6:10], expected[10:12], expected[18:] = 5.0, -1.0, (4.0, 0.0), -1.0
    np.testing.assert_allclose(flow, expected, atol=0.01)


def test_pooled_batteries_share_in_proportion_to_what_each_can_do():
    params = Scenario.study(6).params
    state = initial(params, EPISODES)
    room = params.fleet.acceptable(state.energy)
    part = planning._part(room, np.array([[10.0], [-1.0], [1e9]]))
    np.testing.assert_allclose(part.sum(1), [10.0, 0.0, room[2].sum()])
    np.testing.assert_allclose(part[0] / room[0], 10 / room[0].sum())
    assert not planning._part(np.zeros((1, 2)), np.ones((1, 1))).any(), "no battery, no share"


@pytest.mark.parametrize("num_agents", [5, 10])
def test_whoever_knows_more_does_better_on_average_over_populations(num_agents):
    names = ("random", "truthful", *PLANNED)
    found = [
        [positions(Scenario.study(num_agents, seed).params, n, np.arange(2)).mean() for n in names] for seed in range(3)
    ]
    random, truthful, own, pooled, _, horizon = np.mean(found, axis=0)
    assert random < truthful < own - 0.1
    assert own < pooled - 0.05
    assert pooled < horizon - 0.02
    assert (np.array(found)[:, 0] < np.array(found)[:, 1:].T).all(), "none is worse than random"
