"""What the market is compared with: textbook loops in plain Python, and the bare sort of a book's keys."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from market import Orders
    from market.grid.power_flow import Feeder
    from market.support.arrays import Floats

DSO = -1


class Deal(NamedTuple):
    """A trade as a textbook writes it; $/MWh, kWh."""

    buyer: int
    seller: int
    price: float
    quantity: float


def textbook(orders: Orders, feed_in_tariff: float, utility_price: float) -> list[Deal]:
    """Price-time priority at average prices, then the DSO, one order and one deal at a time.

    Bids from high to low, asks from low to high, earlier ones first; floats, so sums agree to rounding only.
    """
    book = list(zip(orders.price.tolist(), orders.quantity.tolist(), orders.is_buy.tolist(), strict=True))
    bids = sorted((i for i, order in enumerate(book) if order[2]), key=lambda i: (-book[i][0], i))
    asks = sorted((i for i, order in enumerate(book) if not order[2]), key=lambda i: (book[i][0], i))
    left = [quantity for _, quantity, _ in book]
    deals = []
    b = a = 0
    while b < len(bids) and a < len(asks):
        buyer, seller = bids[b], asks[a]
        if book[buyer][0] < book[seller][0]:
            break
        quantity = min(left[buyer], left[seller])
        deals.append(Deal(buyer, seller, (book[buyer][0] + book[seller][0]) / 2, quantity))
        left[buyer] -= quantity
        left[seller] -= quantity
        b += left[buyer] == 0
        a += left[seller] == 0
    for i, (_, _, is_buy) in enumerate(book):
        if left[i] > 0:
            price = utility_price if is_buy else feed_in_tariff
            deals.append(Deal(i if is_buy else DSO, DSO if is_buy else i, price, left[i]))
    return deals


def textbook_flow(feeder: Feeder, injections: Floats) -> tuple[list[list[float]], list[list[float]]]:
    """Power that each node sends towards the source, kW, and voltages, p.u., of each row of `injections` [E, n].

    LinDistFlow: what a node feeds in passes every line on its way to the source, and each line adds to the squares.
    """
    parent, rise, order = feeder.parent.tolist(), feeder.rise.tolist(), feeder.order.tolist()
    flows, voltages = [], []
    for fed in injections.tolist():
        sent = [0.0] * len(fed)
        for start, power in enumerate(fed):
            node = start
            sent[node] += power
            while parent[node] != node:
                node = parent[node]
                sent[node] += power
        square = [1.0] * len(fed)
        for node in order[1:]:
            square[node] = square[parent[node]] + rise[node] * sent[node]
        flows.append(sent)
        voltages.append([max(value, 0.0) ** 0.5 for value in square])
    return flows, voltages


def sort_keys(orders: Orders) -> NDArray[np.uint64]:
    """The packed keys of a book without reputations, in order of arrival, unsorted [n]."""
    from market.clearing.matching import pack
    from market.clearing.orders import energy_ticks, price_ticks

    shape = (1, len(orders))
    keys, arrivals, reputation = np.empty(shape, np.uint64), np.empty((1, 0), np.int64), np.zeros(shape, np.int64)
    active = energy_ticks(orders.quantity) > 0
    pack(price_ticks(orders.price)[None], orders.is_buy[None], active[None], reputation, arrivals, keys)
    return keys[0]


def sort_columns(orders: Orders) -> tuple[NDArray[np.int64], Floats, NDArray[np.bool_]]:
    """The columns of a book that `np.lexsort` takes: arrival, price from the best on, side."""
    return np.arange(len(orders)), np.where(orders.is_buy, -orders.price, orders.price), orders.is_buy
