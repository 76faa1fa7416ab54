"""Linearised power flow of radial grids (LinDistFlow): line flows and voltages from what the nodes feed in.

The grid is balanced, lossless, and fed at node 0, which holds 1 p.u. and takes up the difference: there stands the DSO.
M. E. Baran and F. F. Wu, "Network reconfiguration in distribution systems for loss reduction and load balancing", IEEE
Transactions on Power Delivery 4 (2), 1989, doi:10.1109/61.25627: the branch flow equations without their quadratic
terms. The error in voltage grows with the square of the load; market/README.md says how large it is.

Two sweeps over the tree, leaves to source and back, cost O(n) per market. A product with the matrix of common path
resistances would cost O(n^2) time and memory, and BLAS rounds a batch and a single market differently.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order

from market.config import check_range
from market.grid.network import Floats, Grid, Ints
from market.support.kernels import kernel

SOURCE = 0
"""The node that feeds the grid: 650, 800, the centre, the root, the first of a line."""
_DONE = -1


@dataclass(frozen=True, eq=False)
class Feeder:
    """A radial grid of n nodes and L = n - 1 lines, seen from its source.

    order: the nodes, each after its parent [n]. parent: the next node towards the source [n]; the source is its own.
    line: to the parent [n], and sign: 1 where that is its direction, -1 where not; the source has line -1 and sign 0.
    rise: of the squared voltage above the parent's for each kW sent towards the source [n], p.u. per kW.
    """

    order: Ints
    parent: Ints
    line: Ints
    sign: Floats
    rise: Floats

    @classmethod
    def of(cls, grid: Grid, power_factor: float = 1.0) -> Feeder | None:
        """The grid as a feeder; None where it has loops. power_factor: lagging, of all loads and generators, in (0, 1].

        rise = 2 (r + x tan phi) / V^2, with r and x in ohm, V between lines in kV, and 1000 kW to the MW.
        """
        factor = check_range("power_factor", power_factor, 1e-3, 1.0)
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
    """flow: on each line, positive from line_from to line_to [E, L], kW. voltage: of each node [E, n], p.u."""

    flow: Floats
    voltage: Floats


@kernel
def _sweep(power, square, order, parent, rise):  # type: ignore[no-untyped-def]
    """power [n]: fed in, kW; becomes what each node sends to its parent. Fills square [n]: squared voltage, p.u."""
    for k in range(len(order) - 1, 0, -1):
        power[parent[order[k]]] += power[order[k]]
    square[order[0]] = 1.0
    for k in range(1, len(order)):
        node = order[k]
        square[node] = square[parent[node]] + rise[node] * power[node]


@kernel
def _power_flow(power, square, order, parent, rise):  # type: ignore[no-untyped-def]
    """Sweeps E markets; power, square: [E, n]."""
    for e in range(len(power)):
        _sweep(power[e], square[e], order, parent, rise)


@kernel
def _deviation(injection, node, order, parent, rise, deviation):  # type: ignore[no-untyped-def]
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
        _sweep(power, square, order, parent, rise)
        low, high = 1.0, 1.0
        for i in range(n):
            low, high = min(low, square[i]), max(high, square[i])
        deviation[e] = max(np.sqrt(high) - 1.0, 1.0 - np.sqrt(max(low, 0.0)))
    return _DONE


def power_flow(feeder: Feeder, injection: NDArray[np.float64], step_hours: float = 1.0) -> PowerFlow:
    """Flows and voltages of E markets. injection: what each node feeds in less what it takes [E, n], kWh per step.

    step_hours: h; power is the mean over the step. A voltage of 0 means that the linearisation finds none: the lines
    cannot carry that much.
    """
    fed = np.asarray(injection, np.float64)
    if fed.ndim != 2 or fed.shape[1] != feeder.num_nodes:
        raise ValueError(f"injection: got shape {fed.shape}; allowed: [E, {feeder.num_nodes}], one value per node")
    power, square = fed / check_range("step_hours", step_hours, 1e-3, 24.0, "h"), np.empty(fed.shape)
    _power_flow(power, square, feeder.order, feeder.parent, feeder.rise)
    below = feeder.line >= 0
    flow = np.empty((len(fed), feeder.num_nodes - 1))
    flow[:, feeder.line[below]] = power[:, below] * feeder.sign[below]
    return PowerFlow(flow, np.sqrt(np.maximum(square, 0.0)))


def voltage_deviation(feeder: Feeder, node: NDArray[np.integer[Any]], injection: Floats, step_hours: float) -> Floats:
    """Largest |voltage - 1| of any node [E], p.u., from what agents feed in less what they take, [E, N] kWh.

    node: of each agent [N]. step_hours: h. The same as by `power_flow`, in one pass and without arrays [E, n].
    """
    if injection.ndim != 2 or injection.shape[1:] != node.shape:
        raise ValueError(f"injection: got shape {injection.shape}; allowed: [E, {len(node)}], one value per agent")
    deviation = np.empty(len(injection))
    agent = _deviation(injection / step_hours, node, feeder.order, feeder.parent, feeder.rise, deviation)
    if agent != _DONE:
        raise ValueError(f"node: got {node[agent]} of agent {agent}; allowed: 0 to {feeder.num_nodes - 1}")
    return deviation
