"""Kernels of clearing: packed sort keys and price-time priority. Arrays in, arrays out, in ticks; nothing is checked.

A book is E markets of N order positions. A key packs, from the high bits: side (1), price (23), reputation (16),
arrival rank (24), so that one ascending sort of unsigned integers puts the bids from best to worst before the asks.
The *place* of an order is its index among its market's sorted keys. Arrays [E, 0] of arrivals or agents mean that rank
or agent is the position itself. Loops write every candidate and advance the row only if it is valid: this form has no
branches to mispredict.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import uint64
from numpy.typing import NDArray

from market.constants import DSO, ENERGY_TICK, PER_PRICE, PRICE_TICK
from market.support.arrays import Ints
from market.support.kernels import kernel

Keys = NDArray[np.uint64]

ARRIVAL_BITS, REPUTATION_BITS, PRICE_BITS = 24, 16, 23
PRICE_SHIFT = ARRIVAL_BITS + REPUTATION_BITS
ARRIVAL_MASK, PRICE_MASK, REPUTATION_MASK = 2**ARRIVAL_BITS - 1, 2**PRICE_BITS - 1, 2**REPUTATION_BITS - 1
ASK_BIT = np.uint64(1 << 63)
EMPTY = np.uint64(2**64 - 1)
BUCKETS = 1024
"""Number of price classes of `screen`."""


class Sides(NamedTuple):
    """The sorted orders of one market of N positions, by place."""

    keys: Keys  # ascending
    asks: np.intp  # bids are at [0, asks)
    end: np.intp  # asks are at [asks, end)
    by_arrival: Ints  # positions, earliest first [N] or [0]
    base: int  # flat position of the market's first order


class Merged(NamedTuple):
    """Where `merge` stopped."""

    trades: int  # so far
    bid: int  # places of the next bid and ask
    ask: int
    last_bid: int  # places of the last bid and ask that traded, -1 without
    last_ask: int
    welfare: float  # gains from trade, price ticks x energy ticks


@kernel(inline="always")
def _key(price, is_buy, reputation, rank):  # type: ignore[no-untyped-def]
    """Sort key of an order; all in ticks, reputation in 16 bits."""
    worse = uint64(REPUTATION_MASK - reputation) << uint64(ARRIVAL_BITS) | uint64(rank)
    if is_buy:
        return uint64(PRICE_MASK - price) << uint64(PRICE_SHIFT) | worse
    return ASK_BIT | uint64(price) << uint64(PRICE_SHIFT) | worse


@kernel(inline="always")
def price_of_key(key):  # type: ignore[no-untyped-def]
    """Limit price in ticks that a key holds."""
    price = np.int64(key >> uint64(PRICE_SHIFT)) & PRICE_MASK
    return price if key >= ASK_BIT else PRICE_MASK - price


@kernel(inline="always")
def position_of_key(key, by_arrival):  # type: ignore[no-untyped-def]
    """Order position that a key stands for; by_arrival: [N] or [0] of its market."""
    rank = np.int64(key & uint64(ARRIVAL_MASK))
    return by_arrival[rank] if len(by_arrival) else rank


@kernel
def pack(price, is_buy, active, reputation, by_arrival, keys):  # type: ignore[no-untyped-def]
    """keys [E, N]: one per arrival rank, EMPTY for inactive orders. All inputs [E, N]; by_arrival may be [E, 0]."""
    for e in range(keys.shape[0]):
        for rank in range(keys.shape[1]):
            i = by_arrival[e, rank] if by_arrival.shape[1] else rank
            if active[e, i]:
                keys[e, rank] = _key(price[e, i], is_buy[e, i], reputation[e, i], rank)
            else:
                keys[e, rank] = EMPTY


@kernel
def read(price, quantity, is_buy, partner, bounds, keys, ticks):  # type: ignore[no-untyped-def]
    """Orders as floats [n] to keys and energy ticks [1, n], in order of arrival and all of one reputation, in one pass.

    partner: [1, n], or [1, 0] without preferences; the keys of orders that name the DSO are EMPTY. bounds: lowest and
    highest price, smallest and largest quantity that is not 0. Returns whether all orders keep to them, and the ticks
    of all bids and of all asks.
    """
    low, high, least, most = bounds
    fine = True
    wanted = offered = np.int64(0)
    for i in range(len(price)):
        fine &= (price[i] >= low) & (price[i] <= high) & (quantity[i] <= most)
        fine &= (quantity[i] >= least) | (quantity[i] == 0.0)
        energy = np.int64(np.rint(quantity[i] / ENERGY_TICK))
        key = _key(np.int64(np.rint(price[i] / PRICE_TICK)), is_buy[i], 0, i)
        away = energy == 0 or (partner.shape[1] > 0 and partner[0, i] == DSO)
        keys[0, i] = EMPTY if away else key
        ticks[0, i] = energy
        wanted += energy * is_buy[i]
        offered += energy
    return fine, wanted, offered - wanted


@kernel
def screen(keys, by_arrival, quantity, bounds):  # type: ignore[no-untyped-def]
    """Moves the keys of the orders that may trade to the front, in order; returns how many. One market, by rank [N].

    bounds: lowest and highest price in ticks; only the speed depends on them. Prices fall into classes. A bid of class
    c trades once all bids of higher classes have been served, by asks of no class above c: never if these offer less
    than those want. The mirror image holds for asks. Orders that are left out do not narrow the interval of clearing
    prices either: if such a bid is the next in the book, some matched ask lies above it.
    """
    shift = 0
    while (bounds[1] - bounds[0]) >> shift >= BUCKETS:
        shift += 1
    total = np.zeros((2, BUCKETS), np.int64)  # energy by side and class: bids, asks
    for rank in range(len(keys)):
        key = keys[rank]
        bucket = min(max((price_of_key(key) - bounds[0]) >> shift, 0), BUCKETS - 1)
        energy = quantity[by_arrival[rank] if len(by_arrival) else rank]
        total[np.int64(key >> uint64(63)), bucket] += energy if key != EMPTY else 0
    wanted, offered = total
    wanted_from, offered_to = np.cumsum(wanted[::-1])[::-1], np.cumsum(offered)  # by bids not below, asks not above
    least = max((offered_to - offered < wanted_from).sum() - 1, 0)  # class of the lowest bids that may trade
    most = min((wanted_from - wanted >= offered_to).sum(), BUCKETS - 1)  # class of the highest asks that may trade
    bids_end, asks_end = ASK_BIT, EMPTY
    if least > 0:
        bids_end = _key(bounds[0] + (least << shift) - 1, True, REPUTATION_MASK, 0)
    beyond = bounds[0] + ((most + 1) << shift)  # no key holds a price above the bounds
    if beyond <= bounds[1]:
        asks_end = _key(beyond, False, REPUTATION_MASK, 0)
    kept = 0
    for rank in range(len(keys)):
        key = keys[rank]
        keys[kept] = key
        kept += (key < bids_end) | ((key >= ASK_BIT) & (key < asks_end))
    return kept


@kernel
def _below(keys, least):  # type: ignore[no-untyped-def]
    """How many of the ascending keys are below `least`; numpy's search takes ten times as long to compile."""
    first, last = 0, len(keys)
    while first < last:
        middle = (first + last) // 2
        if keys[middle] < least:
            first = middle + 1
        else:
            last = middle
    return first


