"""The grid: shapes, distances, and flows against a slow networkx twin on every topology."""

from __future__ import annotations

import pickle
import sys
import time
import tracemalloc
from dataclasses import dataclass, replace
from itertools import pairwise

import networkx as nx
import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market.config import GridTopology
from market.grid import Grid, GridNetwork
from market.routing import line_flows, route
from market.topologies import FEEDERS, KM_PER_FOOT, LONGEST_KM, SHORTEST_KM, SIDE_KM, TOPOLOGIES

CAPACITY = 100.0
NETWORKS = {topology: GridNetwork(topology, 9, CAPACITY) for topology in TOPOLOGIES}
SIZES = {9: 42, 1: 0, 2: 1, 3: 2, 4: 3, 20: 4}
"""Nodes -> seed of the networks that trades are sent over."""
MANY = {topology: [GridNetwork(topology, n, CAPACITY, seed) for n, seed in SIZES.items()] for topology in TOPOLOGIES}
GENERATED = [topology for topology in TOPOLOGIES if topology not in FEEDERS]
every_topology = pytest.mark.parametrize("topology", TOPOLOGIES)


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


# Shapes


@pytest.mark.parametrize("topology", GENERATED)
@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 17])
def test_generated_grids_are_simple_connected_and_complete_in_their_arrays(topology, n):
    network = GridNetwork(topology, n, CAPACITY)
    grid, graph = network.to_grid(), network.graph
    lines = {"mesh": n * (n - 1) // 2, "ring": n if n > 2 else n - 1}.get(topology, n - 1)
    assert grid.num_nodes == n
    assert len(grid.line_length) == graph.number_of_edges() == lines  # no line twice
    assert (grid.line_from != grid.line_to).all()
    assert nx.is_connected(graph)
    assert (grid.line_length > 0).all()
    assert set(grid.zone) == set(range(grid.zone.max() + 1))
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


# Distances and ratings


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
def test_lines_share_out_the_capacity_by_inverse_length(topology):
    grid = NETWORKS[topology].to_grid()
    real = grid.line_length > 0
    assert grid.line_capacity[real].sum() == pytest.approx(CAPACITY, rel=1e-12)
    weight = grid.line_capacity[real] * grid.line_length[real]
    assert weight == pytest.approx(weight[0], rel=1e-12)
    assert np.isinf(grid.line_capacity[~real]).all()


@every_topology
def test_line_of_finds_each_line_both_ways(topology):
    grid = NETWORKS[topology].to_grid()
    number = np.arange(len(grid.line_length))
    assert (grid.line_of[grid.line_from, grid.line_to] == number).all()
    assert (grid.line_of[grid.line_to, grid.line_from] == number).all()
    assert (grid.line_of >= 0).sum() == 2 * len(number)


# Flows


@every_topology
@given(data=st.data())
def test_flows_match_the_networkx_twin(topology, data):
    network = data.draw(st.sampled_from(MANY[topology]))
    trades = data.draw(trades_on(network.num_nodes))
    flow = line_flows(network.to_grid(), *columns(trades))
    assert flow == pytest.approx(list(twin_flows(network, trades).values()), abs=1e-9)


@every_topology
@given(data=st.data())
def test_congestion_of_many_markets_matches_the_networkx_twin_of_each(topology, data):
    network, hours = data.draw(st.sampled_from(MANY[topology])), data.draw(st.sampled_from([0.25, 1.0]))
    grid = network.to_grid()
    markets = data.draw(st.lists(trades_on(network.num_nodes, most=6), max_size=4))
    offsets = np.cumsum([0, *map(len, markets)])
    routing = route(grid, *columns([t for m in markets for t in m]), offsets, hours)
    limits = dict(zip(twin_flows(network, []), (grid.line_capacity * hours).tolist(), strict=True))
    for e, trades in enumerate(markets):
        load = {line: abs(flow) / limits[line] for line, flow in twin_flows(network, trades).items()}
        load |= {(b, a): x for (a, b), x in load.items()}
        fullest = [max((load[hop] for hop in pairwise(path(network, s, b))), default=0.0) for s, b, _ in trades]
        each = list(load.values())[: len(grid.line_length)]
        assert routing.utilisation[offsets[e] : offsets[e + 1]] == pytest.approx(fullest, abs=1e-9)
        assert routing.max[e] == pytest.approx(max(each, default=0.0), abs=1e-9)
        assert routing.mean[e] == pytest.approx(sum(each) / max(len(each), 1), abs=1e-9)
        if all(abs(x - 1) > 1e-6 for x in each):
            assert routing.overloaded_hours[e] == pytest.approx(hours * sum(x > 1 for x in each))


@every_topology
@given(data=st.data())
def test_what_flows_out_of_a_node_is_what_it_sells_less_what_it_buys(topology, data):
    network = data.draw(st.sampled_from(MANY[topology]))
    grid, trades = network.to_grid(), data.draw(trades_on(network.num_nodes))
    seller, buyer, energy = columns(trades)
    flow = line_flows(grid, seller, buyer, energy)
    n = grid.num_nodes
    out = np.bincount(grid.line_from, flow, n) - np.bincount(grid.line_to, flow, n)
    net = np.bincount(seller, energy, n) - np.bincount(buyer, energy, n)
    np.testing.assert_allclose(out, net, rtol=0, atol=1e-9)


@every_topology
@pytest.mark.parametrize("n", SIZES)
def test_opposite_trades_cancel(topology, n):
    """Between any two nodes, as the way back is the way there: no two ways are equally long in these grids."""
    grid = GridNetwork(topology, n, CAPACITY).to_grid()
    a, b = (x.ravel() for x in np.indices(grid.distance.shape))
    one, two = np.stack((a, b), 1).ravel(), np.stack((b, a), 1).ravel()  # market k: a to b, then b to a
    routing = route(grid, one, two, np.full(len(one), 3.0), np.arange(0, len(one) + 1, 2))
    assert not np.concatenate(routing).any()
    assert not line_flows(grid, one, two, np.full(len(one), 3.0)).any()


@pytest.mark.parametrize("n", [4, 5, 6, 9])
def test_of_equally_long_ways_one_is_taken(monkeypatch, n):
    """Lines of one length: half way round a ring, both ways tie. Which is taken is open; flow follows one of them."""
    ring = TOPOLOGIES[GridTopology.RING]
    monkeypatch.setitem(TOPOLOGIES, GridTopology.RING, lambda k, seed: replace(ring(k, seed), length=np.full(k, 0.1)))
    network = GridNetwork("ring", n, CAPACITY)
    grid = network.to_grid()
    lines = list(zip(grid.line_from.tolist(), grid.line_to.tolist(), strict=True))
    for a in range(n):
        for b in range(n):
            ways = [list(pairwise(way)) for way in nx.all_shortest_paths(network.graph, a, b, weight="length")]
            assert len(ways) == 1 + (n % 2 == 0 and abs(a - b) == n // 2)
            flow = line_flows(grid, [a], [b], [3.0]).tolist()
            assert flow in [[3.0 * ((i, j) in way) - 3.0 * ((j, i) in way) for i, j in lines] for way in ways]
            routing = route(grid, *columns([(a, b, 3.0)]), np.array([0, 1]))
            hops, load = len(ways[0]), 3.0 * n / CAPACITY
            assert routing.mean[0] == pytest.approx(hops * load / n)
            assert routing.max[0] == routing.utilisation[0] == pytest.approx(load if hops else 0.0)


@every_topology
@given(data=st.data())
def test_many_small_trades_congest_as_their_sums_do(topology, data):
    """More trades than pairs of nodes take another way through `route`: the same trades in equal parts."""
    network = data.draw(st.sampled_from(MANY[topology]))
    grid, markets = network.to_grid(), [data.draw(trades_on(network.num_nodes, most=6)) for _ in range(2)]
    seller, buyer, energy = columns([t for m in markets for t in m])
    offsets, parts = np.cumsum([0, *map(len, markets)]), 2 * grid.num_nodes**2 + 1
    whole = route(grid, seller, buyer, energy, offsets)
    each = route(grid, *(np.repeat(x, parts) for x in (seller, buyer, energy / parts)), offsets * parts)
    np.testing.assert_allclose(each.utilisation, np.repeat(whole.utilisation, parts), atol=1e-9)
    np.testing.assert_allclose(each.mean, whole.mean, atol=1e-9)
    np.testing.assert_allclose(each.max, whole.max, atol=1e-9)
    if not np.isclose(whole.utilisation, 1, atol=1e-6).any():
        np.testing.assert_array_equal(each.overloaded_hours, whole.overloaded_hours)


def test_flows_are_not_clipped_at_the_rating():
    grid = NETWORKS[GridTopology.LINE].to_grid()
    huge = 10 * CAPACITY
    assert (line_flows(grid, [8], [0], [huge]) == -huge).all()
    routing = route(grid, *columns([(8, 0, huge)]), np.array([0, 1]), 0.5)
    assert routing.max[0] == routing.utilisation[0] == pytest.approx((huge / (0.5 * grid.line_capacity)).max())
    assert routing.overloaded_hours[0] == 0.5 * len(grid.line_capacity)


def test_one_node_has_no_lines_and_no_congestion():
    grid = GridNetwork("mesh", 1, CAPACITY).to_grid()
    assert (grid.diameter, grid.distance.shape, len(grid.line_length)) == (0, (1, 1), 0)
    routing = route(grid, *columns([(0, 0, 5.0)]), np.array([0, 1]))
    assert [x.tolist() for x in routing] == [[0], [0], [0], [0]]


@pytest.mark.filterwarnings("ignore:divide by zero")  # numpy's, when the JIT is off
def test_a_grid_without_capacity_is_full_at_once():
    grid = GridNetwork("line", 3, 0).to_grid()
    routing = route(grid, *columns([(0, 1, 1.0)]), np.array([0, 1]))
    assert routing.utilisation[0] == np.inf


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="the kernel is Python when the JIT is off")
def test_python_work_does_not_grow_with_trades_or_markets():
    grid = NETWORKS[GridTopology.IEEE34].to_grid()

    def calls(markets: int, trades: int) -> int:
        arrays = columns([(k % 34, (7 * k) % 34, 1.0) for k in range(markets * trades)])
        offsets, seen = np.arange(markets + 1) * trades, []
        route(grid, *arrays, offsets)
        sys.setprofile(lambda frame, event, arg: seen.append(event))
        try:
            route(grid, *arrays, offsets)
        finally:
            sys.setprofile(None)
        return len(seen)

    assert calls(1, 3) == calls(16, 50) < 60


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"energy": np.ones(3)}, r"seller_node, buyer_node, energy: got shapes \(2,\), \(2,\) and \(3,\)"),
        ({"energy": np.ones((2, 1))}, "seller_node, buyer_node, energy: got shapes"),
        ({"offsets": np.array([0, 1])}, r"offsets: got .*; allowed: \[E\+1\] from 0 to the number of trades, 2"),
        ({"offsets": np.array([1, 2])}, "offsets: got"),
        ({"offsets": np.array([], np.int64)}, "offsets: got"),
        ({"offsets": np.array([0, 3, 2])}, "offsets: got .*; allowed: numbers that never fall"),
        ({"seller_node": np.array([0, 9])}, "node: got 9 -> 2 in trade 1; allowed: 0 to 8"),
        ({"buyer_node": np.array([-1, 0])}, "node: got 0 -> -1 in trade 0; allowed: 0 to 8"),
    ],
)
def test_route_refuses_what_does_not_fit(change, message):
    trades = {"seller_node": np.array([0, 1]), "buyer_node": np.array([1, 2]), "energy": np.ones(2)}
    with pytest.raises(ValueError, match=message):
        route(NETWORKS[GridTopology.RING].to_grid(), **{**trades, "offsets": np.array([0, 2]), **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"offsets": np.array([0, 50, 40])}, "offsets: got .*; allowed: numbers that never fall"),
        ({"seller_node": np.full(40, 3)}, "node: got 3 -> 1 in trade 0; allowed: 0 to 2"),
        ({"buyer_node": np.full(40, -1)}, "node: got 0 -> -1 in trade 0; allowed: 0 to 2"),
    ],
)
def test_route_refuses_the_same_where_trades_outnumber_the_pairs_of_nodes(change, message):
    trades = {"seller_node": np.zeros(40, int), "buyer_node": np.ones(40, int), "energy": np.ones(40)}
    with pytest.raises(ValueError, match=message):
        route(GridNetwork("line", 3, CAPACITY).to_grid(), **{**trades, "offsets": np.array([0, 20, 40]), **change})


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
        ([Agent("a", 3)], "node: got 3 of agent 'a'; allowed: 0 to 2"),
        ([Agent("a", -1)], "node: got -1 of agent 'a'"),
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
