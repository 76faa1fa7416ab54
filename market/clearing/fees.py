"""What the grid makes of trades: distance, losses, and the fee that pays for them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from market.clearing.books import Packed
from market.clearing.orders import Floats, Ints, Positions
from market.config import MarketConfig
from market.grid.network import Grid
from market.grid.routing import Routing, route
from market.support.kernels import kernel


@dataclass(frozen=True, eq=False)
class Network:
    """What the grid makes of K trades: energy kWh, distance km, loss kWh, fee $, [K]; the congestion of E markets."""

    energy: Floats
    distance: Floats
    loss: Floats
    fee: Floats
    routing: Routing


@lru_cache(maxsize=8)
def loss_shares(grid: Grid, loss_rate: float) -> Floats:
    """Share of the energy lost between two nodes, [n, n]: 1 - exp(-loss_rate d)."""
    return np.asarray(-np.expm1(-loss_rate * grid.distance))


def network_terms(
    book: Packed,
    config: MarketConfig,
    grid: Grid,
    sent: tuple[Positions, Floats, Floats, Ints],
    utility_price: Floats,
    step_hours: float,
) -> Network:
    """What the grid makes of K trades of E markets.

    sent: flat bids and asks [2, K], energy kWh [K], price $/MWh [K], and where each market's trades begin [E + 1].
    utility_price: [E] $/MWh. The DSO supplies what is lost, 1 - exp(-loss_rate d) of the energy, and charges it at the
    utility price; congestion, distance and the same-zone discount are shares of the trade's value; the fee stays within
    [0, max_fee x value].
    """
    orders, energy, price, offsets = sent
    assert book.node is not None
    nodes = np.empty(orders.shape, np.int32)
    _look_up(book.node, book.quantity.shape[1], grid.num_nodes, orders, offsets, nodes)
    buyer_node, seller_node = nodes
    routing = route(grid, seller_node, buyer_node, energy, offsets, step_hours)
    distance, loss, fee = np.empty((3, len(energy)))
    terms = (
        config.congestion_fee,
        config.distance_fee / grid.diameter if grid.diameter > 0 else 0.0,
        config.zone_discount,
        config.max_fee,
    )
    trades = (seller_node, buyer_node, energy, price, routing.utilisation)
    tables = (grid.distance, loss_shares(grid, config.loss_rate), grid.zone)
    _charge(tables, trades, offsets, utility_price, terms, (distance, loss, fee))
    return Network(energy, distance, loss, fee, routing)


@kernel
def _look_up(node, size, num_nodes, orders, offsets, nodes):  # type: ignore[no-untyped-def]
    """nodes [2, K]: those of the flat orders [2, K] of E markets of `size` positions. node: [E, N] or [E, 0].

    32 bits without a sign divide in half the time.
    """
    for side in range(2):
        mine, found = orders[side], nodes[side]
        for e in range(len(offsets) - 1):
            stands, base = node[e], e * size
            for k in range(offsets[e], offsets[e + 1]):
                position = mine[k] - base
                found[k] = stands[position] if len(stands) else np.uint32(position) % np.uint32(num_nodes)


@kernel
def _charge(tables, trades, offsets, utility_price, terms, out):  # type: ignore[no-untyped-def]
    """out: distance km, loss kWh and fee $ of each trade [K]. tables: distances and shares lost [n, n], zones [n].

    trades: nodes of seller and buyer, energy kWh, price $/MWh, utilisation, [K]. utility_price: [E] $/MWh.
    terms: shares of a trade's value: at full congestion, per km, within a zone, and at most.
    """
    distances, lost, zone = tables
    seller, buyer, energy, price, utilisation = trades
    congestion_fee, fee_per_km, zone_discount, max_fee = terms
    distance, loss, fee = out
    for e in range(len(offsets) - 1):
        for k in range(offsets[e], offsets[e + 1]):
            a, b = seller[k], buyer[k]
            distance[k], loss[k] = distances[a, b], lost[a, b] * energy[k]
            value = energy[k] * price[k] / 1000
            share = congestion_fee * min(utilisation[k], 1.0) + fee_per_km * distances[a, b]
            share -= zone_discount * (zone[a] == zone[b])  # no jump: it would be a coin toss
            fee[k] = min(max(loss[k] * utility_price[e] / 1000 + value * share, 0.0), max_fee * value)
