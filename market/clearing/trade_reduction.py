"""Kernels of trade reduction: which orders trade under MCAFEE, and at which two prices. Ticks throughout.

McAfee (1992), doi:10.1016/0022-0531(92)90091-U, for books of equal units; the multi-unit double auction of Huang,
Scheller-Wolf and Sycara (2002), doi:10.1111/1467-8640.t01-1-00206, otherwise.
`book` is the `Sides` of one market, and energy the ticks at each place; see `market.clearing.matching`.
"""

from __future__ import annotations

import numpy as np
from numba import uint64

from market.clearing.matching import PRICE_SHIFT, merge, position_of_key, price_of_key
from market.support.kernels import kernel


@kernel
def _unit(book, energy, agent):  # type: ignore[no-untyped-def]
    """The quantity of all orders with something left, if it is the same and their agents differ; else 0."""
    owners = np.empty(book.end, np.uint64)
    count = 0
    unit = np.int64(0)
    for place in range(book.end):
        if energy[place] == 0:
            continue
        if unit == 0:
            unit = energy[place]
        elif energy[place] != unit:
            return np.int64(0)
        if len(agent):
            owners[count] = agent[position_of_key(book.keys[place], book.by_arrival)]
            count += 1
    owners = np.sort(owners[:count])
    for k in range(1, count):
        if owners[k] == owners[k - 1]:
            return np.int64(0)
    return unit


@kernel
def _prices(keys, energy, start, stop):  # type: ignore[no-untyped-def]
    """Limit prices in ticks of the orders at places start..stop-1 with energy left."""
    prices = np.empty(stop - start)
    count = 0
    for place in range(start, stop):
        prices[count] = price_of_key(keys[place])
        count += energy[place] > 0
    return prices[:count]


@kernel
def _mcafee(book, energy, unit, room, bounds):  # type: ignore[no-untyped-def]
    """McAfee (1992) on a book of equal units: (pairs that trade, sellers' price, buyers' price), prices in ticks.

    bounds: stand for the missing next bid and next ask. When the capacity ends the trade before the book does, the
    first excluded bid and ask set the two prices: each is the critical value of its side, so truth stays optimal.
    """
    keys, asks, end = book.keys, book.asks, book.end
    bids, offers = _prices(keys, energy, 0, asks), _prices(keys, energy, asks, end)
    pairs = 0
    while pairs < min(len(bids), len(offers)) and bids[pairs] >= offers[pairs]:
        pairs += 1
    if pairs == 0:
        return 0, np.nan, np.nan
    if room // unit < pairs:
        pairs = room // unit
        return pairs, offers[pairs], bids[pairs]
    next_bid = bids[pairs] if pairs < len(bids) else bounds[0]
    next_ask = offers[pairs] if pairs < len(offers) else bounds[1]
    price = (next_bid + next_ask) / 2
    if offers[pairs - 1] <= price <= bids[pairs - 1]:
        return pairs, price, price
    return pairs - 1, offers[pairs - 1], bids[pairs - 1]


@kernel
def _total(energy, start, stop, cut):  # type: ignore[no-untyped-def]
    """Ticks at places start..stop-1 that remain when each loses `cut`, none below zero."""
    total = np.int64(0)
    for place in range(start, stop):
        total += max(energy[place] - cut, 0)
    return total


@kernel
def _shave(keys, energy, start, stop, volume, fill):  # type: ignore[no-untyped-def]
    """fill at places start..stop-1: `energy`, cut to the sum `volume` by equal shares, none below zero.

    Odd ticks go by reputation, then arrival, in the low bits of the keys; not by price, or a lie would win one.
    """
    low, high = np.int64(0), np.int64(0)
    for place in range(start, stop):
        high = max(high, energy[place])
    while low < high:  # least cut that fits
        cut = (low + high) // 2
        if _total(energy, start, stop, cut) <= volume:
            high = cut
        else:
            low = cut + 1
    turn, count, missing = np.empty(stop - start, np.uint64), 0, volume
    for place in range(start, stop):
        fill[place] = max(energy[place] - low, 0)
        missing -= fill[place]
        turn[count] = keys[place] & uint64((1 << PRICE_SHIFT) - 1)
        count += energy[place] >= low
    if low > 0:
        first_without = np.sort(turn[:count])[missing]  # more orders have something to lose than there are odd ticks
        for place in range(start, stop):
            last = keys[place] & uint64((1 << PRICE_SHIFT) - 1) >= first_without
            fill[place] += energy[place] >= low and not last


@kernel
def _huang(book, energy, last_bid, last_ask):  # type: ignore[no-untyped-def]
    """Huang et al. (2002): ticks by place that trade when the orders at the marginal places are left out.

    The longer side is cut by equal shares. Returns the fills, of the shape of `energy`, and their volume.
    """
    volume = min(_total(energy, 0, last_bid, 0), _total(energy, book.asks, last_ask, 0))
    fill = np.zeros(len(energy), np.int64)
    _shave(book.keys, energy, 0, last_bid, volume, fill)
    _shave(book.keys, energy, book.asks, last_ask, volume, fill)
    return fill, volume


@kernel
def reduce_trade(book, energy, room, agent, bounds, count, orders, prices):  # type: ignore[no-untyped-def]
    """Stage 2 under trade reduction for one market; other arguments as of `merge`.

    Returns (trades so far, gains from trade, sellers' price, buyers' price), prices in ticks, nan where nothing trades.
    """
    unit = _unit(book, energy, agent)
    if unit > 0:
        pairs, lower, upper = _mcafee(book, energy, unit, room, bounds)
        merged = merge(book, energy, pairs * unit, count, orders, prices)
        return merged.trades, merged.welfare, lower, upper
    trial = merge(book, energy.copy(), room, count, orders, prices)
    if trial.last_bid < 0:
        return count, 0.0, np.nan, np.nan
    fill, volume = _huang(book, energy, trial.last_bid, trial.last_ask)
    merged = merge(book, fill, volume, count, orders, prices)
    lower, upper = price_of_key(book.keys[trial.last_ask]), price_of_key(book.keys[trial.last_bid])
    return merged.trades, merged.welfare, np.float64(lower), np.float64(upper)
