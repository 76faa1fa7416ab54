"""Grids of every topology, random trades on them, and their flows by walking networkx paths."""

from __future__ import annotations

from itertools import pairwise

import networkx as nx
import numpy as np
import pytest
from hypothesis import strategies as st

from market.grid.network import GridNetwork
from market.grid.topologies import TOPOLOGIES, GridTopology

CAPACITY = 100.0
AMPACITY = 1.0
"""Of the lines, so that a few trades overload them: 35 kW at 20 kV."""
NETWORKS = {topology: GridNetwork(topology, 9, CAPACITY, ampacity=AMPACITY) for topology in TOPOLOGIES}
SIZES = {9: 42, 1: 0, 2: 1, 3: 2, 4: 3, 20: 4}
"""Nodes -> seed of the networks that trades are sent over."""
MANY = {
    topology: [GridNetwork(topology, n, CAPACITY, seed, AMPACITY) for n, seed in SIZES.items()]
    for topology in TOPOLOGIES
}
GENERATED = [GridTopology(name) for name in ("mesh", "ring", "line", "star", "tree")]
"""Those whose shape is worked out in the tests; whatever is added keeps the contract."""
every_topology = pytest.mark.parametrize("topology", TOPOLOGIES)


def path(network: GridNetwork, start: int, end: int) -> list[int]:
    return nx.shortest_path(network.graph, start, end, weight="length")


def twin_flows(network: GridNetwork, trades: list[tuple[int, int, float]]) -> dict[tuple[int, int], float]:
    """Net flow from a to b for every line (a, b) of the grid, by walking networkx paths."""
    grid = network.to_grid()
    flows = dict.fromkeys(zip(grid.line_from.tolist(), grid.line_to.tolist(), strict=True), 0.0)
    for seller, buyer, energy in trades:
        for a, b in pairwise(path(network, seller, buyer)):
            if (a, b) in flows:
                flows[a, b] += energy
            else:
                flows[b, a] -= energy
    return flows


def trades_on(num_nodes: int, most: int = 12) -> st.SearchStrategy[list[tuple[int, int, float]]]:
    places = st.integers(0, num_nodes - 1)
    return st.lists(st.tuples(places, places, st.integers(0, 10_000).map(lambda wh: wh / 1000)), max_size=most)


def columns(trades: list[tuple[int, int, float]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    seller, buyer, energy = zip(*trades, strict=True) if trades else ((), (), ())
    return np.array(seller, np.int64), np.array(buyer, np.int64), np.array(energy, np.float64)
