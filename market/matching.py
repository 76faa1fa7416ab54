"""Kernels of clearing: packed sort keys and price-time priority. Arrays in, arrays out; ticks throughout.

A book is E markets of N order positions. A key packs, from the high bits: side (1), price (23), reputation (16),
arrival rank (24), so that one ascending sort of unsigned integers puts the bids from best to worst before the asks.
`market.clearing` validates and documents; nothing here checks its input.
"""

from __future__ import annotations

import numpy as np
from numba import njit, uint64

ARRIVAL_BITS, REPUTATION_BITS, PRICE_BITS = 24, 16, 23
PRICE_SHIFT = ARRIVAL_BITS + REPUTATION_BITS
ARRIVAL_MASK, PRICE_MASK, REPUTATION_MASK = 2**ARRIVAL_BITS - 1, 2**PRICE_BITS - 1, 2**REPUTATION_BITS - 1
ASK_BIT = np.uint64(1 << 63)
EMPTY = np.uint64(2**64 - 1)


@njit(cache=True, nogil=True)
def _pack(price, is_buy, active, reputation, by_arrival, keys):  # type: ignore[no-untyped-def]
    """keys [E, N]: one per arrival rank, EMPTY for inactive orders. All inputs [E, N], ticks; reputation in 16 bits."""
    for e in range(keys.shape[0]):
        for rank in range(keys.shape[1]):
            i = by_arrival[e, rank]
            if not active[e, i]:
                keys[e, rank] = EMPTY
                continue
            worse = uint64(REPUTATION_MASK - reputation[e, i]) << uint64(ARRIVAL_BITS) | uint64(rank)
            if is_buy[e, i]:
                keys[e, rank] = uint64(PRICE_MASK - price[e, i]) << uint64(PRICE_SHIFT) | worse
            else:
                keys[e, rank] = ASK_BIT | uint64(price[e, i]) << uint64(PRICE_SHIFT) | worse


@njit(cache=True, nogil=True)
def _sides(keys):  # type: ignore[no-untyped-def]
    """Where the asks start and end among the sorted keys of one market."""
    return np.searchsorted(keys, ASK_BIT), np.searchsorted(keys, EMPTY)


@njit(cache=True, nogil=True, inline="always")
def _price(key):  # type: ignore[no-untyped-def]
    """Limit price in ticks that a key holds."""
    price = np.int64(key >> uint64(PRICE_SHIFT)) & PRICE_MASK
    return price if key >= ASK_BIT else PRICE_MASK - price


@njit(cache=True, nogil=True)
def _partner_matches(order, start, price, quantity, is_buy, out):  # type: ignore[no-untyped-def]
    """Merge each pair of agents' orders: group g is order[start[g]:start[g+1]], in rank order, bids first.

    order: flat positions; price, quantity, is_buy: flat. Fills out [4, n] with (bid, ask, quantity, surplus); returns
    how many. At most one match per order.
    """
    count = 0
    for g in range(len(start) - 1):
        bid, end = start[g], start[g + 1]
        ask = bid
        while ask < end and is_buy[order[ask]]:
            ask += 1
        last_bid = ask
        left_bid = left_ask = np.int64(0)
        if bid < last_bid:
            left_bid = quantity[order[bid]]
        if ask < end:
            left_ask = quantity[order[ask]]
        while bid < last_bid and ask < end and price[order[bid]] >= price[order[ask]]:
            energy = min(left_bid, left_ask)
            out[0, count], out[1, count], out[2, count] = order[bid], order[ask], energy
            out[3, count] = price[order[bid]] - price[order[ask]]
            count += 1
            left_bid -= energy
            left_ask -= energy
            if left_bid == 0:
                bid += 1
                if bid < last_bid:
                    left_bid = quantity[order[bid]]
            if left_ask == 0:
                ask += 1
                if ask < end:
                    left_ask = quantity[order[ask]]
    return count


@njit(cache=True, nogil=True)
def _merge(keys, asks, end, by_arrival, left, capacity, count, bids_out, asks_out, energy_out):  # type: ignore[no-untyped-def]
    """Price-time priority over one market's sorted keys; returns (trades so far, last bid, last ask, volume).

    left [N]: ticks left of each order, reduced by what trades. Trades are written from `count` on; their sides are
    order positions. `last bid` and `last ask` are places among the keys, -1 where nothing traded.
    """
    bid, ask = 0, asks
    volume = np.int64(0)
    last_bid = last_ask = -1
    while bid < asks and ask < end and volume < capacity:
        i, j = by_arrival[keys[bid] & uint64(ARRIVAL_MASK)], by_arrival[keys[ask] & uint64(ARRIVAL_MASK)]
        if left[i] == 0:
            bid += 1
        elif left[j] == 0:
            ask += 1
        elif _price(keys[bid]) < _price(keys[ask]):
            break
        else:
            energy = min(left[i], left[j], capacity - volume)
            bids_out[count], asks_out[count], energy_out[count] = i, j, energy
            count += 1
            left[i] -= energy
            left[j] -= energy
            volume += energy
            last_bid, last_ask = bid, ask
    return count, last_bid, last_ask, volume


@njit(cache=True, nogil=True)
def _next_price(keys, by_arrival, left, start, end, missing):  # type: ignore[no-untyped-def]
    """Price of the first unit left at or after place `start`, or `missing`."""
    for place in range(start, end):
        if left[by_arrival[keys[place] & uint64(ARRIVAL_MASK)]] > 0:
            return np.float64(_price(keys[place]))
    return missing


@njit(cache=True, nogil=True)
def _interval(keys, asks, end, by_arrival, left, last_bid, last_ask):  # type: ignore[no-untyped-def]
    """Prices, in ticks, at which the matched volume is what both sides want: the k-double-auction interval."""
    best_bid, best_ask = np.float64(_price(keys[last_bid])), np.float64(_price(keys[last_ask]))
    lower = max(best_ask, _next_price(keys, by_arrival, left, last_bid, asks, -np.inf))
    upper = min(best_bid, _next_price(keys, by_arrival, left, last_ask, end, np.inf))
    if lower > upper:  # only when the capacity binds
        return best_ask, best_bid
    return lower, upper
