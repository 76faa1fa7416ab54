"""Kernels of trade reduction: who trades under MCAFEE, and at which two prices. Ticks throughout.

McAfee (1992), doi:10.1016/0022-0531(92)90091-U, for books of equal units; the multi-unit double auction of Huang,
Scheller-Wolf and Sycara (2002), doi:10.1111/1467-8640.t01-1-00206, otherwise.
"""

from __future__ import annotations

import numpy as np
from numba import njit, uint64

from market.matching import ARRIVAL_MASK, _merge, _price


@njit(cache=True, nogil=True)
def _is_unit_book(keys, end, by_arrival, left, agent):  # type: ignore[no-untyped-def]
    """Whether all orders with something left have the same quantity and different agents; and that quantity."""
    owners = np.empty(end, np.int64)
    count = 0
    unit = np.int64(0)
    for place in range(end):
        i = by_arrival[keys[place] & uint64(ARRIVAL_MASK)]
        if left[i] == 0:
            continue
        if unit == 0:
            unit = left[i]
        elif left[i] != unit:
            return False, unit
        owners[count] = agent[i]
        count += 1
    owners = np.sort(owners[:count])
    for k in range(1, count):
        if owners[k] == owners[k - 1]:
            return False, unit
    return True, unit


@njit(cache=True, nogil=True)
def _mcafee(keys, asks, end, by_arrival, left, unit, capacity, low, high):  # type: ignore[no-untyped-def]
    """McAfee (1992) on a book of equal units: (pairs that trade, sellers' price, buyers' price), prices in ticks.

    low, high: stand for the missing next bid and next ask. When the capacity ends the trade before the book does, the
    first excluded bid and ask set the two prices: each is the critical value of its side, so truth stays optimal.
    """
    bids = np.array([_price(k) for k in keys[:asks] if left[by_arrival[k & uint64(ARRIVAL_MASK)]] > 0], np.float64)
    offers = np.array([_price(k) for k in keys[asks:end] if left[by_arrival[k & uint64(ARRIVAL_MASK)]] > 0], np.float64)
    pairs = 0
    while pairs < min(len(bids), len(offers)) and bids[pairs] >= offers[pairs]:
        pairs += 1
    if pairs == 0:
        return 0, np.nan, np.nan
    if capacity // unit < pairs:
        pairs = capacity // unit
        return pairs, offers[pairs], bids[pairs]
    next_bid = bids[pairs] if pairs < len(bids) else low
    next_ask = offers[pairs] if pairs < len(offers) else high
    price = (next_bid + next_ask) / 2
    if offers[pairs - 1] <= price <= bids[pairs - 1]:
        return pairs, price, price
    return pairs - 1, offers[pairs - 1], bids[pairs - 1]


@njit(cache=True, nogil=True)
def _shave(fill, volume):  # type: ignore[no-untyped-def]
    """Cut `fill` [n], ticks in rank order, to the sum `volume` by equal shares; none below zero, odd ticks by rank."""
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
        return fill
    shaved = np.maximum(fill - low, 0)
    missing = volume - shaved.sum()
    for k in range(len(fill)):
        if missing > 0 and fill[k] >= low:
            shaved[k] += 1
            missing -= 1
    return shaved


@njit(cache=True, nogil=True)
def _huang(keys, asks, by_arrival, left, last_bid, last_ask):  # type: ignore[no-untyped-def]
    """Multi-unit trade reduction of Huang, Scheller-Wolf and Sycara (2002): fills in ticks of the orders before the
    marginal ones, [last_bid] and [last_ask - asks]; the longer side is cut by equal shares."""
    wanted = np.array([left[by_arrival[k & uint64(ARRIVAL_MASK)]] for k in keys[:last_bid]], np.int64)
    offered = np.array([left[by_arrival[k & uint64(ARRIVAL_MASK)]] for k in keys[asks:last_ask]], np.int64)
    volume = min(wanted.sum(), offered.sum())
    return _shave(wanted, volume), _shave(offered, volume)


@njit(cache=True, nogil=True)
def _reduce(keys, asks, end, by_arrival, left, agent, capacity, low, high, count, bids_out, asks_out, energy_out):  # type: ignore[no-untyped-def]
    """Stage 2 under trade reduction for one market; returns (trades so far, sellers' price, buyers' price) in ticks."""
    unit_book, unit = _is_unit_book(keys, end, by_arrival, left, agent)
    if unit_book and unit > 0:
        pairs, lower, upper = _mcafee(keys, asks, end, by_arrival, left, unit, capacity, low, high)
        count, _, _, _ = _merge(keys, asks, end, by_arrival, left, pairs * unit, count, bids_out, asks_out, energy_out)
        return count, lower, upper
    trial = left.copy()
    _, last_bid, last_ask, _ = _merge(
        keys, asks, end, by_arrival, trial, capacity, count, bids_out, asks_out, energy_out
    )
    if last_bid < 0:
        return count, np.nan, np.nan
    wanted, offered = _huang(keys, asks, by_arrival, left, last_bid, last_ask)
    fill = np.zeros_like(left)
    for place in range(last_bid):
        fill[by_arrival[keys[place] & uint64(ARRIVAL_MASK)]] = wanted[place]
    for place in range(asks, last_ask):
        fill[by_arrival[keys[place] & uint64(ARRIVAL_MASK)]] = offered[place - asks]
    left -= fill
    count, _, _, _ = _merge(keys, asks, end, by_arrival, fill, wanted.sum(), count, bids_out, asks_out, energy_out)
    return count, np.float64(_price(keys[last_ask])), np.float64(_price(keys[last_bid]))
