"""Linearised power flow of radial grids (LinDistFlow): line flows and voltages from what the nodes feed in.

The grid is balanced and lossless; node 0, the DSO, feeds it, holds 1 p.u. and takes up the difference.
M. E. Baran and F. F. Wu, "Network reconfiguration in distribution systems for loss reduction and load balancing", IEEE
Transactions on Power Delivery 4 (2), 1989, doi:10.1109/61.25627: the branch flow equations without their quadratic
terms. The error in voltage grows with the square of the load; market/README.md says how large it is.
Two sweeps over the tree, leaves to source and back, cost O(n) per market.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order

from market.grid.network import MAX_SIZE, Grid
from market.support import check
from market.support.arrays import Floats, Ints
from market.support.kernels import kernel

SOURCE = 0
"""The node that feeds the grid: 650, 800, the centre, the root, the first of a line."""
_DONE = -1


class Feeder(NamedTuple):
    """A radial grid of n nodes and L = n - 1 lines, seen from its source."""

    order: Ints  # the nodes, each after its parent [n]
    parent: Ints  # the next node towards the source [n]; the source is its own
    line: Ints  # the line to the parent [n]; the source has -1
    sign: Floats  # 1 where the line leads to the parent, -1 where it comes from there, 0 at the source [n]
    rise: Floats  # of the squared voltage above the parent's for each kW sent towards the source [n], p.u. per kW

    @classmethod
    def of(cls, grid: Grid, power_factor: float = 1.0) -> Feeder | None:
        """The grid as a feeder; None where it has loops.

        rise = 2 (r + x tan phi) / V^2, with r and x in ohm, V between lines in kV, and 1000 kW to the MW.

        power_factor: lagging, of all loads and generators, 0.001 to 1.
        """
        factor = check.number("power_factor", power_factor, 1e-3, 1.0)
        n, lines = grid.num_nodes, len(grid.line_length)
        if lines != n - 1:
            return None
        graph = csr_array((np.ones(lines), (grid.line_from, grid.line_to)), shape=(n, n))  # lines of length 0, too
        order, parent = breadth_first_order(graph, SOURCE, directed=False)
        parent[SOURCE] = SOURCE
        line = grid.line_of[np.arange(n), parent].astype(np.int64)
        ohm = grid.line_resistance + grid.line_reactance * np.sqrt(1 - factor**2) / factor
        rise = np.append(2 * ohm / (1000 * grid.line_voltage**2), 0.0)  # line -1, that of the source, has none
        sign = np.where(np.append(grid.line_from, SOURCE)[line] == np.arange(n), 1.0, -1.0)
        sign[SOURCE] = 0.0
        return cls(order.astype(np.int64), parent.astype(np.int64), line, sign, rise[line])

    @property
    def num_nodes(self) -> int:
        """Number of nodes, n."""
        return len(self.order)


class PowerFlow(NamedTuple):
    """Flows and voltages of E markets."""

    flow: Floats  # on each line, positive from line_from to line_to [E, L], kW
    voltage: Floats  # of each node [E, n], p.u.


@kernel
def _sweep(order, parent, rise, power, square):  # type: ignore[no-untyped-def]
    """power [n]: fed in, kW; becomes what each node sends to its parent. Fills square [n]: squared voltage, p.u."""
    for k in range(len(order) - 1, 0, -1):
        power[parent[order[k]]] += power[order[k]]
    square[order[0]] = 1.0
    for k in range(1, len(order)):
        node = order[k]
        square[node] = square[parent[node]] + rise[node] * power[node]


@kernel
def _power_flow(order, parent, rise, line, sign, power, square, flow):  # type: ignore[no-untyped-def]
    """Sweeps E markets; power, square: [E, n], flow: [E, L]."""
    for e in range(len(power)):
        _sweep(order, parent, rise, power[e], square[e])
        for node in range(len(order)):
            if line[node] >= 0:
                flow[e, line[node]] = power[e, node] * sign[node]


@kernel
def _deviation(order, parent, rise, injection, node, deviation):  # type: ignore[no-untyped-def]
    """Fills deviation [E], p.u. injection: of agents [E, N], kW. Returns -1, or the first agent at an unknown node."""
    n = len(order)
    for a in range(len(node)):
        if not 0 <= node[a] < n:
            return a
    power, square = np.empty(n), np.empty(n)
    for e in range(len(injection)):
        power[:] = 0.0
        for a in range(len(node)):
            power[node[a]] += injection[e, a]
        _sweep(order, parent, rise, power, square)
        low, high = 1.0, 1.0
        for i in range(n):
            low, high = min(low, square[i]), max(high, square[i])
        deviation[e] = max(np.sqrt(high) - 1.0, 1.0 - np.sqrt(max(low, 0.0)))
    return _DONE


def power_flow(feeder: Feeder, injection: Floats, step_hours: float = 1.0) -> PowerFlow:
    """Flows and voltages of E markets. A voltage of 0 means that the lines cannot carry that much.

    injection: what each node feeds in less what it takes [E, n], kWh per step.
    step_hours: h; power is the mean over the step.
    """
    power = check.array("injection", injection, ("E", feeder.num_nodes), low=-MAX_SIZE, high=MAX_SIZE)
    power /= check.number("step_hours", step_hours, 1e-3, 24.0, "h")
    square, flow = np.empty(power.shape), np.empty((len(power), feeder.num_nodes - 1))
    _power_flow(feeder.order, feeder.parent, feeder.rise, feeder.line, feeder.sign, power, square, flow)
    return PowerFlow(flow, np.sqrt(np.maximum(square, 0.0, out=square), out=square))


def voltage_deviation(feeder: Feeder, node: NDArray[np.integer[Any]], injection: Floats, step_hours: float) -> Floats:
    """Largest |voltage - 1| of any node [E], p.u.; the same as by `power_flow`, in one pass without arrays [E, n].

    node: of each agent [N].
    injection: what each agent feeds in less what it takes [E, N], kWh.
    step_hours: h.
    """
    if injection.ndim != 2 or injection.shape[1:] != node.shape:
        raise ValueError(f"injection: got shape {injection.shape}; allowed: [E, {len(node)}], one value per agent")
    deviation = np.empty(len(injection))
    agent = _deviation(feeder.order, feeder.parent, feeder.rise, injection / step_hours, node, deviation)
    if agent != _DONE:
        raise ValueError(f"node: got {node[agent]} of agent {agent}; allowed: 0 to {feeder.num_nodes - 1}")
    return deviation