@kernel
def sides(keys, by_arrival, base):  # type: ignore[no-untyped-def]
    """The `Sides` of one market's sorted keys, which may end in EMPTY ones."""
    return Sides(keys, _below(keys, ASK_BIT), _below(keys, EMPTY), by_arrival, base)


@kernel
def gather(book, left, energy):  # type: ignore[no-untyped-def]
    """energy [>= end + 2]: what is left [N] of the order at each place; a pass of its own, so that loads overlap."""
    keys, by_arrival, end = book.keys, book.by_arrival, book.end
    if len(by_arrival):
        for place in range(end):
            energy[place] = left[by_arrival[keys[place] & uint64(ARRIVAL_MASK)]]
    else:
        for place in range(end):
            energy[place] = left[keys[place] & uint64(ARRIVAL_MASK)]
    energy[end : end + 2] = 0  # `merge` reads ahead


@kernel
def merge(book, energy, room, count, orders, prices):  # type: ignore[no-untyped-def]
    """Price-time priority over the `Sides` of one market; returns a `Merged`. room: ticks.

    energy [>= end + 2]: ticks at each place; those of the next bid and ask are reduced to what they have left.
    Writes from column `count` on: orders [3, ..] (flat bid, flat ask, ticks; flat is base + position) and
    prices [2, ..] (bid, ask, $/MWh).
    """
    keys, asks, end, by_arrival, base = book
    bid, ask = 0, asks
    left_bid, left_ask, next_bid, next_ask = energy[bid], energy[ask], energy[bid + 1], energy[ask + 1]
    last_bid = last_ask = -1
    welfare = 0.0
    while bid < asks and ask < end and room > 0:
        bid_price, ask_price = price_of_key(keys[bid]), price_of_key(keys[ask])
        if bid_price < ask_price:
            break
        traded = min(left_bid, left_ask, room)
        orders[0, count] = base + position_of_key(keys[bid], by_arrival)
        orders[1, count] = base + position_of_key(keys[ask], by_arrival)
        orders[2, count] = traded
        prices[0, count], prices[1, count] = bid_price / PER_PRICE, ask_price / PER_PRICE
        some = traded > 0  # partners may have left nothing: then the next trade takes this one's row
        count += some
        last_bid, last_ask = bid if some else last_bid, ask if some else last_ask
        welfare += np.float64(traded) * np.float64(bid_price - ask_price)
        room -= traded
        left_bid -= traded
        left_ask -= traded
        bid_done, ask_done = left_bid == 0, left_ask == 0
        left_bid = next_bid if bid_done else left_bid
        left_ask = next_ask if ask_done else left_ask
        bid += bid_done
        ask += ask_done
        next_bid, next_ask = energy[bid + 1], energy[ask + 1]  # a round ahead: loads stay off the critical path
    if bid < asks:
        energy[bid] = left_bid
    if ask < end:
        energy[ask] = left_ask
    return Merged(count, bid, ask, last_bid, last_ask, welfare)


@kernel
def _next_price(keys, energy, start, end, missing):  # type: ignore[no-untyped-def]
    """Price in ticks of the first order from place `start` on with energy left, or `missing`."""
    for place in range(start, end):
        if energy[place] > 0:
            return np.float64(price_of_key(keys[place]))
    return missing


@kernel
def interval(book, energy, merged):  # type: ignore[no-untyped-def]
    """Prices, in ticks, at which the matched volume is what both sides want: the k-double-auction interval."""
    keys = book.keys
    best_bid = np.float64(price_of_key(keys[merged.last_bid]))
    best_ask = np.float64(price_of_key(keys[merged.last_ask]))
    lower = max(best_ask, _next_price(keys, energy, merged.bid, book.asks, -np.inf))
    upper = min(best_bid, _next_price(keys, energy, merged.ask, book.end, np.inf))
    if lower > upper:  # only when the capacity binds
        return best_ask, best_bid
    return lower, upper
