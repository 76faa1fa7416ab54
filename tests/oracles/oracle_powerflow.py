"""The slow, obvious twin of the linearised power flow: cut each line, sum up what lies beyond, walk to each node.

Nothing here is imported from `market`; see `oracle` for the market itself.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import networkx as nx


class Line(NamedTuple):
    """From a to b. r, x: ohm. kv: line voltage, kV."""

    a: int
    b: int
    r: float
    x: float
    kv: float


def lines_of(grid) -> list[Line]:
    """The lines of a `market.grid.network.Grid`."""
    columns = (grid.line_from, grid.line_to, grid.line_resistance, grid.line_reactance, grid.line_voltage)
    return [Line(int(a), int(b), float(r), float(x), float(kv)) for a, b, r, x, kv in zip(*columns, strict=True)]


def lin_dist_flow(lines: list[Line], injection: list[float], power_factor: float = 1.0):
    """(kW on each line from a to b, voltage of each node in p.u.) of a tree fed at node 0. injection: of nodes, kW.

    v_j^2 = v_i^2 - 2 (r P + x Q) along each line from i to j, in p.u.: Baran and Wu (1989) without the losses.
    """
    graph = nx.Graph()
    graph.add_nodes_from(range(len(injection)))
    graph.add_edges_from((line.a, line.b) for line in lines)
    flow, drop = [], {}
    for line in lines:
        cut = nx.restricted_view(graph, [], [(line.a, line.b)])
        beyond = set(graph) - nx.node_connected_component(cut, 0)
        away = -sum(injection[i] for i in beyond)  # kW that leaves the source along this line
        flow.append(away if line.b in beyond else -away)
        reactive = away * math.tan(math.acos(power_factor))
        drop[frozenset((line.a, line.b))] = 2 * (line.r * away + line.x * reactive) / 1000 / line.kv**2
    squares = [1 - sum(drop[frozenset(hop)] for hop in pairwise(nx.shortest_path(graph, 0, i))) for i in graph]
    return flow, [math.sqrt(max(square, 0.0)) for square in squares]
