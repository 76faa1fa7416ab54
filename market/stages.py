"""Stages 1 and 2 of clearing, partners and price-time priority, for E markets at once and in integer ticks.

`clear_batch` is what `market.clearing.clear` and the simulation share; the DSO, stage 3, serves what it leaves.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from market.config import DSO, PRICE_TICK, MarketConfig
from market.grid import Grid, Routing, route
from market.matching import ARRIVAL_MASK, EMPTY, _interval, _merge, _pack, _partner_matches, _sides
from market.orders import Bools, Floats, Ints, Trades, capacity_ticks, energy_of, price_of, sum_by
from market.pricing import RULES, Pairs
from market.reduction import _reduce

UNLIMITED = np.iinfo(np.int64).max // 4


@dataclass(frozen=True, eq=False)
class Book:
    """E books of N orders in ticks, all arrays [E, N]: what `clear_batch` takes. Nothing is checked.

    price: 0.01 $/MWh. quantity: Wh, 0 is no order. is_buy. reputation: 0..65535. by_arrival: order positions, earliest
    first. agent: ids. node: grid nodes. partner: agent ids, DSO or NO_PARTNER; None when nobody names anybody.
    """

    price: Ints
    quantity: Ints
    is_buy: Bools
    reputation: Ints
    by_arrival: Ints
    agent: Ints
    node: Ints
    partner: Ints | None = None


@dataclass(frozen=True, eq=False)
class Cleared:
    """Stages 1 and 2 of E markets, K trades in all, market by market.

    trades: the K trades. bid_order, ask_order: flat order positions [K]. market: [K]. value: of each trade, $ [K].
    left: ticks that stage 3 will serve [E, N].
    clearing_price: quantity-weighted mean price [E], $/MWh, nan without trades. volume: kWh [E].
    social_welfare: $ [E]. budget_surplus: $ [E]. lower, upper: interval of clearing prices [E], $/MWh, nan without.
    routing: congestion of the grid; None without one.
    """

    trades: Trades
    bid_order: Ints
    ask_order: Ints
    market: Ints
    left: Ints
    clearing_price: Floats
    volume: Floats
    social_welfare: Floats
    budget_surplus: Floats
    lower: Floats
    upper: Floats
    routing: Routing | None


@njit(cache=True, nogil=True)
def _match(  # type: ignore[no-untyped-def]
    keys,
    by_arrival,
    agent,
    left,
    capacity,
    low,
    high,
    reduction,
    partner_matches,
    partner_start,
    trades,
    stage,
    offsets,
    prices,
):
    """Stages 1 and 2 of E markets. keys, by_arrival, agent, left: [E, N]; capacity: ticks per market.

    partner_matches [3, M]: (bid, ask, energy) of stage 1 in serving order, flat positions; market e has
    partner_start[e]:partner_start[e+1]. Writes trades [3, E*N] (flat bid, flat ask, energy), stage [E*N], offsets [E+1]
    and prices [E, 2]: the interval of clearing prices in ticks, nan where stage 2 is empty.
    """
    size = keys.shape[1]
    count = 0
    bids, asks, energies = trades[0], trades[1], trades[2]
    for e in range(keys.shape[0]):
        offsets[e] = count
        room = capacity
        rest = left[e]
        for m in range(partner_start[e], partner_start[e + 1]):
            energy = min(partner_matches[2, m], room)
            if energy == 0:
                break
            bids[count], asks[count], energies[count] = partner_matches[0, m], partner_matches[1, m], energy
            stage[count] = 1
            count += 1
            room -= energy
            rest[partner_matches[0, m] - e * size] -= energy
            rest[partner_matches[1, m] - e * size] -= energy
        first = count
        start, end = _sides(keys[e])
        prices[e] = np.nan
        if reduction:
            count, prices[e, 0], prices[e, 1] = _reduce(
                keys[e], start, end, by_arrival[e], rest, agent[e], room, low, high, count, bids, asks, energies
            )
        else:
            count, last_bid, last_ask, _ = _merge(
                keys[e], start, end, by_arrival[e], rest, room, count, bids, asks, energies
            )
            if last_bid >= 0:
                prices[e, 0], prices[e, 1] = _interval(keys[e], start, end, by_arrival[e], rest, last_bid, last_ask)
        for k in range(first, count):
            bids[k] += e * size
            asks[k] += e * size
            stage[k] = 2
    offsets[keys.shape[0]] = count


def _partners(book: Book, keys: NDArray[np.uint64]) -> tuple[Ints, Ints]:
    """Matches of stage 1 in serving order, (bid, ask, energy) [3, M], flat positions; and each market's start [E+1]."""
    markets, size = keys.shape
    assert book.partner is not None
    market, place = np.nonzero(keys != EMPTY)
    order = (
        book.by_arrival[market, keys[market, place] & np.uint64(ARRIVAL_MASK)] + market * size
    )  # flat, in rank order
    rank = np.empty(markets * size, np.int64)
    rank[order] = place
    mine, theirs = book.agent.ravel()[order], book.partner.ravel()[order]
    naming = theirs >= 0
    order, mine, theirs = order[naming], mine[naming], theirs[naming]
    people = int(max(mine.max(initial=0), theirs.max(initial=0))) + 1
    pair = (order // size * people + np.minimum(mine, theirs)) * people + np.maximum(mine, theirs)
    grouped = np.argsort(pair, kind="stable")  # keeps the rank order, hence bids before asks
    order, pair = order[grouped], pair[grouped]
    start = (
        np.flatnonzero(np.concatenate(([True], pair[1:] != pair[:-1], [True]))) if len(pair) else np.zeros(1, np.int64)
    )
    out = np.empty((4, len(order)), np.int64)
    count = _partner_matches(order, start, book.price.ravel(), book.quantity.ravel(), book.is_buy.ravel(), out)
    bid, ask, energy, surplus = out[:, :count]
    market = bid // size
    serving = np.lexsort((rank[ask], rank[bid], -surplus, market))
    matches = np.stack((bid, ask, energy))[:, serving]
    return matches, np.searchsorted(market[serving], np.arange(markets + 1))


def clear_batch(
    book: Book,
    config: MarketConfig,
    feed_in_tariff: Floats,
    utility_price: Floats,
    last_price: Floats,
    grid: Grid | None,
    step_hours: float,
) -> Cleared:
    """Stages 1 and 2 of E markets at once. feed_in_tariff, utility_price, last_price: [E] $/MWh. Checks nothing."""
    markets, size = book.price.shape
    left = book.quantity.copy()
    active = left > 0
    if book.partner is not None:
        active &= book.partner != DSO
    keys = np.empty((markets, size), np.uint64)
    _pack(book.price, book.is_buy, active, book.reputation, book.by_arrival, keys)
    keys.sort(axis=1)
    partner_matches, partner_start = np.empty((3, 0), np.int64), np.zeros(markets + 1, np.int64)
    if book.partner is not None:
        partner_matches, partner_start = _partners(book, keys)
    rule = RULES[config.price_mechanism]
    matched, stage = np.empty((3, markets * size), np.int64), np.empty(markets * size, np.int8)
    offsets, ticks = np.empty(markets + 1, np.int64), np.empty((markets, 2))
    capacity = UNLIMITED if grid is None else capacity_ticks(grid.capacity, step_hours)
    low, high = config.min_price / PRICE_TICK, config.max_price / PRICE_TICK
    _match(
        keys,
        book.by_arrival,
        book.agent,
        left,
        capacity,
        low,
        high,
        rule.reduces_trade,
        partner_matches,
        partner_start,
        matched,
        stage,
        offsets,
        ticks,
    )
    count = offsets[-1]
    bid_order, ask_order, energy = matched[0, :count], matched[1, :count], energy_of(matched[2, :count])
    stage = stage[:count]
    market = np.repeat(np.arange(markets), np.diff(offsets))
    bid, ask = (price_of(book.price.ravel()[side]) for side in (bid_order, ask_order))
    lower, upper = price_of(ticks.T)
    pairs = Pairs(
        bid=bid,
        ask=ask,
        market=market,
        book=stage == 2,
        spread_share=config.spread_share,
        feed_in_tariff=feed_in_tariff,
        utility_price=utility_price,
        last_price=last_price,
        lower=lower,
        upper=upper,
    )
    price = rule.price(pairs)
    seller_price = price if rule.seller_price is None else rule.seller_price(pairs)
    value = energy * price / 1000

    def total(amount: Floats) -> Floats:
        return sum_by(market, amount, markets)

    volume, paid = total(energy), total(value)
    clearing_price = np.divide(paid * 1000, volume, out=np.full(markets, np.nan), where=volume > 0)
    distance, loss, fee, routing = _network(
        book, config, grid, bid_order, ask_order, energy, value, offsets, utility_price[market], step_hours
    )
    agent = book.agent.ravel()
    return Cleared(
        trades=Trades(agent[bid_order], agent[ask_order], price, seller_price, energy, stage, distance, loss, fee),
        bid_order=bid_order,
        ask_order=ask_order,
        market=market,
        left=left,
        clearing_price=clearing_price,
        volume=volume,
        social_welfare=total(energy * (bid - ask) / 1000),
        budget_surplus=paid - total(energy * seller_price / 1000) if rule.reduces_trade else np.zeros(markets),
        lower=lower,
        upper=upper,
        routing=routing,
    )


def _network(
    book: Book,
    config: MarketConfig,
    grid: Grid | None,
    bid_order: Ints,
    ask_order: Ints,
    energy: Floats,
    value: Floats,
    offsets: Ints,
    utility_price: Floats,
    step_hours: float,
) -> tuple[Floats, Floats, Floats, Routing | None]:
    """Distance km, loss kWh and fee $ of each trade [K], and the congestion they cause; zeros without a grid.

    The DSO supplies what is lost, 1 - exp(-loss_rate d) of the energy, and charges it at the utility price; congestion,
    distance and the same-zone discount are shares of the trade's value; the fee stays within [0, max_fee x value].
    """
    if grid is None:
        nothing = np.zeros(len(energy))
        return nothing, nothing, nothing, None
    nodes = book.node.ravel()
    buyer_node, seller_node = nodes[bid_order], nodes[ask_order]
    routing = route(grid, seller_node, buyer_node, energy, offsets, step_hours)
    distance = grid.distance[seller_node, buyer_node]
    loss = -np.expm1(-config.loss_rate * distance) * energy
    share = config.congestion_fee * np.minimum(routing.utilisation, 1.0)
    if grid.diameter > 0:
        share += config.distance_fee / grid.diameter * distance
    share -= config.zone_discount * (grid.zone[seller_node] == grid.zone[buyer_node])
    fee = np.clip(loss * utility_price / 1000 + value * share, 0.0, config.max_fee * value)
    return distance, loss, fee, routing
