"""What trades cost on the grid: distances, losses, and the fee that pays for them."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from market.clearing.books import Packed
from market.clearing.config import MarketConfig
from market.clearing.orders import Positions
from market.grid.network import Grid
from market.grid.routing import Routing, route
from market.support.arrays import Floats, Ints
from market.support.kernels import kernel


class Network(NamedTuple):
    """What the grid makes of K trades, and the congestion of E markets."""

    energy: Floats  # [K] kWh
    distance: Floats  # [K] km
    loss: Floats  # [K] kWh
    fee: Floats  # [K] $
    routing: Routing


@lru_cache(maxsize=8)
def loss_shares(grid: Grid, loss_rate: float) -> Floats:
    """Share of the energy lost between two nodes, [n, n]: 1 - exp(-loss_rate d)."""
    return np.asarray(-np.expm1(-loss_rate * grid.distance))


def network_terms(
    book: Packed,
    config: MarketConfig,
    grid: Grid,
    orders: Positions,
    energy: Floats,
    price: Floats,
    offsets: Ints,
    utility_price: Floats,
    step_hours: float,
) -> Network:
    """What the grid makes of K trades of E markets.

    The DSO supplies what is lost, 1 - exp(-loss_rate d) of the energy, and charges it at the utility price; congestion,
    distance and the same-zone discount are shares of the trade's value; the fee stays within [0, max_fee x value].

    orders: flat bids and asks [2, K].
    energy: [K] kWh.
    price: [K] $/MWh.
    offsets: the trades of market e are offsets[e]:offsets[e+1], [E + 1].
    utility_price: [E] $/MWh.
    step_hours: h.
    """
    assert book.node is not None
    nodes, charges = np.empty(orders.shape, np.int32), np.empty((3, len(energy)))
    _look_up(book.node, book.quantity.shape[1], grid.num_nodes, orders, offsets, nodes)
    buyer, seller = nodes
    routing = route(grid, seller, buyer, energy, offsets, step_hours)
    per_km = config.distance_fee / grid.diameter if grid.diameter > 0 else 0.0
    shares = (config.congestion_fee, per_km, config.zone_discount, config.max_fee)
    trades = (seller, buyer, energy, price, routing.utilisation, offsets)
    lost = loss_shares(grid, config.loss_rate)
    _charge(grid.distance, lost, grid.zone, *trades, utility_price, shares, charges)
    return Network(energy, charges[0], charges[1], charges[2], routing)


@kernel
def _look_up(node, size, num_nodes, orders, offsets, nodes):  # type: ignore[no-untyped-def]
    """nodes [2, K]: those of the flat orders [2, K] of E markets of `size` positions. node: [E, N] or [E, 0].

    Unsigned integers of 32 bits divide in half the time.
    """
    for side in range(2):
        mine, found = orders[side], nodes[side]
        for e in range(len(offsets) - 1):
            stands, base = node[e], e * size
            for k in range(offsets[e], offsets[e + 1]):
                position = mine[k] - base
                found[k] = stands[position] if len(stands) else np.uint32(position) % np.uint32(num_nodes)


@kernel
def _charge(  # type: ignore[no-untyped-def]
    distances, lost, zone, seller, buyer, energy, price, utilisation, offsets, utility_price, shares, charges
):
    """charges [3, K]: distance km, loss kWh and fee $ of each trade.

    distances km, lost (shares): [n, n]. zone: [n]. seller, buyer: nodes [K]. utility_price: [E] $/MWh.
    shares: of a trade's value: at full congestion, per km, discount within a zone, and at most.
    """
    congestion, per_km, discount, most = shares
    distance, loss, fee = charges
    for e in range(len(offsets) - 1):
        for k in range(offsets[e], offsets[e + 1]):
            a, b = seller[k], buyer[k]
            distance[k], loss[k] = distances[a, b], lost[a, b] * energy[k]
            value = energy[k] * price[k] / 1000
            share = congestion * min(utilisation[k], 1.0) + per_km * distances[a, b]
            share -= discount * (zone[a] == zone[b])  # no branch: it would be mispredicted
            fee[k] = min(max(loss[k] * utility_price[e] / 1000 + value * share, 0.0), most * value)
