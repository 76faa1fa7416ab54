"""Reference policies: legal, repeatable, honest about values, and never worse than the DSO alone."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from market import MarketConfig, Scenario
from market.clearing.orders import energy_of, price_of
from market.evaluation.policies import POLICIES, play, random, truthful, zero_intelligence
from market.simulation.dynamics import initial, orders, step

EPISODES = np.arange(3)
FREE = MarketConfig(congestion_fee=0.0, distance_fee=0.0, loss_rate=0.0)


def states(params, policy, episodes=EPISODES):
    """Every state of the episodes, and the actions of the policy in it."""
    state = initial(params, episodes)
    for _ in range(params.max_steps):
        action = policy(params, state)
        yield state, action
        state, _, _ = step(params, state, action)


def test_the_last_clearing_price_is_at_first_the_middle_of_the_tariffs_and_stays_without_trades():
    params = Scenario.study(6).params
    state = initial(params, EPISODES)
    np.testing.assert_array_equal(state.last_price, (state.feed_in_tariff[:, 0] + state.utility_price[:, 0]) / 2)
    seen = set()
    for t in range(params.max_steps):
        action = random(params, state) if t % 2 else np.full((len(EPISODES), 6, 4), -1.0)  # all sell: no trades
        following, _, record = step(params, state, action)
        for before, price, after in zip(state.last_price, record.clearing_price, following.last_price, strict=True):
            assert after == (before if np.isnan(price) else price)
            seen.add(bool(np.isnan(price)))
        state = following
    assert seen == {False, True}


@pytest.mark.parametrize(
    ("actions", "message"),
    [
        (np.full((3, 2, 4), np.nan), r"got nan at \[0, 0, 0\]; allowed: finite"),
        (np.zeros((3, 2, 7)), r"got shape \[3, 2, 7\]; allowed: \[3, 2, 4\]"),
        ([[1.0], [1.0, 2.0]], r"got \[\[1.0\].*; allowed: finite .*\[3, 2, 4\]"),
    ],
)
def test_actions_that_are_none_are_refused(actions, message):
    with pytest.raises(ValueError, match=rf"\Aactions: {message}[^\n]*\Z"):
        play(Scenario.study(2).params, EPISODES, lambda _params, _state: actions)


@pytest.mark.parametrize("name", POLICIES)
@pytest.mark.parametrize("num_agents", [1, 7])
def test_actions_are_legal_and_an_episode_does_not_depend_on_its_batch(name, num_agents):
    params = Scenario.study(num_agents).params
    alone = states(params, POLICIES[name], np.array([2]))
    for (_, batch), (_, single) in zip(states(params, POLICIES[name]), alone, strict=True):
        assert batch.shape == (3, num_agents, 4)
        assert (np.abs(batch) <= 1).all()
        np.testing.assert_array_equal(batch[2], single[0])


def test_random_play_covers_the_whole_range_of_actions():
    params = Scenario.study(50).params
    drawn = np.stack([action for _, action in states(params, random)])
    assert drawn.reshape(-1, 4).mean(0) == pytest.approx(np.zeros(4), abs=0.05)
    assert drawn.reshape(-1, 4).std(0) == pytest.approx(np.full(4, 3**-0.5), abs=0.02)
    assert abs(np.corrcoef(drawn[0, 0, :, 0], drawn[1, 0, :, 0])[0, 1]) < 0.5, "steps draw anew"


@pytest.mark.parametrize("policy", [truthful, zero_intelligence])
def test_traders_order_what_their_battery_leaves_at_a_price_that_does_not_lose(policy):
    scenario = Scenario.study(30, c_rate=0.1)  # binds in many steps
    params, prices = scenario.params, []
    for state, action in states(params, policy):
        book, t = orders(params, state, action), state.step
        for e in range(len(EPISODES)):
            for n in range(params.num_agents):  # the slow twin of the quantity rule
                net = params.generation[state.day[e], t, n] - params.demand[state.day[e], t, n]
                held = state.energy[e, n]
                power = scenario.agents[n].battery.power
                room = min((params.fleet.high[n] - held) / params.fleet.charge_efficiency[n], power)
                ready = min((held - params.fleet.low[n]) * params.fleet.discharge_efficiency[n], power)
                left = max(net - room, 0.0) if net >= 0 else max(-net - ready, 0.0)
                left = left if left >= params.config.min_quantity else 0.0
                assert energy_of(book.quantity)[e, n] == pytest.approx(left, abs=0.0011)
                assert left == 0 or book.is_buy[e, n] == (net < 0)
        placed, price = book.quantity > 0, price_of(book.price)
        utility, feed_in = state.utility_price[:, t, None], state.feed_in_tariff[:, t, None]
        assert (price <= utility + 0.005)[placed & book.is_buy].all()
        assert (price >= feed_in - 0.005)[placed & ~book.is_buy].all()
        prices += [((utility - price) * placed)[book.is_buy], ((price - feed_in) * placed)[~book.is_buy]]
    distance = np.concatenate(prices)
    assert (distance.max() < 0.01) == (policy is truthful), "the truth is one price, zero intelligence is many"


@pytest.mark.parametrize("policy", [truthful, zero_intelligence])
def test_without_fees_nobody_is_worse_off_than_with_the_dso_alone(policy):
    params = Scenario.study(20, market_config=FREE).params
    _, history = play(params, EPISODES, policy)
    assert (history.saving.sum(0) >= -1e-3).all()
    assert (history.saving.sum((0, 2)) > 0.01).all()


def test_the_truth_trades_more_than_zero_intelligence():
    params = Scenario.study(40).params
    volume = {name: play(params, EPISODES, POLICIES[name])[1].bought_p2p.sum((0, 2)) for name in POLICIES}
    assert (volume["truthful"] >= volume["zero_intelligence"]).all()
    assert (volume["zero_intelligence"] > 0).all()


def test_one_allowed_price_is_the_price():
    params = replace(Scenario.study(3).params, config=MarketConfig(min_price=100.0, max_price=100.0))
    for policy in POLICIES.values():
        _, history = play(params, EPISODES, policy)
        assert np.nan_to_num(history.clearing_price, nan=100.0) == pytest.approx(100.0)
