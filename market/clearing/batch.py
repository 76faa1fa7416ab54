"""Stages 1 and 2 of clearing, partners and price-time priority, for E markets at once and in integer ticks.

`market.clearing.single.clear` and the simulation share `clear_batch`; the DSO, stage 3, serves what it leaves.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from market.clearing.books import Book, Packed, price_limits, ranked
from market.clearing.fees import Network, network_terms
from market.clearing.matching import gather, interval, merge, sides
from market.clearing.orders import MAX_POSITIONS, Energies, Floats, Ints, Positions, capacity_ticks, energy_of, price_of
from market.clearing.partners import serve_partners
from market.clearing.pricing import RULES, Pairs
from market.clearing.trade_reduction import reduce_trade
from market.config import PER_KWH, PER_PRICE, MarketConfig, check_positive_int
from market.grid.network import Grid
from market.support.kernels import kernel
from market.support.threads import in_parts

UNLIMITED = np.iinfo(np.int64).max // 4


@dataclass(frozen=True, eq=False)
class Cleared:
    """Stages 1 and 2 of E markets of N orders, K trades in all, market by market."""

    bid_order: Positions  # flat order positions [K]
    ask_order: Positions
    ticks: Energies  # energy [K], Wh
    stage: NDArray[np.int8]  # 1 partners, 2 book [K]
    market: Ints  # [K]
    price: Floats  # what the buyer pays [K], $/MWh
    seller_price: Floats  # what the seller receives [K], $/MWh; `price` itself unless the rule sets two
    clearing_price: Floats  # quantity-weighted mean price [E], $/MWh, nan without trades
    volume: Floats  # [E] kWh
    social_welfare: Floats  # [E] $
    budget_surplus: Floats  # [E] $
    lower: Floats  # interval of clearing prices [E], $/MWh, nan where stage 2 is empty
    upper: Floats
    network: Network | None  # losses, fees and congestion; None without a grid
    quantity: Energies  # of the orders [E, N], Wh

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
    """out [E, 3]: sums over each market's trades of ticks, ticks x price, and ticks x seller_price.

    reduces: whether the two prices differ.
    """
    for e in range(len(offsets) - 1):
        volume, paid, received = np.int64(0), 0.0, 0.0
        for k in range(offsets[e], offsets[e + 1]):
            volume += ticks[k]
            paid += ticks[k] * price[k]
            if reduces:
                received += ticks[k] * seller_price[k]
        out[e, 0], out[e, 1], out[e, 2] = volume, paid, received if reduces else paid


@kernel
def _match(  # type: ignore[no-untyped-def]
    first, keys, arrival, agent, left, room, bounds, reduces, served, limits, starts, orders, prices, stage, spans, sums
):
    """Stage 2 of the markets from `first` on, as many as there are keys (sorted) [.., M], and their trades of stage 1.

    Of all E markets: left [E, N]; arrival and agent, also [E, 0]; room [E]: ticks, what stage 1 leaves of the
    capacity. bounds: lowest and highest price in ticks. served, limits, starts: the `Partners`.
    Writes the trades of market e from e x N on: orders [3, E N] (flat bid, flat ask, ticks), prices [2, E N] of bid and
    ask, $/MWh, stage [E N], and spans [E, 2], where they begin and end; and sums [E, 3]: gains from trade in price x
    energy ticks, and the interval of clearing prices in ticks, nan where stage 2 is empty.
    """
    size = left.shape[1]
    energy = np.empty(keys.shape[1] + 2, np.int64)
    count = first * size
    for market in range(len(keys)):
        e = first + market
        gains = 0.0
        spans[e, 0] = count
        for m in range(starts[e], starts[e + 1]):
            if served[2, m] == 0:
                break
            orders[0, count], orders[1, count], orders[2, count] = served[0, m], served[1, m], served[2, m]
            prices[0, count], prices[1, count], stage[count] = limits[0, m], limits[1, m], 1
            gains += served[2, m] * (limits[0, m] - limits[1, m]) * PER_PRICE
            count += 1
        in_book = count
        book = sides(keys[market], arrival[e], e * size)
        gather(book, left[e], energy)
        lower = upper = np.nan
        if reduces:
            count, more, lower, upper = reduce_trade(book, energy, room[e], agent[e], bounds, count, orders, prices)
        else:
            merged = merge(book, energy, room[e], count, orders, prices)
            count, more = merged.trades, merged.welfare
            if merged.last_bid >= 0:
                lower, upper = interval(book, energy, merged)
        stage[in_book:count] = 2
        spans[e, 1] = count
        sums[e, 0], sums[e, 1], sums[e, 2] = gains + more, lower, upper


@kernel
def _close_up(orders, prices, stage, spans, offsets):  # type: ignore[no-untyped-def]
    """Moves the markets' trades next to each other; those of market e are then at offsets[e]:offsets[e+1], [E + 1]."""
    for e in range(len(spans)):
        to, begin, count = offsets[e], spans[e, 0], spans[e, 1] - spans[e, 0]
        if begin > to:
            for column in range(3):
                for k in range(count):
                    orders[column, to + k] = orders[column, begin + k]
            for column in range(2):
                for k in range(count):
                    prices[column, to + k] = prices[column, begin + k]
            for k in range(count):
                stage[to + k] = stage[begin + k]
        offsets[e + 1] = to + count


