"""Stage 1 of clearing: two agents that name each other, on opposite sides, trade first."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from market.clearing.books import Packed
from market.clearing.matching import ASK_BIT, EMPTY, Keys, merge, price_of_key, sides
from market.clearing.orders import Energies, price_ticks
from market.constants import PER_PRICE
from market.support.arrays import Floats, Ints
from market.support.kernels import kernel


class Partners(NamedTuple):
    """Trades of stage 1, in the order in which they are served."""

    orders: Ints  # flat bid, flat ask, ticks [3, M]
    prices: Floats  # of bid and ask [2, M], $/MWh
    starts: Ints  # where each market's trades begin [E + 1]; [0] without preferences


NOBODY = Partners(np.empty((3, 0), np.int64), np.empty((2, 0)), np.empty(0, np.int64))


def serve_partners(book: Packed, left: Energies, capacity: int) -> Partners:
    """Stage 1 of E markets: highest surplus first, ties by rank; ticks may be 0 where the capacity ends.

    left: ticks of the orders [E, N]; reduced.
    capacity: ticks that each market may trade in all.
    """
    if book.partner is None:
        return NOBODY
    markets, size = left.shape
    if book.agent.shape[1]:
        orders, prices, bid_keys = _by_agents(book, book.partner)
    else:
        most = markets * (size // 2) + 1
        orders, prices, bid_keys = np.empty((3, most), np.int64), np.empty((2, most)), np.empty(most, np.uint64)
        count = _mutual(book.keys, book.by_arrival, book.quantity, book.partner, orders, prices, bid_keys)
        orders, prices, bid_keys = orders[:, :count], prices[:, :count], bid_keys[:count]
    market = orders[0] // size
    serving = np.lexsort((bid_keys, price_ticks(prices[1] - prices[0]), market))  # a bid's asks stay in their order
    starts = np.searchsorted(market[serving], np.arange(markets + 1))
    partners = Partners(orders[:, serving], prices[:, serving], starts)
    _serve(partners.orders, starts, capacity, left)
    return partners


@kernel
def _mutual(keys, by_arrival, quantity, partner, orders, prices, bid_keys):  # type: ignore[no-untyped-def]
    """Matches where each position is an agent of its own, so that no order is in two: how many. Inputs [E, N].

    Outputs [.., M]; they have a column to spare for the last candidate.
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
            bid_price, ask_price = price_of_key(bid_key), price_of_key(ask_key)
            bid, ask = (mine, theirs) if one < other else (theirs, mine)
            orders[0, count], orders[1, count] = e * size + bid, e * size + ask
            orders[2, count] = min(energy[mine], energy[theirs])
            prices[0, count], prices[1, count] = bid_price / PER_PRICE, ask_price / PER_PRICE
            bid_keys[count] = bid_key
            opposed = (bid_key < ASK_BIT) & (ask_key >= ASK_BIT) & (ask_key != EMPTY)
            count += (named[theirs] == mine) & opposed & (bid_price >= ask_price)
    return count


def _by_agents(book: Packed, partner: Ints) -> tuple[Ints, Floats, Keys]:
    """Matches where an agent may have several orders: flat bid, flat ask, ticks [3, M], prices [2, M], bids' keys."""
    size = partner.shape[1]
    market, rank = np.nonzero(book.keys != EMPTY)
    position = book.by_arrival[market, rank] if book.by_arrival.shape[1] else rank
    naming = partner[market, position] >= 0
    market, rank, position = market[naming], rank[naming], position[naming]
    keys, flat = book.keys[market, rank], market * size + position
    mine, theirs = book.agent[market, position], partner[market, position]
    agents = int(max(mine.max(initial=0), theirs.max(initial=0))) + 1
    pair = (market * agents + np.minimum(mine, theirs)) * agents + np.maximum(mine, theirs)
    grouped = np.lexsort((keys, pair))
    start = np.flatnonzero(np.diff(pair[grouped], prepend=-1, append=-1))
    orders, prices = np.empty((3, len(keys)), np.int64), np.empty((2, len(keys)))
    energy = np.append(book.quantity.ravel()[flat[grouped]], [0, 0])
    groups = market[grouped][start[:-1]]
    count = _pair_up(keys[grouped], energy, start, groups, size, book.by_arrival, orders, prices)
    key_of = np.empty(book.quantity.size, np.uint64)
    key_of[flat] = keys
    return orders[:, :count], prices[:, :count], key_of[orders[0, :count]]


@kernel
def _pair_up(keys, energy, start, market, size, by_arrival, orders, prices):  # type: ignore[no-untyped-def]
    """Merges the orders of each pair of agents, without a capacity: group g at start[g]:start[g+1], of market[g].

    keys: sorted within a group; energy: two more. Fills orders and prices as `merge` does, and returns how many; at
    most one per order.
    """
    count = 0
    for g in range(len(market)):
        first, last, e = start[g], start[g + 1], market[g]
        ticks = energy[first : last + 2]  # `merge` reads ahead
        everything = ticks[: last - first].sum()
        count = merge(sides(keys[first:last], by_arrival[e], e * size), ticks, everything, count, orders, prices).trades
    return count


@kernel
def _serve(orders, starts, capacity, left):  # type: ignore[no-untyped-def]
    """Cuts each market's trades, in serving order, to its capacity; left [E, N] is reduced."""
    for e in range(len(left)):
        base, room = e * left.shape[1], capacity
        for m in range(starts[e], starts[e + 1]):
            traded = min(orders[2, m], room)
            orders[2, m] = traded
            left[e, orders[0, m] - base] -= traded
            left[e, orders[1, m] - base] -= traded
            room -= traded
