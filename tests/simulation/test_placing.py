"""What an action orders, against its meaning written as plain Python, agent by agent."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from market.clearing.orders import REPUTATION_STEPS
from market.simulation.dynamics import orders
from strategies import actions, play, scenarios

SEEDS = st.integers(0, 2**16)
NUMBERS = st.sampled_from([-3.0, -1.0, -0.5, -1e-12, -0.0, 0.0, 1e-12, 0.5, 1.0, 7.0]) | st.floats(-1.5, 1.5)


def fraction(number: float) -> float:
    """Of the way from the least to the most that -1 to 1 stands for."""
    return (min(max(number, -1.0), 1.0) + 1) / 2


@given(scenarios(sizes=(4, 2)), SEEDS, st.data())
def test_orders_are_what_the_four_numbers_say(scenario, seed, data):
    params, config = scenario.params, scenario.market_config
    state = next(iter(play(params, [0, 3], actions(params, 2, seed))))[0]
    shape = state.energy.shape
    count = 4 * state.energy.size
    action = np.array(data.draw(st.lists(NUMBERS, min_size=count, max_size=count))).reshape(*shape, 4)
    book = orders(params, state, action)
    free, stored = params.fleet.acceptable(state.energy), params.fleet.deliverable(state.energy)
    for e, i in np.ndindex(shape):
        level, share, side, _ = action[e, i]
        net = params.generation[state.day[e], state.step, i] - params.demand[state.day[e], state.step, i]
        most = max(free[e, i] - net if side >= 0 else stored[e, i] + net, 0.0)
        wanted = min(fraction(share) * most, config.max_quantity)
        price = config.min_price + fraction(level) * (config.max_price - config.min_price)
        assert book.is_buy[e, i] == (side >= 0)
        assert abs(book.price[e, i] - price * 100) <= 0.5 + 1e-9
        assert book.quantity[e, i] == (math.floor(wanted / 0.001) if wanted >= config.min_quantity else 0)
        assert abs(book.reputation[e, i] - state.reputation[e, i] * REPUTATION_STEPS) <= 0.5 + 1e-9
