"""Flows of trades along shortest paths, and the congestion that they cause."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from market.grid.network import Grid
from market.support import check
from market.support.arrays import Floats, Int32s, Ints
from market.support.kernels import kernel

Nodes = Int32s | Ints

_ROUTED, _BAD_OFFSETS = -1, -2


class Routing(NamedTuple):
    """Congestion that the trades of E markets cause; the utilisation of a line is |net flow| / what it can carry."""

    utilisation: Floats  # of the fullest line on each trade's path [K], 0 within a node
    mean: Floats  # over all lines, used or not [E]
    max: Floats  # over all lines [E]
    overloaded_hours: Floats  # hours x lines with a utilisation above 1 [E], h


class _Paths(NamedTuple):
    """A grid's arrays of the same names, and `line_capacity`."""

    predecessor: Int32s
    line_of: Int32s
    line_from: Int32s
    limit: Floats


@kernel
def _add_flows(flow, paths, seller, buyer, energy, begin, end):  # type: ignore[no-untyped-def]
    """Adds trades begin to end - 1 of [K] to flow [L], walking each path back from the buyer."""
    for k in range(begin, end):
        node = buyer[k]
        while node != seller[k]:
            before = paths.predecessor[seller[k], node]
            line = paths.line_of[before, node]
            flow[line] += energy[k] if paths.line_from[line] == before else -energy[k]
            node = before


@kernel
def _congest(flow, paths, seller, buyer, energy, hours, utilisation, begin, end):  # type: ignore[no-untyped-def]
    """Fills utilisation [K], zeros before, of trades begin to end - 1; returns its mean, max and overloaded hours.

    flow [L] is scratch: zero before and, line by line, after. Cost: trades x path length.
    """
    limit = paths.limit
    _add_flows(flow, paths, seller, buyer, energy, begin, end)
    mean = most = overloaded = 0.0
    for k in range(begin, end):
        node = buyer[k]
        while node != seller[k]:
            before = paths.predecessor[seller[k], node]
            line = paths.line_of[before, node]
            if flow[line] != 0.0:
                utilisation[k] = max(utilisation[k], abs(flow[line]) / (limit[line] * hours))
            node = before
        most = max(most, utilisation[k])
    for k in range(begin, end):
        node = buyer[k]
        while node != seller[k]:
            before = paths.predecessor[seller[k], node]
            line = paths.line_of[before, node]
            if flow[line] != 0.0:  # each line counts once: it is empty when the next trade passes
                load = abs(flow[line]) / (limit[line] * hours)
                mean += load / len(limit)
                overloaded += hours * (load > 1.0)
                flow[line] = 0.0
            node = before
    return mean, most, overloaded


@kernel
def _by_pairs(n, seller, buyer, energy, begin, end):  # type: ignore[no-untyped-def]
    """Trades begin to end - 1 as one for each pair of n nodes [n^2]: those between the same nodes share a path."""
    total = np.zeros(n * n)
    for k in range(begin, end):
        total[seller[k] * n + buyer[k]] += energy[k]
    giver, taker = np.empty(n * n, seller.dtype), np.empty(n * n, buyer.dtype)
    for pair in range(n * n):
        giver[pair], taker[pair] = pair // n, pair % n
    return giver, taker, total


@kernel
def _route(flow, predecessor, line_of, line_from, limit, seller, buyer, energy, offsets, hours, routing):  # type: ignore[no-untyped-def]
    """Fills `routing`, zeros before; flow: as in `_congest`. Trades that outnumber the pairs of nodes go by pairs.

    Returns -1, or -2 for offsets that do not ascend, or the first trade at an unknown node.
    """
    n, paths = len(predecessor), _Paths(predecessor, line_of, line_from, limit)
    for k in range(len(energy)):
        if not (0 <= seller[k] < n and 0 <= buyer[k] < n):
            return k
    for e in range(len(offsets) - 1):
        if offsets[e] > offsets[e + 1]:
            return _BAD_OFFSETS
    for e in range(len(offsets) - 1):
        begin, end = offsets[e], offsets[e + 1]
        sent, load, by_pairs = (seller, buyer, energy), routing.utilisation, end - begin > n * n
        if by_pairs:
            sent, load = _by_pairs(n, *sent, begin, end), np.zeros(n * n)
        first, last = (0, n * n) if by_pairs else (begin, end)
        sums = _congest(flow, paths, *sent, hours, load, first, last)  # once, as each call would be compiled again
        if by_pairs:
            for k in range(begin, end):
                routing.utilisation[k] = load[seller[k] * n + buyer[k]]
        routing.mean[e], routing.max[e], routing.overloaded_hours[e] = sums
    return _ROUTED


def route(
    grid: Grid, seller_node: Nodes, buyer_node: Nodes, energy: Floats, offsets: Ints, step_hours: float = 1.0
) -> Routing:
    """Send the trades of E markets along shortest paths, each market on an empty grid.

    Flows are netted by direction and never clipped. Where the trades of a market outnumber the pairs of nodes, each
    pair is routed once. Work in Python does not grow with E, K or the grid.

    seller_node, buyer_node: [K].
    energy: [K] kWh.
    offsets: the trades of market e are offsets[e]:offsets[e+1], [E+1].
    step_hours: h.
    """
    trades, markets = len(energy), len(offsets) - 1
    if not seller_node.shape == buyer_node.shape == energy.shape == (trades,):
        shapes = f"{seller_node.shape}, {buyer_node.shape} and {energy.shape}"
        raise ValueError(f"seller_node, buyer_node, energy: got shapes {shapes}; allowed: one value per trade, [K]")
    if markets < 0 or offsets[0] != 0 or offsets[-1] != trades:
        raise ValueError(
            f"offsets: got {check.shown(offsets)}; allowed: [E+1] from 0 to the number of trades, {trades}"
        )
    routing = Routing(np.zeros(trades), np.zeros(markets), np.zeros(markets), np.zeros(markets))
    flow = np.zeros(len(grid.line_length))
    paths = (grid.predecessor, grid.line_of, grid.line_from, grid.line_capacity)
    sent = (seller_node, buyer_node, energy, offsets)
    code = _route(flow, *paths, *sent, float(step_hours), routing)
    if code == _BAD_OFFSETS:
        raise ValueError(f"offsets: got {check.shown(offsets)}; allowed: numbers that never fall")
    if code != _ROUTED:
        way = f"{seller_node[code]} -> {buyer_node[code]}"
        raise ValueError(f"node: got {way} in trade {code}; allowed: 0 to {grid.num_nodes - 1}")
    return routing


def line_flows(grid: Grid, seller_node: ArrayLike, buyer_node: ArrayLike, energy: ArrayLike) -> Floats:
    """Net flow on each line [L], kWh, positive from line_from to line_to, when one market's K trades are delivered.

    seller_node, buyer_node: [K].
    energy: [K] kWh.
    """
    amount, most = check.array("energy", energy, ("trades",)), grid.num_nodes - 1
    seller, buyer = (
        check.array(name, nodes, amount.shape, dtype=np.int64, low=0, high=most, allowed=f"nodes 0 to {most}")
        for name, nodes in (("seller_node", seller_node), ("buyer_node", buyer_node))
    )
    flow = np.zeros(len(grid.line_length))
    paths = _Paths(grid.predecessor, grid.line_of, grid.line_from, grid.line_capacity)
    _add_flows(flow, paths, seller, buyer, amount, 0, len(amount))
    return flow
