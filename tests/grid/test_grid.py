"""The grid: feeders, distances, and the description that it is made from."""

from __future__ import annotations

import pickle
import sys
import time
import tracemalloc
from dataclasses import dataclass

import networkx as nx
import numpy as np
import pytest

from grid_support import CAPACITY, NETWORKS, columns, every_topology
from market.grid.network import Grid, GridNetwork
from market.grid.routing import line_flows, route
from market.grid.topologies import FEEDERS, KM_PER_FOOT, GridTopology


@dataclass
class Agent:
    id: str
    node: int | None = None


def node(grid: Grid, name: str) -> int:
    return grid.names.index(name)


def feet(km: float) -> int:
    whole = round(km / KM_PER_FOOT)
    assert km == pytest.approx(whole * KM_PER_FOOT, rel=1e-12)
    return whole


# Feeders


def test_ieee13_is_the_published_feeder():
    grid = GridNetwork("ieee13", 1, CAPACITY).to_grid()
    assert (grid.num_nodes, len(grid.line_length)) == (13, 12)
    assert sum(map(feet, grid.line_length)) == 8_200
    assert feet(grid.distance[node(grid, "650"), node(grid, "652")]) == 5_100
    assert nx.is_tree(NETWORKS[GridTopology.IEEE13].graph)


def test_ieee34_is_the_published_feeder():
    grid = GridNetwork("ieee34", 1, CAPACITY).to_grid()
    assert (grid.num_nodes, len(grid.line_length)) == (34, 33)
    assert sum(map(feet, grid.line_length)) == 308_114
    assert feet(grid.distance[node(grid, "800"), node(grid, "838")]) == 193_510
    assert nx.is_tree(NETWORKS[GridTopology.IEEE34].graph)


@pytest.mark.parametrize(
    ("topology", "here", "there", "beyond", "length"),
    [
        ("ieee13", "633", "634", "632", 500),
        ("ieee13", "671", "692", "675", 500),
        ("ieee34", "832", "888", "890", 10_560),
    ],
)
def test_switches_join_nodes_at_distance_zero_and_carry_anything(topology, here, there, beyond, length):
    grid = GridNetwork(topology, 13, CAPACITY).to_grid()
    a, b, c = (node(grid, name) for name in (here, there, beyond))
    assert grid.distance[a, b] == 0
    assert grid.predecessor[a, b] == a
    line = grid.line_of[a, b]
    assert line >= 0
    assert grid.line_length[line] == 0
    assert grid.line_capacity[line] == np.inf
    assert feet(grid.distance[a, c]) == feet(grid.distance[b, c]) == length
    assert abs(line_flows(grid, [a], [b], [7.0])[line]) == 7
    assert route(grid, *columns([(a, b, 7.0)]), np.array([0, 1])).utilisation == [0]


def test_feeder_zones():
    grid = GridNetwork("ieee13", 13, CAPACITY).to_grid()
    zones = [{name for name, z in zip(grid.names, grid.zone, strict=True) if z == zone} for zone in range(4)]
    assert zones == [{"650", "632"}, {"633", "634"}, {"645", "646"}, {"671", "680", "692", "675", "684", "611", "652"}]
    grid = GridNetwork("ieee34", 34, CAPACITY).to_grid()
    ends = [node(grid, name) for name in ("800", "814", "850", "852", "832", "838", "888", "890")]
    assert grid.zone[ends].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert np.bincount(grid.zone).tolist() == [7, 12, 13, 2]


# Distances


@every_topology
def test_distances_and_paths_are_the_shortest(topology):
    network = NETWORKS[topology]
    grid = network.to_grid()
    lengths = dict(nx.all_pairs_dijkstra_path_length(network.graph, weight="length"))
    for a in range(grid.num_nodes):
        assert grid.predecessor[a, a] == -1
        for b in range(grid.num_nodes):
            assert grid.distance[a, b] == pytest.approx(lengths[a][b], rel=1e-12, abs=1e-12)
            walked, at = 0.0, b
            while at != a:
                before = grid.predecessor[a, at]
                walked += grid.line_length[grid.line_of[before, at]]
                at = before
            assert walked == pytest.approx(lengths[a][b], rel=1e-12, abs=1e-12)
    assert (grid.distance == grid.distance.T).all()
    assert grid.diameter == grid.distance.max()


