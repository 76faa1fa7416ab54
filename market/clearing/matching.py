"""Kernels of clearing: packed sort keys and price-time priority. Arrays in, arrays out; ticks throughout.

A book is E markets of N order positions. A key packs, from the high bits: side (1), price (23), reputation (16),
arrival rank (24), so that one ascending sort of unsigned integers puts the bids from best to worst before the asks.
Where an order stands among its market's sorted keys is its *place*. Arrays [E, 0] of arrivals or agents stand for the
positions themselves. `market.clearing` validates and documents; nothing here checks its input.
"""

from __future__ import annotations

import numpy as np
from numba import uint64

from market.config import DSO, ENERGY_TICK, PER_PRICE, PRICE_TICK
from market.support.kernels import kernel

ARRIVAL_BITS, REPUTATION_BITS, PRICE_BITS = 24, 16, 23
PRICE_SHIFT = ARRIVAL_BITS + REPUTATION_BITS
ARRIVAL_MASK, PRICE_MASK, REPUTATION_MASK = 2**ARRIVAL_BITS - 1, 2**PRICE_BITS - 1, 2**REPUTATION_BITS - 1
ASK_BIT = np.uint64(1 << 63)
EMPTY = np.uint64(2**64 - 1)
BUCKETS = 1024
"""Price classes that `_screen` tells apart."""


@kernel(inline="always")
def _key(price, is_buy, reputation, rank):  # type: ignore[no-untyped-def]
    """Sort key of an order; all in ticks, reputation in 16 bits."""
    worse = uint64(REPUTATION_MASK - reputation) << uint64(ARRIVAL_BITS) | uint64(rank)
    if is_buy:
        return uint64(PRICE_MASK - price) << uint64(PRICE_SHIFT) | worse
    return ASK_BIT | uint64(price) << uint64(PRICE_SHIFT) | worse


@kernel(inline="always")
def _price(key):  # type: ignore[no-untyped-def]
    """Limit price in ticks that a key holds."""
    price = np.int64(key >> uint64(PRICE_SHIFT)) & PRICE_MASK
    return price if key >= ASK_BIT else PRICE_MASK - price


@kernel(inline="always")
def _position(key, by_arrival):  # type: ignore[no-untyped-def]
    """Order position that a key stands for; by_arrival: [N] or [0] of its market."""
    rank = np.int64(key & uint64(ARRIVAL_MASK))
    return by_arrival[rank] if len(by_arrival) else rank


@kernel
def _pack(price, is_buy, active, reputation, by_arrival, keys):  # type: ignore[no-untyped-def]
    """keys [E, N]: one per arrival rank, EMPTY for inactive orders. All inputs [E, N]; by_arrival may be [E, 0]."""
    for e in range(keys.shape[0]):
        for rank in range(keys.shape[1]):
            i = by_arrival[e, rank] if by_arrival.shape[1] else rank
            if active[e, i]:
                keys[e, rank] = _key(price[e, i], is_buy[e, i], reputation[e, i], rank)
            else:
                keys[e, rank] = EMPTY


@kernel
def _read(price, quantity, is_buy, partner, low, high, least, most, keys, ticks):  # type: ignore[no-untyped-def]
    """Orders as floats [n] to keys and energy ticks [n], in order of arrival and all of one reputation, in one pass.

    partner: [n], or [0] when nobody names anybody; the keys of orders that name the DSO are EMPTY. low, high: limits of
    the price; least, most: of a quantity that is not 0. Returns whether all orders keep to them, and the ticks of all
    bids and of all asks.
    """
    fine = True
    wanted = offered = np.int64(0)
    for i in range(len(price)):
        fine &= (price[i] >= low) & (price[i] <= high) & (quantity[i] <= most)
        fine &= (quantity[i] >= least) | (quantity[i] == 0.0)
        energy = np.int64(np.rint(quantity[i] / ENERGY_TICK))
        key = _key(np.int64(np.rint(price[i] / PRICE_TICK)), is_buy[i], 0, i)
        away = energy == 0 or (len(partner) > 0 and partner[i] == DSO)
        keys[i] = EMPTY if away else key
        ticks[i] = energy
        wanted += energy * is_buy[i]
        offered += energy
    return fine, wanted, offered - wanted


@kernel
def _screen(keys, by_arrival, quantity, bounds):  # type: ignore[no-untyped-def]
    """Moves the keys of the orders that may trade to the front, in order; returns how many. One market, by rank [N].

    bounds: lowest and highest price in ticks; only the speed depends on them. Prices fall into classes. A bid of class
    c trades when all bids of higher classes have been served, by asks of no class above c: never if these offer less
    than those want. The mirror image holds for asks. Who is left out does not narrow the interval of clearing prices
    either: if such a bid is the next in the book, some matched ask lies above it.
    """
    shift = 0
    while (bounds[1] - bounds[0]) >> shift >= BUCKETS:
        shift += 1
    total = np.zeros((2, BUCKETS), np.int64)  # energy by side and class: bids, asks
    for rank in range(len(keys)):
        key = keys[rank]
        bucket = min(max((_price(key) - bounds[0]) >> shift, 0), BUCKETS - 1)
        energy = quantity[by_arrival[rank] if len(by_arrival) else rank]
        total[np.int64(key >> uint64(63)), bucket] += energy if key != EMPTY else 0
    wanted, offered = total
    least, better = BUCKETS - 1, np.int64(0)  # class of the lowest bids that may trade; energy of the bids above it
    below = offered.sum()
    while least > 0 and below - offered[least] >= better + wanted[least]:
        below -= offered[least]
        better += wanted[least]
        least -= 1
    most, better = 0, np.int64(0)
    above = wanted.sum()
    while most < BUCKETS - 1 and above - wanted[most] >= better + offered[most]:
        above -= wanted[most]
        better += offered[most]
        most += 1
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
def _sides(keys):  # type: ignore[no-untyped-def]
    """Places where the asks start and end among the sorted keys of one market."""
    return np.searchsorted(keys, ASK_BIT), np.searchsorted(keys, EMPTY)


