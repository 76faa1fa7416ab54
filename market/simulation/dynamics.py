"""The market as pure functions over arrays of E episodes and N agents: initial(), observe(), step().

A step makes the same number of Python calls for any E and N. Random numbers are hashes of (seed, episode, step), so an
episode in a batch equals the same episode alone, to the last bit.
"""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np

from market.clearing.batch import Cleared, clear_batch
from market.clearing.books import Book
from market.clearing.orders import REPUTATION_STEPS, price_of, sum_by
from market.community.agents import Params
from market.constants import DSO, ENERGY_TICK, NO_PARTNER, PRICE_TICK
from market.grid.power_flow import voltage_deviation
from market.simulation.history import State, StepRecord
from market.simulation.observation import observation
from market.simulation.settlement import settle
from market.support import check
from market.support.arrays import Floats, Ints
from market.support.kernels import kernel
from market.support.phases import phase
from market.support.rng import ARRIVAL_STREAM, DAY_STREAM, permutation, uniform

ACTION_SIZE = 4
"""price, quantity, side, partner; each in [-1, 1]."""
REPUTATION_RATE = 0.1
"""Weight of the newest score in the exponential average of reputation."""
INITIAL_REPUTATION = 0.5
REWARD_LIMIT = 10.0
"""The saving in a reward stays within +-REWARD_LIMIT."""


def initial(params: Params, episode: Ints) -> State:
    """The start of the episodes numbered `episode`, [E]."""
    numbers = check.episodes(episode, ("E",))
    drawn = numbers if params.redraw_tariffs else np.zeros_like(numbers)
    feed_in_tariff, utility_price = params.tariffs.get_price_profiles(
        params.max_steps, params.seed, drawn, params.step_hours
    )
    shape = (len(numbers), params.num_agents)
    return State(
        step=0,
        episode=numbers,
        day=_day(params, numbers),
        feed_in_tariff=feed_in_tariff,
        utility_price=utility_price,
        energy=np.broadcast_to(params.fleet.initial, shape).copy(),
        reputation=np.full(shape, INITIAL_REPUTATION),
        last_price=(feed_in_tariff[:, 0] + utility_price[:, 0]) / 2,
        last=None,
    )


def _day(params: Params, episode: Ints) -> Ints:
    """The day that each episode plays, [E]: drawn from `params.days`, or the first of them."""
    choices = len(params.days) if params.redraw_profiles else 1
    drawn = choices * uniform(params.seed, episode, 0, DAY_STREAM, 1)[:, 0]
    return np.asarray(params.days[drawn.astype(np.int64)])


def observe(params: Params, state: State) -> Floats:
    """What each agent sees, [E, N, observation_size], scaled and within +-10; see `market.simulation.observation`."""
    with phase("observation"):
        return observation(params, state)


def orders(params: Params, state: State, action: Floats) -> Book:
    """The book that `action` [E, N, 4] places; values outside [-1, 1] are clipped. What the four numbers say:

    price: from min_price to max_price.
    quantity: from nothing to all that a seller can deliver (its surplus and its battery) or a buyer can take (its
        deficit and its battery); less than min_quantity is no order.
    side: >= 0 buys.
    partner: in equal parts nobody, the DSO, and the anchors; used with partner preference only.
    """
    config, t, fleet, shape = params.config, state.step, params.fleet, state.energy.shape
    price, reputation = np.empty((2, *shape), np.int64)
    quantity, is_buy = np.empty(shape, np.int32), np.empty(shape, np.bool_)
    net = params.generation[state.day, t] - params.demand[state.day, t]
    limits = (fleet.acceptable(state.energy), fleet.deliverable(state.energy))
    bounds = (config.min_price, config.max_price, config.min_quantity, config.max_quantity)
    _decode(action, net, *limits, bounds, state.reputation, price, quantity, is_buy, reputation)
    draw = t + 1 if params.asynchronous else 0
    return Book(
        price=price,
        quantity=quantity,
        is_buy=is_buy,
        reputation=reputation,
        by_arrival=permutation(params.seed, state.episode, draw, ARRIVAL_STREAM, shape[1]),
        agent=np.empty((shape[0], 0), np.int64),
        node=None if params.grid is None else np.broadcast_to(params.node, shape),
        partner=_partner(params, np.clip(action[..., 3], -1.0, 1.0)) if config.enable_partner_preference else None,
    )