@every_topology
def test_line_of_finds_each_line_both_ways(topology):
    grid = NETWORKS[topology].to_grid()
    number = np.arange(len(grid.line_length))
    assert (grid.line_of[grid.line_from, grid.line_to] == number).all()
    assert (grid.line_of[grid.line_to, grid.line_from] == number).all()
    assert (grid.line_of >= 0).sum() == 2 * len(number)


# The description


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("mush", 3, 1.0), "topology: got 'mush'; allowed: .*did you mean 'mesh'"),
        (("mesh", 0, 1.0), "num_nodes: got 0; allowed"),
        (("mesh", 2.5, 1.0), "num_nodes: got 2.5; allowed"),
        (("mesh", 3, -1.0), "capacity: got -1.0; allowed"),
        (("mesh", 3, float("nan")), "capacity: got nan; allowed"),
        (("mesh", 3, 1.0, -1), "seed: got -1; allowed"),
        (("mesh", 3, 1.0, 42, 0.0), "ampacity: got 0.0; allowed: 1e-06 to 1000000000 A"),
    ],
)
def test_network_refuses_bad_input_in_one_line(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        GridNetwork(*arguments)
    assert "\n" not in str(error.value)


def test_feeders_have_their_own_node_count():
    assert [GridNetwork(t, 100, CAPACITY).num_nodes for t in FEEDERS] == [13, 34]


def test_agents_go_round_the_nodes_and_keep_a_node_of_their_own():
    network = GridNetwork("ring", 3, CAPACITY)
    agents = [Agent("a"), Agent("b"), Agent("c", node=0), Agent("d"), Agent("e")]
    assert network.assign_agents_to_graph(agents) == {"a": 0, "b": 1, "c": 0, "d": 0, "e": 1}
    network.assign_agents_to_graph([Agent("z")])
    assert network.agent_node == {"z": 0}


@pytest.mark.parametrize(
    ("agents", "message"),
    [
        ([Agent("a", 3)], "node of agent 'a': got 3; allowed: 0 to 2"),
        ([Agent("a", -1)], "node of agent 'a': got -1; allowed: 0 to 2, a whole number"),
        ([Agent("a", True)], "node of agent 'a': got True; allowed: 0 to 2, a whole number"),
        ([5], "agents: got 5; allowed: agents, each with an id and a node"),
        (5, "agents: got 5; allowed: agents, each with an id and a node"),
        ([Agent("a"), Agent("a")], "agents: got id 'a' twice; allowed: each id once"),
    ],
)
def test_agents_that_cannot_be_placed_are_refused(agents, message):
    with pytest.raises(ValueError, match=message):
        GridNetwork("ring", 3, CAPACITY).assign_agents_to_graph(agents)


def test_pickles_are_small_and_come_back_equal_and_read_only():
    network = GridNetwork("mesh", 200, CAPACITY)
    network.assign_agents_to_graph([Agent("a")])
    grid = network.to_grid()
    assert network.to_grid() is grid
    assert len(pickle.dumps(network)) < 1000
    again = pickle.loads(pickle.dumps(network))
    assert again == network
    assert again.agent_node == {"a": 0}
    assert (again.to_grid().distance == grid.distance).all()
    for copy in (grid, pickle.loads(pickle.dumps(grid))):
        with pytest.raises(ValueError, match="read-only"):
            copy.distance[0, 0] = 1


def test_networkx_is_for_the_graph_alone(monkeypatch):
    monkeypatch.setitem(sys.modules, "networkx", None)
    network = GridNetwork("mesh", 4, CAPACITY)
    route(network.to_grid(), *columns([(0, 1, 1.0)]), np.array([0, 1]))
    with pytest.raises(ImportError):
        _ = network.graph


def test_a_mesh_of_a_thousand_nodes_is_built_quickly_and_small():
    tracemalloc.start()
    try:
        GridNetwork("mesh", 1000, CAPACITY).to_grid()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 100e6
    start = time.process_time()
    GridNetwork("mesh", 1000, CAPACITY).to_grid()
    assert time.process_time() - start < 1
