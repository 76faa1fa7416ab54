"""Stages 1 and 2 of clearing, partners and price-time priority, for E markets at once and in integer ticks.

`clear_batch` is what `market.clearing.single.clear` and the simulation share; the DSO, stage 3, serves what it leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from market.clearing.books import Book, Packed, price_limits, ranked
from market.clearing.fees import Network, network_terms
from market.clearing.matching import _gather, _interval, _merge, _sides
from market.clearing.orders import MAX_POSITIONS, Energies, Floats, Ints, Positions, capacity_ticks, energy_of, price_of
from market.clearing.partners import serve_partners
from market.clearing.pricing import RULES, Pairs
from market.clearing.trade_reduction import _reduce
from market.config import PER_KWH, PER_PRICE, MarketConfig, check_positive_int
from market.grid.network import Grid
from market.support.allocator import keep_freed_memory
from market.support.kernels import kernel
from market.support.threads import in_parts

UNLIMITED = np.iinfo(np.int64).max // 4

keep_freed_memory()


@dataclass(frozen=True, eq=False)
class Cleared:
    """Stages 1 and 2 of E markets of N orders, K trades in all, market by market.

    bid_order, ask_order: flat order positions [K]. ticks: energy [K], Wh. stage: 1 partners, 2 book [K]. market: [K].
    price, seller_price: what the buyer pays and the seller gets [K], $/MWh.
    clearing_price: quantity-weighted mean price [E], $/MWh, nan without trades. volume: kWh [E].
    social_welfare: $ [E]. budget_surplus: $ [E]. lower, upper: interval of clearing prices [E], $/MWh, nan without.
    network: losses, fees and congestion; None without a grid. quantity: of the orders, Wh [E, N].
    """

    bid_order: Positions
    ask_order: Positions
    ticks: Energies
    stage: NDArray[np.int8]
    market: Ints
    price: Floats
    seller_price: Floats
    clearing_price: Floats
    volume: Floats
    social_welfare: Floats
    budget_surplus: Floats
    lower: Floats
    upper: Floats
    network: Network | None
    quantity: Energies

    @cached_property
    def energy(self) -> Floats:
        """Energy of each trade, [K] kWh."""
        return energy_of(self.ticks) if self.network is None else self.network.energy

    @cached_property
    def left(self) -> Energies:
        """Ticks that stage 3 will serve, [E, N]."""
        left = self.quantity.copy()
        _deduct(left.ravel(), self.bid_order, self.ask_order, self.ticks)
        return left


@kernel
def _deduct(left, bid_order, ask_order, ticks):  # type: ignore[no-untyped-def]
    """Take what traded [K] off both orders; left: flat."""
    for k in range(len(ticks)):
        left[bid_order[k]] -= ticks[k]
        left[ask_order[k]] -= ticks[k]


@kernel
def _sums(offsets, ticks, price, seller_price, reduces, out):  # type: ignore[no-untyped-def]
    """out [E, 3]: sums over each market's trades of the ticks, and of ticks x price and ticks x seller_price.

    reduces: whether the two prices differ.
    """
    for e in range(len(offsets) - 1):
        volume, paid, received = np.int64(0), 0.0, 0.0
        for k in range(offsets[e], offsets[e + 1]):
            volume += ticks[k]
            paid += ticks[k] * price[k]
        if reduces:
            for k in range(offsets[e], offsets[e + 1]):
                received += ticks[k] * seller_price[k]
        else:
            received = paid
        out[e, 0], out[e, 1], out[e, 2] = volume, paid, received


@kernel
def _match(  # type: ignore[no-untyped-def]
    first, keys, by_arrival, agent, left, room, bounds, reduction, partners, trades, totals
):
    """Stage 2 of the markets from `first` on, as many as there are keys (sorted) [.., M], and their trades of stage 1.

    Of all E markets: left [E, N]; by_arrival and agent, also [E, 0]; room [E]: ticks, what stage 1 leaves of the
    capacity. bounds: lowest and highest price in ticks. partners: trades of stage 1 [3, P] and their prices [2, P], and
    where each market's begin [E + 1]. Writes trades: orders [3, E N] (flat bid, flat ask, ticks), prices [2, E N],
    stage [E N], from first x N on, and spans [E, 2], where each market's begin and end; and totals [E, 3]: gains from
    trade in price x energy ticks, and the interval of clearing prices in ticks, nan where stage 2 is empty.
    """
    (matches, match_prices, starts), (orders, prices, stage, spans) = partners, trades
    size = left.shape[1]
    energy = np.empty(keys.shape[1] + 2, np.int64)
    count = first * size
    for market in range(len(keys)):
        e = first + market
        base, gains = e * size, 0.0
        spans[e, 0] = count
        for m in range(starts[e], starts[e + 1]):
            if matches[2, m] == 0:
                break
            orders[0, count], orders[1, count], orders[2, count] = matches[0, m], matches[1, m], matches[2, m]
            prices[0, count], prices[1, count], stage[count] = match_prices[0, m], match_prices[1, m], 1
            gains += matches[2, m] * (match_prices[0, m] - match_prices[1, m]) * PER_PRICE
            count += 1
        in_book = count
        asks, end = _sides(keys[market])
        _gather(keys[market], end, by_arrival[e], left[e], energy)
        lower = upper = np.nan
        if reduction:
            count, more, lower, upper = _reduce(
                keys[market], energy, asks, end, room[e], by_arrival[e], agent[e], bounds, base, count, orders, prices
            )
        else:
            count, bid, ask, last_bid, last_ask, more = _merge(
                keys[market], energy, asks, end, room[e], by_arrival[e], base, count, orders, prices
            )
            if last_bid >= 0:
                lower, upper = _interval(keys[market], energy, asks, end, bid, ask, last_bid, last_ask)
        stage[in_book:count] = 2
        spans[e, 1] = count
        totals[e, 0], totals[e, 1], totals[e, 2] = gains + more, lower, upper


@kernel
def _close_up(spans, orders, prices, stage, offsets):  # type: ignore[no-untyped-def]
    """Moves the trades of the markets, at spans [E, 2], next to each other, and fills in offsets [E + 1]."""
    count = 0
    for e in range(len(spans)):
        offsets[e] = count
        begin, trades = spans[e, 0], spans[e, 1] - spans[e, 0]
        if begin > count:
            for column in range(3):
                for k in range(trades):
                    orders[column, count + k] = orders[column, begin + k]
            for column in range(2):
                for k in range(trades):
                    prices[column, count + k] = prices[column, begin + k]
            for k in range(trades):
                stage[count + k] = stage[begin + k]
        count += trades
    offsets[len(spans)] = count


def clear_batch(
    book: Book,
    config: MarketConfig,
    feed_in_tariff: Floats,
    utility_price: Floats,
    last_price: Floats,
    grid: Grid | None,
    step_hours: float,
    threads: int = 1,
) -> Cleared:
    """Stages 1 and 2 of E markets at once. feed_in_tariff, utility_price, last_price: [E] $/MWh; not checked.

    threads: share out the markets, with the same result to the last bit.
    """
    packed = book.packed(check_positive_int("threads", threads))
    return clear_packed(packed, config, (feed_in_tariff, utility_price, last_price), grid, step_hours, threads)


def clear_packed(
    book: Packed,
    config: MarketConfig,
    tariffs: tuple[Floats, Floats, Floats],
    grid: Grid | None,
    step_hours: float,
    threads: int = 1,
) -> Cleared:
    """`clear_batch` of books that are packed already; their keys are used up, so a book can be cleared once.

    tariffs: feed-in tariff, utility price, last price, [E] $/MWh.
    """
    feed_in_tariff, utility_price, last_price = tariffs
    markets, size = book.quantity.shape
    if markets * size > MAX_POSITIONS:
        raise ValueError(f"book: got {markets} markets of {size} orders; allowed: at most {MAX_POSITIONS:,} in all")
    left = book.quantity if book.partner is None else book.quantity.copy()
    capacity = UNLIMITED if grid is None else min(capacity_ticks(grid.capacity, step_hours), UNLIMITED)
    room = np.full(markets, capacity, np.int64)
    partners = serve_partners(book, left, room)
    rule = RULES[config.price_mechanism]
    orders, prices, stage = np.empty((3, left.size), np.int32), np.empty((2, left.size)), np.empty(left.size, np.int8)
    spans, offsets, totals = np.empty((markets, 2), np.int64), np.empty(markets + 1, np.int64), np.empty((markets, 3))
    terms = (price_limits(config), rule.reduces_trade, partners)
    trades = (orders, prices, stage, spans)

    def match(part: slice) -> None:
        keys = ranked(book.keys[part], book.by_arrival[part], left[part], config)
        _match(part.start, keys, book.by_arrival, book.agent, left, room, *terms, trades, totals)

    in_parts(match, markets, threads)
    _close_up(spans, orders, prices, stage, offsets)
    count = offsets[-1]
    bid_order, ask_order, ticks = orders[:, :count]
    stage = stage[:count]
    market = np.repeat(np.arange(markets), np.diff(offsets)) if markets > 1 else np.broadcast_to(np.int64(0), count)
    lower, upper = price_of(totals[:, 1]), price_of(totals[:, 2])
    pairs = Pairs(
        bid=prices[0, :count],
        ask=prices[1, :count],
        market=market,
        book=np.broadcast_to(np.True_, count) if book.partner is None else stage == 2,
        spread_share=config.spread_share,
        feed_in_tariff=feed_in_tariff,
        utility_price=utility_price,
        last_price=last_price,
        lower=lower,
        upper=upper,
    )
    price = rule.price(pairs)
    seller_price = price if rule.seller_price is None else rule.seller_price(pairs)
    sums = np.empty((markets, 3))
    _sums(offsets, ticks, price, seller_price, rule.reduces_trade, sums)
    volume, paid, received = sums.T / PER_KWH
    network = None
    if grid is not None:
        sent = (orders[:2, :count], energy_of(ticks), price, offsets)
        network = network_terms(book, config, grid, sent, utility_price, step_hours)
    return Cleared(
        bid_order=bid_order,
        ask_order=ask_order,
        ticks=ticks,
        stage=stage,
        market=market,
        price=price,
        seller_price=seller_price,
        clearing_price=np.divide(paid, volume, out=np.full(markets, np.nan), where=volume > 0),
        volume=volume,
        social_welfare=totals[:, 0] / (PER_PRICE * PER_KWH * 1000),
        budget_surplus=(paid - received) / 1000,
        lower=lower,
        upper=upper,
        network=network,
        quantity=book.quantity,
    )