@kernel
def _decode(  # type: ignore[no-untyped-def]
    action, net, acceptable, deliverable, bounds, standing, price, quantity, is_buy, reputation
):
    """Fills what `orders` makes of the first three numbers and the reputation [E, N]; all in ticks.

    net: generation less demand, kWh. acceptable, deliverable: of the batteries, kWh. standing: in [0, 1]. bounds:
    lowest and highest price, $/MWh, smallest and largest quantity, kWh.
    """
    low, high, least, most = bounds
    for e in range(len(net)):
        for i in range(net.shape[1]):
            level, share, side = action[e, i, 0], action[e, i, 1], action[e, i, 2]
            buys = side >= 0
            can = max(acceptable[e, i] - net[e, i] if buys else deliverable[e, i] + net[e, i], 0.0)
            wanted = min((min(max(share, -1.0), 1.0) + 1) / 2 * can, most)
            worth = low + (min(max(level, -1.0), 1.0) + 1) / 2 * (high - low)
            is_buy[e, i], price[e, i] = buys, np.int64(np.rint(worth / PRICE_TICK))
            quantity[e, i] = np.int32(np.floor(wanted / ENERGY_TICK)) if wanted >= least else 0
            reputation[e, i] = np.int64(np.rint(standing[e, i] * REPUTATION_STEPS))


def _partner(params: Params, action: Floats) -> Ints:
    """The partner that each order names, [E, N]: an agent, DSO or NO_PARTNER; an empty anchor is nobody."""
    agents, anchors = params.anchors.shape
    options = np.full((agents, anchors + 2), NO_PARTNER)
    options[:, 1] = DSO
    options[:, 2:] = np.where(params.anchors < 0, NO_PARTNER, params.anchors)
    choice = np.minimum(((action + 1) / 2 * (anchors + 2)).astype(np.int64), anchors + 1)
    return np.asarray(options[np.arange(agents), choice])


def step(params: Params, state: State, action: Floats) -> tuple[State, Floats, StepRecord]:
    """One step of E episodes: place orders, clear, settle, reward.

    action: [E, N, 4], not checked; see `market.evaluation.policies.check_actions`.

    Returns the next state, the reward of each agent [E, N], and the record. The reward is the agent's saving against
    the DSO alone, in units of `reward_scale` and within +-REWARD_LIMIT, plus cooperation_weight x the community's
    score.
    """
    t = state.step
    if t >= params.max_steps:
        raise ValueError(f"step: got step {t} of an episode that is over; allowed: 0 to {params.max_steps - 1}")
    book = orders(params, state, action)
    feed_in, utility = state.feed_in_tariff[:, t], state.utility_price[:, t]
    with phase("clearing"):
        cleared = clear_batch(book, params.config, feed_in, utility, state.last_price, params.grid, params.step_hours)
    with phase("settlement"):
        generation, demand = params.generation[state.day, t], params.demand[state.day, t]
        settled = settle(cleared, book.is_buy, generation, demand, state.energy, params.fleet, feed_in, utility)
    record = _record(params, state, book, cleared, settled)
    reward = _reward(params, record.saving / params.reward_scale, record.cooperation[:, None])
    price = np.where(np.isnan(record.clearing_price), state.last_price, record.clearing_price)
    reputation = _reputation(params, state, price_of(book.price), price, record)
    following = copy(state)  # half the time of `replace`
    vars(following).update(step=t + 1, energy=record.energy, reputation=reputation, last_price=price, last=record)
    return following, reward, record


