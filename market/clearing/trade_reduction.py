"""Kernels of trade reduction: who trades under MCAFEE, and at which two prices. Ticks throughout.

McAfee (1992), doi:10.1016/0022-0531(92)90091-U, for books of equal units; the multi-unit double auction of Huang,
Scheller-Wolf and Sycara (2002), doi:10.1111/1467-8640.t01-1-00206, otherwise.
Keys and energy are one market's, by place: bids in [0, asks), asks in [asks, end); see `market.clearing.matching`.
"""

from __future__ import annotations

import numpy as np
from numba import uint64

from market.clearing.matching import PRICE_SHIFT, _merge, _position, _price
from market.support.kernels import kernel


@kernel
def _unit(keys, energy, end, by_arrival, agent):  # type: ignore[no-untyped-def]
    """The quantity of all orders with something left, if it is the same and their agents differ; else 0."""
    owners = np.empty(end, np.int64)
    count = 0
    unit = np.int64(0)
    for place in range(end):
        if energy[place] == 0:
            continue
        if unit == 0:
            unit = energy[place]
        elif energy[place] != unit:
            return np.int64(0)
        if len(agent):
            owners[count] = agent[_position(keys[place], by_arrival)]
            count += 1
    owners = np.sort(owners[:count])
    for k in range(1, count):
        if owners[k] == owners[k - 1]:
            return np.int64(0)
    return unit


@kernel
def _mcafee(keys, energy, asks, end, unit, room, bounds):  # type: ignore[no-untyped-def]
    """McAfee (1992) on a book of equal units: (pairs that trade, sellers' price, buyers' price), prices in ticks.

    bounds: stand for the missing next bid and next ask. When the capacity ends the trade before the book does, the
    first excluded bid and ask set the two prices: each is the critical value of its side, so truth stays optimal.
    """
    bids = np.array([_price(keys[k]) for k in range(asks) if energy[k] > 0], np.float64)
    offers = np.array([_price(keys[k]) for k in range(asks, end) if energy[k] > 0], np.float64)
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
def _huang(keys, energy, asks, last_bid, last_ask):  # type: ignore[no-untyped-def]
    """Huang et al. (2002): ticks by place that trade when the orders at the marginal places are left out.

    The longer side is cut by equal shares. Returns the fills, of the shape of `energy`, and their volume.
    """
    wanted, offered = energy[:last_bid], energy[asks:last_ask]
    volume = min(wanted.sum(), offered.sum())
    fill = np.zeros_like(energy)
    fill[:last_bid] = _shave(wanted, volume, keys[:last_bid])
    fill[asks:last_ask] = _shave(offered, volume, keys[asks:last_ask])
    return fill, volume


@kernel
def _reduce(keys, energy, asks, end, room, by_arrival, agent, bounds, base, count, orders, prices):  # type: ignore[no-untyped-def]
    """Stage 2 under trade reduction for one market; bids [0, asks), asks [asks, end), other arguments as of `_merge`.

    Returns (trades so far, gains from trade, sellers' price, buyers' price), prices in ticks, nan where nothing trades.
    """
    unit = _unit(keys, energy, end, by_arrival, agent)
    if unit > 0:
        pairs, lower, upper = _mcafee(keys, energy, asks, end, unit, room, bounds)
        merged = _merge(keys, energy, asks, end, pairs * unit, by_arrival, base, count, orders, prices)
        return merged[0], merged[5], lower, upper
    trial = energy.copy()
    merged = _merge(keys, trial, asks, end, room, by_arrival, base, count, orders, prices)
    last_bid, last_ask = merged[3], merged[4]
    if last_bid < 0:
        return count, 0.0, np.nan, np.nan
    fill, volume = _huang(keys, energy, asks, last_bid, last_ask)
    merged = _merge(keys, fill, asks, end, volume, by_arrival, base, count, orders, prices)
    return merged[0], merged[5], np.float64(_price(keys[last_ask])), np.float64(_price(keys[last_bid]))
