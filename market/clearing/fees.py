"""What trades cost on the grid: distances, losses, and the fee that pays for them."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from market.clearing.books import Packed
from market.clearing.orders import Floats, Ints, Positions
from market.config import MarketConfig
from market.grid.network import Grid
from market.grid.routing import Routing, route
from market.support.kernels import kernel


class Sent(NamedTuple):
    """K trades of E markets."""

    orders: Positions  # flat bid and ask [2, K]
    energy: Floats  # [K] kWh
    price: Floats  # [K] $/MWh
    offsets: Ints  # the trades of market e are offsets[e]:offsets[e+1], [E + 1]


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
    book: Packed, config: MarketConfig, grid: Grid, sent: Sent, utility_price: Floats, step_hours: float
) -> Network:
    """What the grid makes of trades.

    The DSO supplies what is lost, 1 - exp(-loss_rate d) of the energy, and charges it at the utility price; congestion,
    distance and the same-zone discount are shares of the trade's value; the fee stays within [0, max_fee x value].

    utility_price: [E] $/MWh.
    step_hours: h.
    """
    assert book.node is not None
    nodes, (distance, loss, fee) = np.empty(sent.orders.shape, np.int32), np.empty((3, len(sent.energy)))
    _look_up(book.node, book.quantity.shape[1], grid.num_nodes, sent.orders, sent.offsets, nodes)
    buyer, seller = nodes
    network = Network(
        sent.energy, distance, loss, fee, route(grid, seller, buyer, sent.energy, sent.offsets, step_hours)
    )
    per_km = config.distance_fee / grid.diameter if grid.diameter > 0 else 0.0
    shares = (config.congestion_fee, per_km, config.zone_discount, config.max_fee)
    lost = loss_shares(grid, config.loss_rate)
    _charge(grid.distance, lost, grid.zone, seller, buyer, sent, utility_price, *shares, network)
    return network


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
def _charge(distances, lost, zone, seller, buyer, sent, utility_price, congestion, per_km, discount, most, network):  # type: ignore[no-untyped-def]
    """Fills distance, loss and fee of `network`. congestion (at its fullest), per_km, discount, most: shares of value.

    distances km, lost (shares): [n, n]. zone: [n]. seller, buyer: nodes [K]. utility_price: [E] $/MWh.
    """
    energy, distance, loss, fee, routing = network
    for e in range(len(sent.offsets) - 1):
        for k in range(sent.offsets[e], sent.offsets[e + 1]):
            a, b = seller[k], buyer[k]
            distance[k], loss[k] = distances[a, b], lost[a, b] * energy[k]
            value = energy[k] * sent.price[k] / 1000
            share = congestion * min(routing.utilisation[k], 1.0) + per_km * distances[a, b]
            share -= discount * (zone[a] == zone[b])  # no branch: it would be mispredicted
            fee[k] = min(max(loss[k] * utility_price[e] / 1000 + value * share, 0.0), most * value)
