"""What an agent sees: market signals, own signals, community KPIs, and its anchors' reputations.

Prices are in units of the highest price, an agent's energy in units of its capacity x step_hours, the community's in
units of the summed capacities. What happened in the step before is zero at the start.
"""

from __future__ import annotations

import numpy as np

from market.community.agents import Params
from market.simulation.history import State
from market.simulation.settlement import Account
from market.support.arrays import Floats
from market.support.kernels import kernel
from market.support.rng import ERROR_STREAM, uniform

MARKET_SIGNALS, OWN_SIGNALS, COMMUNITY_KPIS = 16, 16, 10
"""How many numbers tell of the market, of each agent (with an error of measurement), and of how the last step went."""
KPIS_AT = MARKET_SIGNALS + OWN_SIGNALS
ANCHORS_AT = KPIS_AT + COMMUNITY_KPIS
"""Where the community KPIs and the anchors' reputations begin in an observation."""
LIMIT = 10.0
"""Observations are clipped to +-LIMIT."""


def observation_size(params: Params) -> int:
    """Numbers that each agent sees; the same for any number of agents."""
    anchors = params.anchors.shape[1] if params.config.enable_partner_preference else 0
    return ANCHORS_AT + anchors


@kernel(inline="always")
def _share(part, whole):  # type: ignore[no-untyped-def]
    """part / whole within [0, 1], 0 where the whole is zero: `market.simulation.history.ratio`."""
    return min(max(part / whole, 0.0), 1.0) if whole > 0 else 0.0


@kernel
def _observe(steps, clock, prices, community, kpis, sums, last, saving, agents, fleet, profiles, error, anchors, out):  # type: ignore[no-untyped-def]
    """out: observations [E, N, size].

    steps: of the tariffs now and next. clock: hour_sine, hour_cosine, elapsed. prices: feed-in and utility [E, T], mean
    utility and last clearing price [E], highest. community: rated energy, welfare and capacity of all, most stored.
    kpis: as said in `observation`, [E] each. sums, last: the last step's Accounts, of all and of each agent.
    saving: [E, N]. agents: rated energy, capacity and reward scale [N]. fleet: as in `settle`, and what is stored
    [E, N]. profiles: generation and demand [D, T, N], day [E]. error: [E, N x own signals], uniform, and the largest.
    """
    t, ahead = steps
    feed_in, utility, mean_utility, price, top = prices
    rated_sum, welfare_sum, capacity_mean, stored_sum = community
    sufficiency, consumption, cooperation, congestion_mean, congestion_max, welfare, loss, trusted, charge = kpis
    rated, capacity, reward_scale, reputation = agents
    low, high, charge_efficiency, discharge_efficiency, limit, energy = fleet
    generation, demand, day = profiles
    draws, most = error
    for e in range(out.shape[0]):
        middle, local = (feed_in[e, t] + utility[e, t]) / 2, 2 * sums.bought_p2p[e]
        market = (
            *(clock[0], clock[1], clock[2], feed_in[e, t] / top, utility[e, t] / top, feed_in[e, ahead] / top),
            *(utility[e, ahead] / top, mean_utility[e] / top, price[e] / top, (price[e] - middle) / top),
            *(sums.bought_p2p[e] / rated_sum, sums.to_dso[e] / rated_sum, sums.from_dso[e] / rated_sum),
            *(sums.generation[e] / rated_sum, sums.demand[e] / rated_sum, sums.bid_surplus[e] / rated_sum),
        )
        community_kpis = (
            *(sufficiency[e], consumption[e], _share(local, local + sums.exchanged[e]), cooperation[e]),
            *(congestion_mean[e] / (1 + congestion_mean[e]), congestion_max[e] / (1 + congestion_max[e])),
            *(welfare[e] / welfare_sum, _share(loss[e], sums.bought_p2p[e]), trusted[e], charge[e] / stored_sum),
        )  # congestion is unbounded, hence squashed
        made, used = generation[day[e]], demand[day[e]]
        for i in range(out.shape[1]):
            seen, size, held = out[e, i], rated[i], energy[e, i]
            bought, sold = last.bought_p2p[e, i], last.sold_p2p[e, i]
            acceptable = min(max(high[i] - held, 0.0) / charge_efficiency[i], limit[i])
            deliverable = min(max(held - low[i], 0.0) * discharge_efficiency[i], limit[i])
            own = (
                *(made[t, i] / size, used[t, i] / size, made[t, i] / size - used[t, i] / size),
                *((held - low[i]) / max(high[i] - low[i], 1e-9), deliverable / size, acceptable / size),
                *(made[ahead, i] / size, used[ahead, i] / size, bought / size, sold / size),
                *(_share(bought + sold, last.ordered[e, i]), last.imported[e, i] / size, last.exported[e, i] / size),
                *(saving[e, i] / reward_scale[i], reputation[e, i], capacity[i] / capacity_mean),
            )
            for k in range(MARKET_SIGNALS):
                seen[k] = market[k]
            for k in range(OWN_SIGNALS):
                seen[MARKET_SIGNALS + k] = own[k] * (1 + most * (2 * draws[e, i * OWN_SIGNALS + k] - 1))
            for k in range(COMMUNITY_KPIS):
                seen[KPIS_AT + k] = community_kpis[k]
            for k in range(len(seen) - ANCHORS_AT):
                seen[ANCHORS_AT + k] = reputation[e, anchors[i, k]] if anchors[i, k] >= 0 else 0.0
            for k in range(ANCHORS_AT):
                seen[k] = min(max(seen[k], -LIMIT), LIMIT)


def observation(params: Params, state: State) -> Floats:
    """[E, N, observation_size] within +-LIMIT; own signals carry a relative error of at most `max_error`."""
    shape, fleet, last, config = state.energy.shape, params.fleet, state.last, params.config
    t = min(state.step, params.max_steps - 1)
    angle = 2 * np.pi * state.step * params.step_hours / 24
    feed_in, utility, capacity = state.feed_in_tariff, state.utility_price, params.capacity.sum()
    rated, room = capacity * params.step_hours, max((fleet.high - fleet.low).sum(), 1e-9)
    if last is None:
        sums, account = (Account(*np.zeros((len(Account._fields), *shape[:axes]))) for axes in (1, 2))
        saving, kpis = account.cost, (sums.cost,) * 7
    else:
        sums, account, saving = last.sums, last.account, last.saving
        scores = (last.self_sufficiency, last.self_consumption, last.cooperation)
        kpis = (*scores, last.congestion_mean, last.congestion_max, last.social_welfare, last.loss)
    out = np.empty((*shape, observation_size(params)))
    _observe(
        (t, min(t + 1, params.max_steps - 1)),
        (np.sin(angle), np.cos(angle), state.step / params.max_steps),
        (feed_in, utility, state.mean_prices[1], state.last_price, float(config.max_price)),
        (rated, rated * config.max_price / 1000, capacity / shape[1], room),
        (*kpis, state.reputation.mean(1), (state.energy - fleet.low).sum(1)),
        sums,
        account,
        saving,
        (params.capacity * params.step_hours, params.capacity, params.reward_scale, state.reputation),
        (fleet.low, fleet.high, fleet.charge_efficiency, fleet.discharge_efficiency, fleet.step_limit, state.energy),
        (params.generation, params.demand, state.day),
        (uniform(params.seed, state.episode, state.step, ERROR_STREAM, shape[1] * OWN_SIGNALS), params.max_error),
        params.anchors,
        out,
    )
    return out
