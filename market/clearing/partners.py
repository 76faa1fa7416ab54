"""Stage 1 of clearing: two agents that name each other, on opposite sides, trade first."""

from __future__ import annotations

import numpy as np

from market.clearing.books import Keys, Packed
from market.clearing.matching import ASK_BIT, EMPTY, _pair_up, _position, _price
from market.clearing.orders import Energies, Floats, Ints, price_ticks
from market.config import PER_PRICE
from market.support.kernels import kernel

Partners = tuple[Ints, Floats, Ints]
"""Trades of stage 1 in serving order, (flat bid, flat ask, ticks) [3, M], their prices [2, M], and starts [E+1]."""


def serve_partners(book: Packed, left: Energies, room: Ints) -> Partners:
    """Stage 1 of E markets: highest surplus first, ties by rank; ticks may be 0 where the capacity ends.

    left: ticks of the orders [E, N]. room: ticks that each market may still trade [E]. Both are reduced.
    """
    markets, size = left.shape
    if book.partner is None:
        return np.empty((3, 0), np.int64), np.empty((2, 0)), np.zeros(markets + 1, np.int64)
    if book.agent.shape[1]:
        matches, prices, bid_keys = _by_agents(book, book.partner)
    else:
        most = markets * (size // 2) + 1
        matches, prices, bid_keys = np.empty((3, most), np.int64), np.empty((2, most)), np.empty(most, np.uint64)
        count = _mutual(book.keys, book.by_arrival, book.quantity, book.partner, matches, prices, bid_keys)
        matches, prices, bid_keys = matches[:, :count], prices[:, :count], bid_keys[:count]
    market = matches[0] // size
    serving = np.lexsort((bid_keys, price_ticks(prices[1] - prices[0]), market))  # a bid's asks stay in their order
    matches, starts = matches[:, serving], np.searchsorted(market[serving], np.arange(markets + 1))
    _serve(matches, starts, room, left)
    return matches, prices[:, serving], starts


@kernel
def _mutual(keys, by_arrival, quantity, partner, matches, prices, bid_keys):  # type: ignore[no-untyped-def]
    """Matches where each position is an agent of its own, so that no order is in two: how many. Inputs [E, N].

    Each candidate is written, and the next one takes its row if it is no match: jumps would be coin tosses. The outputs
    [.., M] have a row to spare for the last.
    """
    count, size = 0, partner.shape[1]
    rank_of, candidates = np.empty(by_arrival.shape[1], np.int64), np.empty(size, np.int64)
    for e in range(len(keys)):
        key, energy, named = keys[e], quantity[e], partner[e]
        for rank in range(len(rank_of)):
            rank_of[by_arrival[e, rank]] = rank
        naming = 0
        for mine in range(size):
            candidates[naming] = mine
            naming += (named[mine] > mine) & (named[mine] < size)
        for mine in candidates[:naming]:
            theirs = named[mine]
            one, other = (key[rank_of[mine]], key[rank_of[theirs]]) if len(rank_of) else (key[mine], key[theirs])
            bid_key, ask_key = min(one, other), max(one, other)
            bid, ask = (mine, theirs) if one < other else (theirs, mine)
            matches[0, count], matches[1, count] = e * size + bid, e * size + ask
            matches[2, count] = min(energy[mine], energy[theirs])
            prices[0, count], prices[1, count] = _price(bid_key) / PER_PRICE, _price(ask_key) / PER_PRICE
            bid_keys[count] = bid_key
            opposed = (bid_key < ASK_BIT) & (ask_key >= ASK_BIT) & (ask_key != EMPTY)
            count += (named[theirs] == mine) & opposed & (_price(bid_key) >= _price(ask_key))
    return count


def _by_agents(book: Packed, partner: Ints) -> tuple[Ints, Floats, Keys]:
    """Matches where an agent may have several orders: (flat bid, flat ask, ticks) [3, M], prices [2, M], bids' keys."""
    size, naming = partner.shape[1], np.count_nonzero(partner >= 0)
    keys, found = np.empty(naming, np.uint64), np.empty((4, naming), np.int64)
    named = _named(book.keys, book.by_arrival, book.agent, partner, keys, found)
    keys, (flat, market, mine, theirs) = keys[:named], found[:, :named]
    people = int(max(mine.max(initial=0), theirs.max(initial=0))) + 1
    pair = (market * people + np.minimum(mine, theirs)) * people + np.maximum(mine, theirs)
    grouped = np.lexsort((keys, pair))
    start = np.flatnonzero(np.diff(pair[grouped], prepend=-1, append=-1))
    matches, prices = np.empty((3, named), np.int64), np.empty((2, named))
    energy = np.append(book.quantity.ravel()[flat[grouped]], [0, 0])
    groups = market[grouped][start[:-1]]
    count = _pair_up(keys[grouped], energy, start, groups, size, book.by_arrival, matches, prices)
    matches, prices = matches[:, :count], prices[:, :count]
    key_of = np.empty(book.quantity.size, np.uint64)
    key_of[flat] = keys
    return matches, prices, key_of[matches[0]]


@kernel
def _named(keys, by_arrival, agent, partner, named_keys, found):  # type: ignore[no-untyped-def]
    """Who names another agent, to named_keys and found (flat, market, agent, partner); returns how many."""
    count, size = 0, partner.shape[1]
    for e in range(len(keys)):
        for rank in range(size):
            key = keys[e, rank]
            if key == EMPTY:
                continue
            position = _position(key, by_arrival[e])
            if partner[e, position] < 0:
                continue
            named_keys[count] = key
            found[0, count], found[1, count] = e * size + position, e
            found[2, count], found[3, count] = agent[e, position], partner[e, position]
            count += 1
    return count


@kernel
def _serve(matches, starts, room, left):  # type: ignore[no-untyped-def]
    """Cuts each market's matches [3, M], in serving order, to its room [E]; room and left [E, N] are reduced."""
    for e in range(len(room)):
        base = e * left.shape[1]
        for m in range(starts[e], starts[e + 1]):
            traded = min(matches[2, m], room[e])
            matches[2, m] = traded
            left[e, matches[0, m] - base] -= traded
            left[e, matches[1, m] - base] -= traded
            room[e] -= traded
