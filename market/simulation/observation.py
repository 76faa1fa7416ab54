"""What an agent sees: 16 market signals, 16 own signals, 10 community KPIs, and its anchors' reputations.

Prices are in units of the highest price, an agent's energy in units of its capacity x step_hours, the community's in
units of the summed capacities. Market and community signals tell of the step before; they are zero at the start.
"""

from __future__ import annotations

import numpy as np

from market.clearing.orders import Floats
from market.community.params import Params
from market.simulation.history import StepRecord, ratio
from market.simulation.state import State
from market.support.rng import ERROR_STREAM, uniform

MARKET_SIGNALS = (
    "hour_sine",
    "hour_cosine",
    "elapsed",
    "feed_in_tariff",
    "utility_price",
    "next_feed_in_tariff",
    "next_utility_price",
    "mean_utility_price",
    "last_clearing_price",
    "last_price_over_dso_mid",
    "p2p_volume",
    "dso_buy_volume",
    "dso_sell_volume",
    "generation",
    "demand",
    "bid_surplus",
)
OWN_SIGNALS = (
    "generation",
    "demand",
    "surplus",
    "stored",
    "deliverable",
    "acceptable",
    "next_generation",
    "next_demand",
    "bought_p2p",
    "sold_p2p",
    "filled",
    "imported",
    "exported",
    "saving",
    "reputation",
    "relative_capacity",
)
COMMUNITY_KPIS = (
    "self_sufficiency",
    "self_consumption",
    "p2p_share",
    "cooperation",
    "congestion_mean",
    "congestion_max",
    "welfare",
    "loss_share",
    "mean_reputation",
    "mean_stored",
)
LIMIT = 10.0
"""Observations are clipped to +-LIMIT."""


def observation_size(params: Params) -> int:
    """Numbers that each agent sees; the same for any number of agents."""
    anchors = params.anchors.shape[1] if params.config.enable_partner_preference else 0
    return len(MARKET_SIGNALS) + len(OWN_SIGNALS) + len(COMMUNITY_KPIS) + anchors


def observation(params: Params, state: State) -> Floats:
    """[E, N, observation_size] within +-LIMIT; own signals carry a relative error of at most `max_error`."""
    episodes, agents = state.energy.shape
    market, own, kpis = _market(params, state), _own(params, state), _community(params, state)
    out = np.empty((episodes, agents, observation_size(params)))
    first = len(MARKET_SIGNALS)
    second = first + len(OWN_SIGNALS)
    third = second + len(COMMUNITY_KPIS)
    out[..., :first] = market[:, None]
    error = uniform(params.seed, state.episode, state.step, ERROR_STREAM, agents * len(OWN_SIGNALS))
    error = params.max_error * (2 * error - 1)
    np.multiply(own, 1 + error.reshape(own.shape), out=out[..., first:second])
    out[..., second:third] = kpis[:, None]
    if params.config.enable_partner_preference:
        known = state.reputation[:, np.maximum(params.anchors, 0)]
        out[..., third:] = np.where(params.anchors < 0, 0.0, known)
    return np.clip(out, -LIMIT, LIMIT, out=out)


def _market(params: Params, state: State) -> Floats:
    """Market signals, [E, 16]."""
    t, last = min(state.step, params.max_steps - 1), state.last
    ahead = min(t + 1, params.max_steps - 1)
    top, rated = params.config.max_price, params.capacity.sum() * params.step_hours
    angle = 2 * np.pi * state.step * params.step_hours / 24
    mid = (state.feed_in_tariff[:, t] + state.utility_price[:, t]) / 2
    out = np.zeros((len(state.episode), len(MARKET_SIGNALS)))
    out[:, 0], out[:, 1], out[:, 2] = np.sin(angle), np.cos(angle), state.step / params.max_steps
    out[:, 3], out[:, 4] = state.feed_in_tariff[:, t] / top, state.utility_price[:, t] / top
    out[:, 5], out[:, 6] = state.feed_in_tariff[:, ahead] / top, state.utility_price[:, ahead] / top
    out[:, 7], out[:, 8] = state.utility_price.mean(1) / top, state.last_price / top
    out[:, 9] = (state.last_price - mid) / top
    if last is not None:
        out[:, 10] = last.bought_p2p.sum(1) / rated
        out[:, 11], out[:, 12] = last.to_dso.sum(1) / rated, last.from_dso.sum(1) / rated
        out[:, 13], out[:, 14] = last.generation.sum(1) / rated, last.demand.sum(1) / rated
        out[:, 15] = np.where(last.is_buy, last.ordered, -last.ordered).sum(1) / rated
    return out


def _own(params: Params, state: State) -> Floats:
    """Own signals without measurement error, [E, N, 16]."""
    t, last = min(state.step, params.max_steps - 1), state.last
    ahead = min(t + 1, params.max_steps - 1)
    fleet, rated = params.fleet, params.capacity * params.step_hours
    out = np.zeros((*state.energy.shape, len(OWN_SIGNALS)))
    out[..., 0], out[..., 1] = params.generation[:, t] / rated, params.demand[:, t] / rated
    out[..., 2] = out[..., 0] - out[..., 1]
    out[..., 3] = (state.energy - fleet.low) / np.maximum(fleet.high - fleet.low, 1e-9)
    out[..., 4], out[..., 5] = fleet.deliverable(state.energy) / rated, fleet.acceptable(state.energy) / rated
    out[..., 6], out[..., 7] = params.generation[:, ahead] / rated, params.demand[:, ahead] / rated
    if last is not None:
        local = last.bought_p2p + last.sold_p2p
        out[..., 8], out[..., 9] = last.bought_p2p / rated, last.sold_p2p / rated
        out[..., 10] = ratio(local, last.ordered, 0.0)
        out[..., 11], out[..., 12] = last.imported / rated, last.exported / rated
        out[..., 13] = last.saving / params.reward_scale
    out[..., 14] = state.reputation
    out[..., 15] = params.capacity / params.capacity.mean()
    return out


def _community(params: Params, state: State) -> Floats:
    """Community KPIs of the last step, [E, 10]."""
    last: StepRecord | None = state.last
    out = np.zeros((len(state.episode), len(COMMUNITY_KPIS)))
    if last is not None:
        rated = params.capacity.sum() * params.step_hours
        local, outside = last.bought_p2p.sum(1), (last.from_dso + last.to_dso).sum(1)
        out[:, 0], out[:, 1] = last.self_sufficiency, last.self_consumption
        out[:, 2], out[:, 3] = ratio(2 * local, 2 * local + outside, 0.0), last.cooperation
        out[:, 4] = last.congestion_mean / (1 + last.congestion_mean)  # unbounded, hence squashed
        out[:, 5] = last.congestion_max / (1 + last.congestion_max)
        out[:, 6] = last.social_welfare / (rated * params.config.max_price / 1000)
        out[:, 7] = ratio(last.loss, local, 0.0)
    out[:, 8] = state.reputation.mean(1)
    out[:, 9] = (state.energy - params.fleet.low).sum(1) / max((params.fleet.high - params.fleet.low).sum(), 1e-9)
    return out
