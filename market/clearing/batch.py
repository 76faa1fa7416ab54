"""Stages 1 and 2 of clearing, partners and price-time priority, for E markets at once and in integer ticks.

`market.clearing.single.clear` and the simulation share `clear_batch`; the DSO, stage 3, serves what it leaves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from market.clearing.books import Book, Packed, price_limits, ranked
from market.clearing.config import MarketConfig
from market.clearing.fees import Network, network_terms
from market.clearing.matching import gather, interval, merge, sides
from market.clearing.orders import MAX_POSITIONS, Energies, Positions, capacity_ticks, energy_of
from market.clearing.partners import serve_partners
from market.clearing.pricing import RULES, Pairs
from market.clearing.trade_reduction import reduce_trade
from market.constants import PER_KWH, PER_PRICE
from market.grid.network import Grid
from market.support import check
from market.support.arrays import Bools, Floats, Ints
from market.support.kernels import kernel
from market.support.threads import in_parts

UNLIMITED = np.iinfo(np.int64).max // 4
FIRST: Ints = np.broadcast_to(np.int64(0), MAX_POSITIONS)
IN_BOOK: NDArray[np.int8] = np.broadcast_to(np.int8(2), MAX_POSITIONS)
ALL: Bools = np.broadcast_to(np.True_, MAX_POSITIONS)
"""Market, stage and "in the book" of any number of trades of a single market without partners; they take no memory."""
NO_STAGE: NDArray[np.int8] = np.empty(0, np.int8)


def _row(block: str, row: int) -> Any:
    """A property: that row of a block of columns."""
    return property(lambda self: getattr(self, block)[row])


@dataclass(eq=False)  # not frozen, which takes three times as long to make
class Cleared:
    """Stages 1 and 2 of E markets of N orders, K trades in all, market by market."""

    orders: Positions  # the three rows below [3, K]
    stage: NDArray[np.int8]  # 1 partners, 2 book [K]
    offsets: Ints  # the trades of market e are offsets[e]:offsets[e+1], [E + 1]
    price: Floats  # what the buyer pays [K], $/MWh
    seller_price: Floats  # what the seller receives [K], $/MWh; `price` itself unless the rule sets two
    figures: Floats  # the six rows below [6, E]
    network: Network | None  # losses, fees and congestion; None without a grid
    quantity: Energies  # of the orders [E, N], Wh

    bid_order, ask_order = _row("orders", 0), _row("orders", 1)  # flat order positions [K]
    ticks = _row("orders", 2)  # energy [K], Wh
    social_welfare = _row("figures", 0)  # [E] $
    lower, upper = _row("figures", 1), _row("figures", 2)  # of clearing prices [E], $/MWh, nan where stage 2 is empty
    clearing_price = _row("figures", 3)  # quantity-weighted mean price [E], $/MWh, nan without trades
    volume = _row("figures", 4)  # [E] kWh
    budget_surplus = _row("figures", 5)  # [E] $

    @property
    def market(self) -> Ints:
        """The market of each trade, [K]."""
        return _markets(self.offsets)

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


def _markets(offsets: Ints) -> Ints:
    """The market of each trade, [K]: those of market e are offsets[e]:offsets[e+1], [E + 1]."""
    if len(offsets) == 2:
        return FIRST[: offsets[1]]
    return np.repeat(np.arange(len(offsets) - 1), offsets[1:] - offsets[:-1])


@kernel
def _deduct(left, bid_order, ask_order, ticks):  # type: ignore[no-untyped-def]
    """Take what traded [K] off both orders; left: flat."""
    for k in range(len(ticks)):
        left[bid_order[k]] -= ticks[k]
        left[ask_order[k]] -= ticks[k]


@kernel
def _match(  # type: ignore[no-untyped-def]
    first, keys, arrival, agent, left, room, bounds, pairs, limits, starts, stage, orders, prices, offsets, out
):
    """Stage 2 of the markets from `first` on, as many as there are keys (sorted) [.., M], and their trades of stage 1.

    Of all E markets: left [E, N]; arrival and agent, also [E, 0]. room: ticks that each may trade in all. bounds:
    lowest and highest price in ticks under trade reduction, else None: then its kernels, which take three times as
    long to compile as all others, are not compiled. pairs, limits, starts: the `Partners`.
    Writes the trades one after the other, from first x N on: orders [3, E N] (flat bid, flat ask, ticks), prices
    [2, E N] of bid and ask, $/MWh, and stage [E N], or [0] without partners; where those of market e
    end, to offsets[e + 1]; and the first three rows of out [6, E]: gains from trade, $, and the interval of clearing
    prices, $/MWh, nan where stage 2 is empty.
    """
    size = left.shape[1]
    energy = np.empty(keys.shape[1] + 2, np.int64)
    count = first * size
    for market in range(len(keys)):
        e = first + market
        gains, free = 0.0, room
        begin, end = (starts[e], starts[e + 1]) if len(starts) else (0, 0)
        for m in range(begin, end):
            if pairs[2, m] == 0:
                break
            orders[0, count], orders[1, count], orders[2, count] = pairs[0, m], pairs[1, m], pairs[2, m]
            prices[0, count], prices[1, count], stage[count] = limits[0, m], limits[1, m], 1
            gains += pairs[2, m] * (limits[0, m] - limits[1, m]) * PER_PRICE
            free -= pairs[2, m]
            count += 1
        in_book = count
        book = sides(keys[market], arrival[e], e * size)
        gather(book, left[e], energy)
        lower = upper = np.nan
        if bounds is None:
            merged = merge(book, energy, free, count, orders, prices)
            count, more = merged.trades, merged.welfare
            if merged.last_bid >= 0:
                lower, upper = interval(book, energy, merged)
        else:
            count, more, lower, upper = reduce_trade(book, energy, free, agent[e], bounds, count, orders, prices)
        stage[in_book:count] = 2
        offsets[e + 1] = count
        out[0, e] = (gains + more) / (PER_PRICE * PER_KWH * 1000)
        out[1, e], out[2, e] = lower / PER_PRICE, upper / PER_PRICE


def _match_part(book: Packed, left: Energies, config: MarketConfig, terms: tuple[Any, ...], part: slice) -> None:
    """Stages 1 and 2 of a part of the markets; terms: the last arguments of `_match`."""
    _match(part.start, ranked(book, left, part, config), book.by_arrival, book.agent, left, *terms)


@kernel
def _sum_up(offsets, ticks, price, seller_price, reduces, figures):  # type: ignore[no-untyped-def]
    """The other rows of figures [6, E]: mean price of each market's trades, $/MWh, volume, kWh, and surplus, $.

    reduces: whether the two prices differ.
    """
    for e in range(len(offsets) - 1):
        traded, paid, received = np.int64(0), 0.0, 0.0
        for k in range(offsets[e], offsets[e + 1]):
            traded += ticks[k]
            paid += ticks[k] * price[k]
            if reduces:
                received += ticks[k] * seller_price[k]
        volume, paid, received = traded / PER_KWH, paid / PER_KWH, (received if reduces else paid) / PER_KWH
        figures[3, e] = paid / volume if traded > 0 else np.nan
        figures[4, e], figures[5, e] = volume, (paid - received) / 1000


def _close_up(parts: list[slice], size: int, columns: Sequence[NDArray[Any]], offsets: Ints) -> None:
    """Moves the trades of parts of the markets, each at first x size of the columns [.., E N], next to each other."""
    count = 0
    for part in parts:
        begin, end = part.start * size, offsets.item(part.stop)
        to, count = count, count + end - begin
        for column in columns:
            column[..., to:count] = column[..., begin:end]
        offsets[part.start + 1 : part.stop + 1] -= begin - to


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
    packed = book.packed(check.whole("threads", threads)) if isinstance(book, Book) else book
    markets, size = packed.quantity.shape
    positions = markets * size
    if positions > MAX_POSITIONS:
        raise ValueError(f"book: got {markets} markets of {size} orders; allowed: at most {MAX_POSITIONS:,} in all")
    left = packed.quantity if packed.partner is None else packed.quantity.copy()
    capacity = UNLIMITED if grid is None else min(capacity_ticks(grid.capacity, step_hours), UNLIMITED)
    partners = serve_partners(packed, left, capacity)
    rule = RULES[config.price_mechanism]
    reduces = rule.reduces_trade
    bounds = price_limits(config) if reduces else None
    orders, prices = np.empty((3, positions), np.int32), np.empty((2, positions))
    stage = NO_STAGE if packed.partner is None else np.empty(positions, np.int8)
    offsets, figures = np.zeros(markets + 1, np.int64), np.empty((6, markets))
    terms = (capacity, bounds, *partners, stage, orders, prices, offsets, figures)
    parts = in_parts(partial(_match_part, packed, left, config, terms), markets, threads)
    if len(parts) > 1:
        _close_up(parts, size, (orders, prices, stage)[: 3 if len(stage) else 2], offsets)
    count = offsets.item(-1)
    orders = orders[:, :count]
    stage = stage[:count] if packed.partner is not None else IN_BOOK[:count]
    market, in_book = _markets(offsets), ALL[:count] if packed.partner is None else stage == 2
    tariffs = (feed_in_tariff, utility_price, last_price)
    bid, ask, lower, upper = prices[0, :count], prices[1, :count], figures[1], figures[2]
    pairs = Pairs(bid, ask, market, in_book, config.spread_share, *tariffs, lower, upper)
    price = rule.price(pairs)
    seller_price = price if rule.seller_price is None else rule.seller_price(pairs)
    _sum_up(offsets, orders[2], price, seller_price, reduces, figures)
    network = None
    if grid is not None:
        sent = (orders[:2], energy_of(orders[2]), price, offsets)
        network = network_terms(packed, config, grid, *sent, utility_price, step_hours)
    return Cleared(orders, stage, offsets, price, seller_price, figures, network, packed.quantity)
