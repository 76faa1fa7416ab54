"""Stages 1 and 2 of clearing, partners and price-time priority, for E markets at once and in integer ticks.

`clear_batch` is what `market.clearing.clear` and the simulation share; the DSO, stage 3, serves what it leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numba import njit
from numpy.typing import NDArray

from market.books import Book, Packed
from market.config import MarketConfig
from market.grid import Grid, Routing, route
from market.matching import PER_KWH, PER_PRICE, _gather, _interval, _merge, _sides
from market.orders import Floats, Ints, capacity_ticks, energy_of, price_of, sum_by
from market.partners import _serve_partners, partner_matches
from market.pricing import RULES, Pairs
from market.reduction import _reduce

UNLIMITED = np.iinfo(np.int64).max // 4


@dataclass(frozen=True, eq=False)
class Cleared:
    """Stages 1 and 2 of E markets of N orders, K trades in all, market by market.

    bid_order, ask_order: flat order positions [K]. ticks: energy [K], Wh. stage: 1 partners, 2 book [K]. market: [K].
    price, seller_price: what the buyer pays and the seller gets [K], $/MWh. energy: [K], kWh.
    clearing_price: quantity-weighted mean price [E], $/MWh, nan without trades. volume: kWh [E].
    social_welfare: $ [E]. budget_surplus: $ [E]. lower, upper: interval of clearing prices [E], $/MWh, nan without.
    network: losses, fees and congestion; None without a grid. quantity: of the orders, Wh [E, N].
    """

    bid_order: Ints
    ask_order: Ints
    ticks: Ints
    stage: NDArray[np.int8]
    market: Ints
    price: Floats
    seller_price: Floats
    energy: Floats
    clearing_price: Floats
    volume: Floats
    social_welfare: Floats
    budget_surplus: Floats
    lower: Floats
    upper: Floats
    network: Network | None
    quantity: Ints

    @cached_property
    def left(self) -> Ints:
        """Ticks that stage 3 will serve, [E, N]."""
        left = self.quantity.copy()
        _deduct(left.ravel(), self.bid_order, self.ask_order, self.ticks)
        return left


@dataclass(frozen=True, eq=False)
class Network:
    """What the grid makes of K trades: distance km, loss kWh, fee $, [K]; and the congestion of E markets."""

    distance: Floats
    loss: Floats
    fee: Floats
    routing: Routing


@njit(cache=True, nogil=True)
def _deduct(left, bid_order, ask_order, ticks):  # type: ignore[no-untyped-def]
    """Take what traded [K] off both orders; left: flat."""
    for k in range(len(ticks)):
        left[bid_order[k]] -= ticks[k]
        left[ask_order[k]] -= ticks[k]


@njit(cache=True, nogil=True)
def _match(  # type: ignore[no-untyped-def]
    keys, by_arrival, agent, left, capacity, bounds, reduction, partners, trades, totals
):
    """Stages 1 and 2 of E markets. keys (sorted), left: [E, N]; by_arrival, agent: [E, N] or [E, 0]; capacity: ticks.

    bounds: lowest and highest price in ticks. partners: matches of stage 1 [3, M] and their prices [2, M] in serving
    order, and where each market's begin [E+1]. Writes trades: orders [3, E N] (flat bid, flat ask, ticks), prices
    [2, E N], stage [E N] and offsets [E+1]; and totals [E, 3]: gains from trade in price x energy ticks, and the
    interval of clearing prices in ticks, nan where stage 2 is empty. `left` is reduced by stage 1 alone.
    """
    (matches, match_prices, starts), (orders, prices, stage, offsets) = partners, trades
    size = keys.shape[1]
    energy = np.empty(size + 1, np.int64)
    count = 0
    for e in range(keys.shape[0]):
        offsets[e] = count
        base = e * size
        count, room, gains = _serve_partners(
            matches, match_prices, starts[e], starts[e + 1], capacity, base, left[e], count, orders, prices
        )
        stage[offsets[e] : count] = 1
        first = count
        asks, end = _sides(keys[e])
        _gather(keys[e], end, by_arrival[e], left[e], energy)
        lower = upper = np.nan
        if reduction:
            count, more, lower, upper = _reduce(
                keys[e], energy, asks, end, room, by_arrival[e], agent[e], bounds, base, count, orders, prices
            )
        else:
            count, bid, ask, last_bid, last_ask, more = _merge(
                keys[e], energy, asks, end, room, by_arrival[e], base, count, orders, prices
            )
            if last_bid >= 0:
                lower, upper = _interval(keys[e], energy, asks, end, bid, ask, last_bid, last_ask)
        stage[first:count] = 2
        totals[e, 0], totals[e, 1], totals[e, 2] = gains + more, lower, upper
    offsets[keys.shape[0]] = count


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
    return clear_packed(book.packed(), config, (feed_in_tariff, utility_price, last_price), grid, step_hours)


def clear_packed(
    book: Packed, config: MarketConfig, tariffs: tuple[Floats, Floats, Floats], grid: Grid | None, step_hours: float
) -> Cleared:
    """`clear_batch` of books that are packed already. tariffs: feed-in tariff, utility price, last price."""
    feed_in_tariff, utility_price, last_price = tariffs
    markets, size = book.keys.shape
    book.keys.sort(axis=1)
    partners = partner_matches(book)
    left = book.quantity if book.partner is None else book.quantity.copy()
    rule = RULES[config.price_mechanism]
    orders, prices = np.empty((3, markets * size), np.int64), np.empty((2, markets * size))
    stage, offsets, totals = np.empty(markets * size, np.int8), np.empty(markets + 1, np.int64), np.empty((markets, 3))
    capacity = UNLIMITED if grid is None else capacity_ticks(grid.capacity, step_hours)
    bounds = (config.min_price * PER_PRICE, config.max_price * PER_PRICE)
    trades = (orders, prices, stage, offsets)
    _match(book.keys, book.by_arrival, book.agent, left, capacity, bounds, rule.reduces_trade, partners, trades, totals)
    count = offsets[-1]
    bid_order, ask_order, ticks = orders[:, :count]
    energy, stage = energy_of(ticks), stage[:count]
    market = np.repeat(np.arange(markets), np.diff(offsets))
    lower, upper = price_of(totals[:, 1]), price_of(totals[:, 2])
    pairs = Pairs(
        bid=prices[0, :count],
        ask=prices[1, :count],
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
    volume, paid = energy_of(sum_by(market, ticks, markets)), sum_by(market, value, markets)
    network = None
    if grid is not None:
        network = _network(
            book, config, grid, orders[:2, :count], energy, value, offsets, utility_price[market], step_hours
        )
    return Cleared(
        bid_order=bid_order,
        ask_order=ask_order,
        ticks=ticks,
        stage=stage,
        market=market,
        price=price,
        seller_price=seller_price,
        energy=energy,
        clearing_price=np.divide(paid * 1000, volume, out=np.full(markets, np.nan), where=volume > 0),
        volume=volume,
        social_welfare=totals[:, 0] / (PER_PRICE * PER_KWH * 1000),
        budget_surplus=paid - sum_by(market, energy * seller_price / 1000, markets)
        if rule.reduces_trade
        else np.zeros(markets),
        lower=lower,
        upper=upper,
        network=network,
        quantity=book.quantity,
    )


def _network(
    book: Packed,
    config: MarketConfig,
    grid: Grid,
    orders: Ints,
    energy: Floats,
    value: Floats,
    offsets: Ints,
    utility_price: Floats,
    step_hours: float,
) -> Network:
    """What the grid makes of the trades: orders: flat bids and asks [2, K]; energy, value, utility_price: [K].

    The DSO supplies what is lost, 1 - exp(-loss_rate d) of the energy, and charges it at the utility price; congestion,
    distance and the same-zone discount are shares of the trade's value; the fee stays within [0, max_fee x value].
    """
    assert book.node is not None
    buyer_node, seller_node = book.node.ravel()[orders]
    routing = route(grid, seller_node, buyer_node, energy, offsets, step_hours)
    distance = grid.distance[seller_node, buyer_node]
    loss = -np.expm1(-config.loss_rate * distance) * energy
    share = config.congestion_fee * np.minimum(routing.utilisation, 1.0)
    if grid.diameter > 0:
        share += config.distance_fee / grid.diameter * distance
    share -= config.zone_discount * (grid.zone[seller_node] == grid.zone[buyer_node])
    fee = np.clip(loss * utility_price / 1000 + value * share, 0.0, config.max_fee * value)
    return Network(distance, loss, fee, routing)
