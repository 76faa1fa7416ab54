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
    owners = np.empty(book.end, np.int64)
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
def _mcafee(book, energy, unit, room, bounds):  # type: ignore[no-untyped-def]
    """McAfee (1992) on a book of equal units: (pairs that trade, sellers' price, buyers' price), prices in ticks.

    bounds: stand for the missing next bid and next ask. When the capacity ends the trade before the book does, the
    first excluded bid and ask set the two prices: each is the critical value of its side, so truth stays optimal.
    """
    keys, asks, end = book.keys, book.asks, book.end
    bids = np.array([price_of_key(keys[k]) for k in range(asks) if energy[k] > 0], np.float64)
    offers = np.array([price_of_key(keys[k]) for k in range(asks, end) if energy[k] > 0], np.float64)
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
def _shave(fill, volume, keys):  # type: ignore[no-untyped-def]
    """Cut `fill` [n], ticks, to the sum `volume` by equal shares, none below zero.

    Odd ticks go by reputation, then arrival, in the low bits of keys [n]; not by price, or a lie would win one.
    """
    low, high = np.int64(0), np.int64(0)
    if len(fill):
        high = fill.max()
    while low < high:  # least cut that fits
        cut = (low + high) // 2
        if np.maximum(fill - cut, 0).sum() <= volume:
            high = cut
        else:
            low = cut + 1
    if low == 0:
        return fill.copy()
    shaved = np.maximum(fill - low, 0)
    missing = volume - shaved.sum()
    turn = keys & uint64((1 << PRICE_SHIFT) - 1)
    first_without = np.sort(turn[fill >= low])[missing]  # there are more orders with something to lose than odd ticks
    for k in range(len(fill)):
        shaved[k] += fill[k] >= low and turn[k] < first_without
    return shaved


@kernel
def _huang(book, energy, last_bid, last_ask):  # type: ignore[no-untyped-def]
    """Huang et al. (2002): ticks by place that trade when the orders at the marginal places are left out.

    The longer side is cut by equal shares. Returns the fills, of the shape of `energy`, and their volume.
    """
    bids, asks = slice(0, last_bid), slice(book.asks, last_ask)
    volume = min(energy[bids].sum(), energy[asks].sum())
    fill = np.zeros_like(energy)
    fill[bids] = _shave(energy[bids], volume, book.keys[bids])
    fill[asks] = _shave(energy[asks], volume, book.keys[asks])
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
