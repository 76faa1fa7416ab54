"""Slow twin of `market.simulation.observation`: the same numbers column by column, each array operation by itself."""

from __future__ import annotations

from typing import Any

import numpy as np

from market.community.agents import Params
from market.simulation.history import PER_COMMUNITY, State, ratio
from market.support.arrays import Floats
from market.support.rng import ERROR_STREAM, uniform


class _Nothing:
    """The record before the first step: zero in every field, [1, 1] or [1]."""

    def __getattr__(self, name: str) -> Floats:
        return np.zeros(1 if name in PER_COMMUNITY else (1, 1))


def observation(params: Params, state: State, size: int) -> Floats:
    """[E, N, observation_size] within +-LIMIT; own signals carry a relative error of at most `max_error`."""
    episodes, agents = state.energy.shape
    out = np.empty((episodes, agents, size))
    out[..., :16] = _columns(market_signals(params, state), (episodes, 1))
    own = _columns(own_signals(params, state), (episodes, agents))
    error = uniform(params.seed, state.episode, state.step, ERROR_STREAM, agents * 16)
    error = params.max_error * (2 * error - 1)
    np.multiply(own, 1 + error.reshape(own.shape), out=out[..., 16:32])
    out[..., 32:42] = _columns(community_kpis(params, state), (episodes,))[:, None]
    if params.config.enable_partner_preference:
        known = state.reputation[:, np.maximum(params.anchors, 0)]
        out[..., 42:] = np.where(params.anchors < 0, 0.0, known)
    return np.clip(out, -10.0, 10.0, out=out)


def _columns(signals: dict[str, Any], shape: tuple[int, ...]) -> Floats:
    """The signals side by side, [*shape, number of signals]."""
    out = np.empty((*shape, len(signals)))
    for place, signal in enumerate(signals.values()):
        out[..., place] = signal
    return out


def market_signals(params: Params, state: State) -> dict[str, Any]:
    """What all agents know of the market, name -> a number or [E, 1]."""
    t = min(state.step, params.max_steps - 1)
    ahead = min(t + 1, params.max_steps - 1)
    last: Any = state.last or _Nothing()
    top, rated = params.config.max_price, params.capacity.sum() * params.step_hours
    angle = 2 * np.pi * state.step * params.step_hours / 24
    feed_in, utility, price = state.feed_in_tariff, state.utility_price, state.last_price[:, None]

    def total(energy: Floats) -> Floats:
        return energy.sum(1, keepdims=True) / rated

    return {
        "hour_sine": np.sin(angle),
        "hour_cosine": np.cos(angle),
        "elapsed": state.step / params.max_steps,
        "feed_in_tariff": feed_in[:, t, None] / top,
        "utility_price": utility[:, t, None] / top,
        "next_feed_in_tariff": feed_in[:, ahead, None] / top,
        "next_utility_price": utility[:, ahead, None] / top,
        "mean_utility_price": utility.mean(1, keepdims=True) / top,
        "last_clearing_price": price / top,
        "last_price_over_dso_mid": (price - (feed_in[:, t, None] + utility[:, t, None]) / 2) / top,
        "p2p_volume": total(last.bought_p2p),
        "dso_buy_volume": total(last.to_dso),
        "dso_sell_volume": total(last.from_dso),
        "generation": total(last.generation),
        "demand": total(last.demand),
        "bid_surplus": total(np.where(last.is_buy, last.ordered, -last.ordered)),
    }


def own_signals(params: Params, state: State) -> dict[str, Any]:
    """What each agent knows of itself, without measurement error, name -> [E, N], or [N] if it never changes."""
    t = min(state.step, params.max_steps - 1)
    ahead = min(t + 1, params.max_steps - 1)
    last: Any = state.last or _Nothing()
    fleet, rated = params.fleet, params.capacity * params.step_hours
    generation, demand = params.generation[state.day, t] / rated, params.demand[state.day, t] / rated
    return {
        "generation": generation,
        "demand": demand,
        "surplus": generation - demand,
        "stored": (state.energy - fleet.low) / np.maximum(fleet.high - fleet.low, 1e-9),
        "deliverable": fleet.deliverable(state.energy) / rated,
        "acceptable": fleet.acceptable(state.energy) / rated,
        "next_generation": params.generation[state.day, ahead] / rated,
        "next_demand": params.demand[state.day, ahead] / rated,
        "bought_p2p": last.bought_p2p / rated,
        "sold_p2p": last.sold_p2p / rated,
        "filled": ratio(last.bought_p2p + last.sold_p2p, last.ordered, 0.0),
        "imported": last.imported / rated,
        "exported": last.exported / rated,
        "saving": last.saving / params.reward_scale,
        "reputation": state.reputation,
        "relative_capacity": params.capacity / params.capacity.mean(),
    }


def community_kpis(params: Params, state: State) -> dict[str, Any]:
    """How the community fared in the last step, name -> [E]."""
    last: Any = state.last or _Nothing()
    rated, fleet = params.capacity.sum() * params.step_hours, params.fleet
    local, outside = last.bought_p2p.sum(1), (last.from_dso + last.to_dso).sum(1)
    return {
        "self_sufficiency": last.self_sufficiency,
        "self_consumption": last.self_consumption,
        "p2p_share": ratio(2 * local, 2 * local + outside, 0.0),
        "cooperation": last.cooperation,
        "congestion_mean": last.congestion_mean / (1 + last.congestion_mean),  # unbounded, hence squashed
        "congestion_max": last.congestion_max / (1 + last.congestion_max),
        "welfare": last.social_welfare / (rated * params.config.max_price / 1000),
        "loss_share": ratio(last.loss, local, 0.0),
        "mean_reputation": state.reputation.mean(1),
        "mean_stored": (state.energy - fleet.low).sum(1) / max((fleet.high - fleet.low).sum(), 1e-9),
    }
