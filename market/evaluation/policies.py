"""Policies that do not learn: references for those that do. To add one, add a row to POLICIES. Actions are in [-1, 1].

`zero_intelligence` and `truthful` order what their own battery leaves of demand or generation. A kWh is worth the
utility price to a buyer and the feed-in tariff to a seller, so apart from network fees no trade is worse than the DSO.
"""

from __future__ import annotations

from collections.abc import Callable

from numpy.typing import ArrayLike

from market.community.agents import Params
from market.evaluation.planning import (
    mpc_perfect,
    mpc_persistence,
    own_battery,
    planned_orders,
    pooled_battery,
    reservation_prices,
    self_consumption,
)
from market.simulation.dynamics import ACTION_SIZE, initial, step
from market.simulation.history import History, State
from market.support import check
from market.support.arrays import Floats, Ints
from market.support.rng import POLICY_STREAM, uniform

Policy = Callable[[Params, State], Floats]
"""Actions [E, N, 4] in [-1, 1] for the state; equal for equal (seed, episode, step) and state."""


def random(params: Params, state: State) -> Floats:
    """Uniform over all actions [E, N, 4]: any price, quantity, side and partner."""
    return 2 * _draw(params, state, ACTION_SIZE) - 1


def zero_intelligence(params: Params, state: State) -> Floats:
    """Actions [E, N, 4] of zero-intelligence constrained traders: a random price that does not lose.

    Bids U(min_price, utility price), asks U(feed-in tariff, max_price); Gode and Sunder (1993), doi:10.1086/261868.
    """
    bid, ask = reservation_prices(params, state)
    draw = _draw(params, state, 1)[..., 0]
    low, high = params.config.min_price, params.config.max_price
    prices = low + draw * (bid - low), ask + draw * (high - ask)
    return planned_orders(params, state, *self_consumption(params, state), prices)


def truthful(params: Params, state: State) -> Floats:
    """Actions [E, N, 4] that bid the utility price or ask the feed-in tariff, each agent's reservation price."""
    return planned_orders(params, state, *self_consumption(params, state))


POLICIES: dict[str, Policy] = {
    "random": random,
    "zero_intelligence": zero_intelligence,
    "truthful": truthful,
    "own_battery": own_battery,
    "pooled_battery": pooled_battery,
    "mpc_persistence": mpc_persistence,
    "mpc_perfect": mpc_perfect,
}
"""From what knows least to what knows most; see `market.evaluation.planning` for those that plan."""


def check_actions(state: State, actions: ArrayLike) -> Floats:
    """The actions [E, N, 4], in [-1, 1], as float64, or a one-line ValueError; `step` itself takes them as they are."""
    return check.array("actions", actions, (*state.energy.shape, ACTION_SIZE), allowed="finite numbers in [-1, 1]")


def play(params: Params, episode: Ints, policy: Policy) -> tuple[State, History]:
    """Whole episodes numbered `episode` [E] under a policy: how they began, and all their steps."""
    check.instance("policy", policy, Callable, allowed="a function of params and a state, as those in POLICIES")
    start = state = initial(params, episode)
    records = []
    for _ in range(params.max_steps):
        state, _, record = step(params, state, check_actions(state, policy(params, state)))
        records.append(record)
    return start, History.of(records)


def _draw(params: Params, state: State, count: int) -> Floats:
    """Uniform numbers in [0, 1), [E, N, count]."""
    shape = (*state.energy.shape, count)
    return uniform(params.seed, state.episode, state.step, POLICY_STREAM, shape[1] * count).reshape(shape)