@kernel
def _gather(keys, end, by_arrival, left, energy):  # type: ignore[no-untyped-def]
    """energy [>= end + 2]: what is left [N] of the order at each place; a pass of its own, so that loads overlap."""
    if len(by_arrival):
        for place in range(end):
            energy[place] = left[by_arrival[keys[place] & uint64(ARRIVAL_MASK)]]
    else:
        for place in range(end):
            energy[place] = left[keys[place] & uint64(ARRIVAL_MASK)]
    energy[end : end + 2] = 0  # `_merge` reads ahead


@kernel
def _merge(keys, energy, asks, end, room, by_arrival, base, count, orders, prices):  # type: ignore[no-untyped-def]
    """Price-time priority over one market's sorted keys, bids [0, asks) and asks [asks, end); `room`: ticks.

    energy [>= end + 2]: ticks at each place; those of the next bid and ask are reduced to what they have left.
    Writes trades from `count` on: orders [3, ..] (flat bid, flat ask, ticks; flat is base + position) and prices
    [2, ..] (bid, ask, $/MWh). Returns the number of trades so far, the places of the next bid and ask, those of the
    last that traded (-1 without), and the gains from trade in price ticks x energy ticks.
    """
    bid, ask = 0, asks
    left_bid, left_ask, next_bid, next_ask = energy[bid], energy[ask], energy[bid + 1], energy[ask + 1]
    last_bid = last_ask = -1
    welfare = 0.0
    while bid < asks and ask < end and room > 0:
        bid_price, ask_price = _price(keys[bid]), _price(keys[ask])
        if bid_price < ask_price:
            break
        traded = min(left_bid, left_ask, room)
        orders[0, count] = base + _position(keys[bid], by_arrival)
        orders[1, count] = base + _position(keys[ask], by_arrival)
        orders[2, count] = traded
        prices[0, count], prices[1, count] = bid_price / PER_PRICE, ask_price / PER_PRICE
        some = traded > 0  # partners may have left nothing: then the next trade takes this one's row
        count += some
        last_bid, last_ask = bid if some else last_bid, ask if some else last_ask
        welfare += np.float64(traded) * np.float64(bid_price - ask_price)
        room -= traded
        left_bid -= traded
        left_ask -= traded
        bid_done, ask_done = left_bid == 0, left_ask == 0  # selections, not jumps: which side ends is a coin toss
        left_bid = next_bid if bid_done else left_bid
        left_ask = next_ask if ask_done else left_ask
        bid += bid_done
        ask += ask_done
        next_bid, next_ask = energy[bid + 1], energy[ask + 1]  # a round ahead: loads stay off the critical path
    if bid < asks:
        energy[bid] = left_bid
    if ask < end:
        energy[ask] = left_ask
    return count, bid, ask, last_bid, last_ask, welfare


@kernel
def _next_price(keys, energy, start, end, missing):  # type: ignore[no-untyped-def]
    """Price in ticks of the first order from place `start` on with energy left, or `missing`."""
    for place in range(start, end):
        if energy[place] > 0:
            return np.float64(_price(keys[place]))
    return missing


@kernel
def _interval(keys, energy, asks, end, bid, ask, last_bid, last_ask):  # type: ignore[no-untyped-def]
    """Prices, in ticks, at which the matched volume is what both sides want: the k-double-auction interval.

    bid, ask: places of the next ones; last_bid, last_ask: places of the last ones that traded.
    """
    best_bid, best_ask = np.float64(_price(keys[last_bid])), np.float64(_price(keys[last_ask]))
    lower = max(best_ask, _next_price(keys, energy, bid, asks, -np.inf))
    upper = min(best_bid, _next_price(keys, energy, ask, end, np.inf))
    if lower > upper:  # only when the capacity binds
        return best_ask, best_bid
    return lower, upper


@kernel
def _pair_up(keys, energy, start, market, size, by_arrival, orders, prices):  # type: ignore[no-untyped-def]
    """Stage 1 without a capacity: merge each pair of agents' orders, group g at start[g]:start[g+1] of market[g].

    keys: sorted within a group; energy: two more. Fills orders and prices as `_merge` does, and returns how many; at
    most one per order.
    """
    count = 0
    for g in range(len(market)):
        first, last, e = start[g], start[g + 1], market[g]
        group, ticks = keys[first:last], energy[first : last + 2]  # `_merge` reads ahead
        asks = np.searchsorted(group, ASK_BIT)
        everything = ticks[: last - first].sum()
        count = _merge(group, ticks, asks, last - first, everything, by_arrival[e], e * size, count, orders, prices)[0]
    return count
