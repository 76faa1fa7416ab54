"""Stage 1 of clearing: two agents that name each other, on opposite sides, trade first."""

from __future__ import annotations

import numpy as np
from numba import njit

from market.books import Packed
from market.config import PER_PRICE
from market.matching import ARRIVAL_MASK, EMPTY, _pair_up
from market.orders import Floats, Ints, price_ticks

Partners = tuple[Ints, Floats, Ints]
"""Matches of stage 1 in serving order, (flat bid, flat ask, ticks) [3, M], their prices [2, M], and starts [E+1]."""


def partner_matches(book: Packed) -> Partners:
    """What stage 1 would trade without a capacity; highest surplus first within a market, ties by rank.

    The keys of the book are sorted.
    """
    markets, size = book.keys.shape
    if book.partner is None:
        return np.empty((3, 0), np.int64), np.empty((2, 0)), np.zeros(markets + 1, np.int64)
    market, place = np.nonzero(book.keys != EMPTY)  # in rank order
    keys = book.keys[market, place]
    position = (keys & np.uint64(ARRIVAL_MASK)).astype(np.int64)
    if book.by_arrival.shape[1]:
        position = book.by_arrival[market, position]
    flat = market * size + position
    rank = np.empty(markets * size, np.int64)
    rank[flat] = place
    theirs = book.partner.ravel()[flat]
    naming = theirs >= 0
    keys, flat, market, position, theirs = keys[naming], flat[naming], market[naming], position[naming], theirs[naming]
    mine = book.agent.ravel()[flat] if book.agent.shape[1] else position
    people = int(max(mine.max(initial=0), theirs.max(initial=0))) + 1
    pair = (market * people + np.minimum(mine, theirs)) * people + np.maximum(mine, theirs)
    grouped = np.argsort(pair, kind="stable")  # keeps the rank order, hence bids before asks
    start = np.flatnonzero(np.diff(pair[grouped], prepend=-1, append=-1))
    matches, prices = np.empty((3, len(flat)), np.int64), np.empty((2, len(flat)))
    energy = np.append(book.quantity.ravel()[flat[grouped]], [0, 0])
    groups = market[grouped][start[:-1]]
    count = _pair_up(keys[grouped], energy, start, groups, size, book.by_arrival, matches, prices)
    matches, prices = matches[:, :count], prices[:, :count]
    bid, ask = matches[0], matches[1]
    market = bid // size
    serving = np.lexsort((rank[ask], rank[bid], price_ticks(prices[1] - prices[0]), market))
    return matches[:, serving], prices[:, serving], np.searchsorted(market[serving], np.arange(markets + 1))


@njit(cache=True, nogil=True)
def _serve_partners(matches, match_prices, start, stop, room, base, left, count, orders, prices):  # type: ignore[no-untyped-def]
    """Stage 1 of one market: its matches start:stop in serving order, within `room`. left [N]: ticks, reduced.

    Returns trades so far, the room that remains, and the gains from trade in price x energy ticks.
    """
    welfare = 0.0
    for m in range(start, stop):
        traded = min(matches[2, m], room)
        if traded == 0:
            break
        bid, ask = matches[0, m], matches[1, m]
        orders[0, count], orders[1, count], orders[2, count] = bid, ask, traded
        prices[0, count], prices[1, count] = match_prices[0, m], match_prices[1, m]
        welfare += traded * (match_prices[0, m] - match_prices[1, m]) * PER_PRICE
        left[bid - base] -= traded
        left[ask - base] -= traded
        room -= traded
        count += 1
    return count, room, welfare
