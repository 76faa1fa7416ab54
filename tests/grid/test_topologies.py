"""Topologies: the contract of each, and what the shapes of this package promise beside it."""

from __future__ import annotations

from dataclasses import replace

import networkx as nx
import numpy as np
import pytest

from grid_support import CAPACITY, GENERATED, every_topology
from market.grid.check import check_topology
from market.grid.network import GridNetwork
from market.grid.topologies import FEEDERS, LONGEST_KM, SHORTEST_KM, SIDE_KM, TOPOLOGIES, GridTopology


@every_topology
def test_every_topology_keeps_the_contract(topology):
    check_topology(TOPOLOGIES[topology])


def changed(**fields):
    """A chain of nodes with some fields made anew from the number of nodes."""
    return lambda n, seed: replace(TOPOLOGIES["line"](n, seed), **{k: make(n) for k, make in fields.items()})


BROKEN = {
    "two nodes without a path": changed(
        line_from=lambda n: np.arange(max(n - 2, 0)),
        line_to=lambda n: np.arange(max(n - 2, 0)) + 1,
        length=lambda n: np.ones(max(n - 2, 0)),
        voltage=lambda n: np.ones(max(n - 2, 0)),
    ),
    "a line from a node to itself": changed(line_to=lambda n: np.arange(n - 1)),
    "beyond 0 to": changed(line_to=lambda n: np.arange(n - 1) + 2),
    "2 lines between 1 pairs": changed(
        line_from=lambda n: np.arange(n - 1) % 2, line_to=lambda n: 1 - np.arange(n - 1) % 2
    ),
    "length: .*at least 0": changed(length=lambda n: np.full(n - 1, -1.0)),
    "voltage: .*at least 1e-06": changed(voltage=lambda n: np.full(n - 1, np.nan)),
    "voltage: shape": changed(voltage=lambda n: np.full(n, 20.0)),
    "without gaps": changed(zone=lambda n: np.arange(n) * 2),
    "as many, or always the same": changed(names=lambda n: tuple("abc"[: n % 4])),
    "when it is made again": changed(length=lambda n: np.random.default_rng().random(n - 1)),
    "one for each pair": changed(complete=lambda n: True),
    "a third node is shorter": lambda n, seed: replace(
        TOPOLOGIES["mesh"](n, seed), length=np.arange(n * (n - 1) // 2) ** 3.0
    ),
}


@pytest.mark.parametrize("said", BROKEN)
def test_the_contract_says_what_is_wrong(said):
    with pytest.raises(AssertionError, match=rf"nodes.*{said}"):
        check_topology(BROKEN[said])


@pytest.mark.parametrize("topology", GENERATED)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 17])
def test_generated_grids_have_the_lines_and_zones_of_their_shape(topology, n):
    network = GridNetwork(topology, n, CAPACITY)
    grid = network.to_grid()
    lines = {"mesh": n * (n - 1) // 2, "ring": n if n > 2 else n - 1}.get(topology, n - 1)
    assert len(grid.line_length) == network.graph.number_of_edges() == lines
    assert (grid.line_length > 0).all()
    if topology is not GridTopology.MESH:  # points may leave a quarter of the square empty
        assert len(set(grid.zone)) == min(n, 4)


@pytest.mark.parametrize(
    ("topology", "degrees"),
    [
        ("mesh", [6] * 7),
        ("ring", [2] * 7),
        ("line", [1, 2, 2, 2, 2, 2, 1]),
        ("star", [6, 1, 1, 1, 1, 1, 1]),
        ("tree", [3, 4, 1, 1, 1, 1, 1]),
    ],
)
def test_shapes_are_what_their_names_say(topology, degrees):
    assert [d for _, d in sorted(GridNetwork(topology, 7, CAPACITY).graph.degree)] == degrees


def test_lengths_are_those_of_a_neighbourhood():
    mesh, ring = (GridNetwork(t, 50, CAPACITY).to_grid() for t in ("mesh", "ring"))
    assert mesh.diameter < SIDE_KM * np.sqrt(2)
    assert SHORTEST_KM <= ring.line_length.min() <= ring.line_length.max() <= LONGEST_KM


@every_topology
def test_zones_are_about_four_and_hang_together(topology):
    network = GridNetwork(topology, 60, CAPACITY)
    zone = network.to_grid().zone
    assert set(zone) == {0, 1, 2, 3}
    for z in range(4) if topology is not GridTopology.STAR else []:  # leaves of a star meet only in the middle
        assert nx.is_connected(network.graph.subgraph(np.flatnonzero(zone == z).tolist()))


def test_zones_of_a_tree_are_the_branches_of_its_root():
    network = GridNetwork("tree", 40, CAPACITY)
    zone = network.to_grid().zone
    branches = list(nx.connected_components(nx.Graph(network.graph.subgraph(range(1, 40)))))
    assert [len({int(zone[i]) for i in branch}) for branch in branches] == [1, 1, 1]
    assert len(set(zone)) == 4


@every_topology
def test_the_seed_decides_and_growing_keeps_what_is_there(topology):
    small, same, other, large = (
        GridNetwork(topology, n, CAPACITY, seed).to_grid() for n, seed in ((6, 1), (6, 1), (6, 2), (9, 1))
    )
    assert (small.line_length == same.line_length).all()
    if topology in FEEDERS:
        assert (small.line_length == other.line_length).all()
    else:
        assert (small.line_length != other.line_length).all()
    if topology in ("line", "star", "tree", "mesh"):
        assert (small.distance == large.distance[:6, :6]).all()