def clear_batch(
    book: Book | Packed,
    config: MarketConfig,
    feed_in_tariff: Floats,
    utility_price: Floats,
    last_price: Floats,
    grid: Grid | None,
    step_hours: float,
    threads: int = 1,
) -> Cleared:
    """Stages 1 and 2 of E markets at once; besides `threads`, nothing is checked.

    book: a Packed one can be cleared once.
    config: price rule, limits, fees.
    feed_in_tariff, utility_price, last_price: [E] $/MWh.
    grid: capacity, distances and lines; None for unlimited trade without losses and fees.
    step_hours: h.
    threads: share out the markets, with the same result to the last bit.
    """
    packed = book.packed(check_positive_int("threads", threads)) if isinstance(book, Book) else book
    markets, size = packed.quantity.shape
    if markets * size > MAX_POSITIONS:
        raise ValueError(f"book: got {markets} markets of {size} orders; allowed: at most {MAX_POSITIONS:,} in all")
    left = packed.quantity if packed.partner is None else packed.quantity.copy()
    capacity = UNLIMITED if grid is None else min(capacity_ticks(grid.capacity, step_hours), UNLIMITED)
    room = np.full(markets, capacity, np.int64)
    partners = serve_partners(packed, left, room)
    rule = RULES[config.price_mechanism]
    orders, prices, stage = np.empty((3, left.size), np.int32), np.empty((2, left.size)), np.empty(left.size, np.int8)
    spans, offsets, totals = np.empty((markets, 2), np.int64), np.zeros(markets + 1, np.int64), np.empty((markets, 3))
    terms = (price_limits(config), rule.reduces_trade, *partners, orders, prices, stage, spans, totals)

    def match(part: slice) -> None:
        keys = ranked(packed.keys[part], packed.by_arrival[part], left[part], config)
        _match(part.start, keys, packed.by_arrival, packed.agent, left, room, *terms)

    in_parts(match, markets, threads)
    _close_up(orders, prices, stage, spans, offsets)
    count = offsets[-1]
    bid_order, ask_order, ticks = orders[:, :count]
    stage = stage[:count]
    market = np.repeat(np.arange(markets), np.diff(offsets)) if markets > 1 else np.broadcast_to(np.int64(0), count)
    lower, upper = price_of(totals[:, 1]), price_of(totals[:, 2])
    pairs = Pairs(
        bid=prices[0, :count],
        ask=prices[1, :count],
        market=market,
        book=np.broadcast_to(np.True_, count) if packed.partner is None else stage == 2,
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
        network = network_terms(packed, config, grid, *sent, utility_price, step_hours)
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
        quantity=packed.quantity,
    )