def team_reward(params: Params, record: StepRecord) -> Floats:
    """The reward of a community [E]: its saving in one unit for all, and the cooperation score.

    The mean of the agents' own rewards would not do: their units differ, so money that moves from an agent with a large
    unit to one with a small unit would count as a gain.
    """
    return _reward(params, record.saving.sum(1) / params.reward_scale.sum(), record.cooperation)


def _reward(params: Params, saving: Floats, cooperation: Floats) -> Floats:
    """Saving in units of reward_scale, within +-REWARD_LIMIT, and the cooperation score by its weight."""
    return np.minimum(np.maximum(saving, -REWARD_LIMIT), REWARD_LIMIT) + params.cooperation_weight * cooperation


def storage_value(params: Params, state: State) -> Floats:
    """What a stored kWh is worth at the end, [E, N] $/MWh: delivered at the episode's mean feed-in tariff."""
    return state.mean_prices[0][:, None] * params.fleet.discharge_efficiency


def _record(params: Params, state: State, book: Book, cleared: Cleared, settled: dict[str, Any]) -> StepRecord:
    """The step's record, with the saving of each agent against the DSO alone."""
    t, day, alone = state.step, state.day, params.alone
    feed_in, utility = state.feed_in_tariff[:, t], state.utility_price[:, t]
    alone_cost = (alone.imported[day, t] * utility[:, None] - alone.exported[day, t] * feed_in[:, None]) / 1000
    more_stored = (settled["energy"] - state.energy) - (alone.stored[day, t + 1] - alone.stored[day, t])
    shape, network, feeder = book.is_buy.shape, cleared.network, params.feeder
    nothing, deviation = np.zeros(shape[0]), np.full(shape[0], np.nan)
    if feeder is not None:  # what agents generate, use and store decides the voltages; trades decide who pays
        fed_in = settled["generation"] - settled["demand"] + settled["discharged"] - settled["charged"]
        deviation = voltage_deviation(feeder, params.node, fed_in, params.step_hours)
    return StepRecord(
        **settled,
        is_buy=book.is_buy,
        alone_cost=alone_cost,
        saving=alone_cost - settled["cost"] + storage_value(params, state) * more_stored / 1000,
        feed_in_tariff=feed_in,
        utility_price=utility,
        clearing_price=cleared.clearing_price,
        social_welfare=cleared.social_welfare,
        budget_surplus=cleared.budget_surplus,
        loss=nothing if network is None else sum_by(cleared.market, network.loss, shape[0]),
        congestion_mean=nothing if network is None else network.routing.mean,
        congestion_max=nothing if network is None else network.routing.max,
        overloaded_hours=nothing if network is None else network.routing.overloaded_hours,
        voltage_deviation=deviation,
        cleared=cleared,
    )


def _reputation(params: Params, state: State, limit: Floats, price: Floats, record: StepRecord) -> Floats:
    """Reputation after the step, [E, N] in [0, 1]: for agents with an order, an exponential average of three scores.

    limit: price of each order [E, N]. price: last clearing price [E]. Both $/MWh.

    fill: share of the order traded with peers. fairness: nearness of the limit price to the clearing price.
    contribution: share of the agent's exchange that stayed within the community.
    """
    local, outside = record.bought_p2p + record.sold_p2p, record.from_dso + record.to_dso
    span = max(params.config.max_price - params.config.min_price, 1e-9)
    reputation = state.reputation.copy()
    _score(local, outside, record.ordered, limit, price, span, reputation)
    return reputation


@kernel
def _score(local, outside, ordered, limit, price, span, reputation):  # type: ignore[no-untyped-def]
    """Moves the reputation [E, N] of agents with an order towards their score; see `_reputation`."""
    for e in range(len(local)):
        for i in range(local.shape[1]):
            if ordered[e, i] > 0:
                exchanged = local[e, i] + outside[e, i]
                contribution = local[e, i] / exchanged if exchanged > 0 else 1.0
                fairness = 1 - min(abs(limit[e, i] - price[e]) / span, 1.0)
                score = (min(local[e, i] / ordered[e, i], 1.0) + fairness + contribution) / 3
                reputation[e, i] += REPUTATION_RATE * (score - reputation[e, i])
