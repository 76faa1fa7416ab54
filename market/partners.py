"""Stage 1 of clearing: two agents that name each other, on opposite sides, trade first."""

from __future__ import annotations

import numpy as np
from numba import njit

from market.books import Packed
from market.config import PER_PRICE
from market.matching import EMPTY, _pair_up, _position
from market.orders import Floats, Ints, price_ticks

Partners = tuple[Ints, Floats, Ints]
"""Matches of stage 1 in serving order, (flat bid, flat ask, ticks) [3, M], their prices [2, M], and starts [E+1]."""


def partner_matches(book: Packed) -> Partners:
    """What stage 1 would trade without a capacity; highest surplus first within a market, ties by rank.

    The keys of the book are sorted.
    """
    markets, size = book.quantity.shape
    if book.partner is None:
        return np.empty((3, 0), np.int64), np.empty((2, 0)), np.zeros(markets + 1, np.int64)
    naming = np.count_nonzero(book.partner >= 0)
    keys, found = np.empty(naming, np.uint64), np.empty((5, naming), np.int64)
    named = _named(book.keys, book.by_arrival, book.agent, book.partner, keys, found)
    keys, (flat, place, market, mine, theirs) = keys[:named], found[:, :named]
    rank = np.empty(markets * size, np.int64)
    rank[flat] = place
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
def _named(keys, by_arrival, agent, partner, named_keys, found):  # type: ignore[no-untyped-def]
    """Who names another agent, in rank order, to named_keys and found (flat, place, market, agent, partner); how many.

    Where each position is an agent of its own, those who are not named in turn are left out: nothing comes of them.
    """
    count, size = 0, partner.shape[1]
    for e in range(len(keys)):
        for place in range(keys.shape[1]):
            key = keys[e, place]
            if key == EMPTY:
                break
            position = _position(key, by_arrival[e])
            theirs, mine = partner[e, position], position
            if theirs < 0:
                continue
            if agent.shape[1]:
                mine = agent[e, position]
            elif theirs >= size or partner[e, theirs] != mine:
                continue
            named_keys[count] = key
            found[0, count], found[1, count], found[2, count] = e * size + position, place, e
            found[3, count], found[4, count] = mine, theirs
            count += 1
    return count


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
