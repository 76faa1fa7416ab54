"""Policies that do not learn: references for those that do. To add one, add a row to POLICIES. Actions are in [-1, 1].

`zero_intelligence` and `truthful` order what their own battery leaves of demand or generation. A kWh is worth the
utility price to a buyer and the feed-in tariff to a seller, so apart from network fees no trade is worse than the DSO.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from market.clearing.orders import Floats, Ints
from market.community.agents import Params
from market.simulation.dynamics import ACTION_SIZE, initial, step
from market.simulation.history import History, State
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
    bid, ask = _values(params, state)
    draw = _draw(params, state, 1)[..., 0]
    low, high = params.config.min_price, params.config.max_price
    return _residual_orders(params, state, low + draw * (bid - low), ask + draw * (high - ask))


def truthful(params: Params, state: State) -> Floats:
    """Actions [E, N, 4] that bid the utility price or ask the feed-in tariff, each agent's reservation price."""
    return _residual_orders(params, state, *_values(params, state))


POLICIES: dict[str, Policy] = {"random": random, "zero_intelligence": zero_intelligence, "truthful": truthful}


def check_actions(state: State, actions: ArrayLike) -> Floats:
    """The actions [E, N, 4], in [-1, 1], as float64, or a one-line ValueError; `step` itself takes them as they are."""
    shape = (*state.energy.shape, ACTION_SIZE)
    try:
        action = np.asarray(actions, np.float64)
    except (TypeError, ValueError):
        raise ValueError(f"actions: got {actions!r:.60}; allowed: {shape}, finite numbers in [-1, 1]") from None
    if action.shape != shape:
        raise ValueError(f"actions: got shape {action.shape}; allowed: {shape}, finite numbers in [-1, 1]")
    if not np.isfinite(action).all():
        where = np.argwhere(~np.isfinite(action))[0].tolist()
        raise ValueError(f"actions: got {action[tuple(where)]} at {where}; allowed: finite numbers in [-1, 1]")
    return action


def play(params: Params, episode: Ints, policy: Policy) -> tuple[State, History]:
    """Whole episodes numbered `episode` [E] under a policy: how they began, and all their steps."""
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


def _values(params: Params, state: State) -> tuple[Floats, Floats]:
    """What a kWh is worth to a buyer and costs a seller, [E, 1] each, $/MWh within the allowed prices."""
    low, high = params.config.min_price, params.config.max_price
    t = state.step
    bid, ask = state.utility_price[:, t], state.feed_in_tariff[:, t]
    return np.clip(bid, low, high)[:, None], np.clip(ask, low, high)[:, None]


def _residual_orders(params: Params, state: State, bid: Floats, ask: Floats) -> Floats:
    """Actions that order what is left after the own battery, at `bid` or `ask` $/MWh ([E, N] or [E, 1]); no partner."""
    config, fleet = params.config, params.fleet
    net = params.generation[state.day, state.step] - params.demand[state.day, state.step]
    acceptable, deliverable = fleet.acceptable(state.energy), fleet.deliverable(state.energy)
    buys = np.broadcast_to(net < 0, acceptable.shape)
    left = np.where(buys, -net - deliverable, net - acceptable)
    possible = np.where(buys, acceptable - net, deliverable + net)
    share = np.divide(left, possible, out=np.zeros_like(left), where=(left > 0) & (possible > 0))
    span = config.max_price - config.min_price
    price = np.where(buys, bid, ask) - config.min_price
    action = np.full((*acceptable.shape, ACTION_SIZE), -1.0)
    action[..., 0] = 2 * price / span - 1 if span > 0 else 0.0
    action[..., 1] = 2 * share - 1
    action[..., 2] = np.where(buys, 1.0, -1.0)
    return action
