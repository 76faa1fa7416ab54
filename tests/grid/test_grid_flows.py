"""Flows and congestion against a slow networkx twin on every topology."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import pairwise

import networkx as nx
import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid_support import CAPACITY, MANY, NETWORKS, SIZES, columns, every_topology, path, trades_on, twin_flows
from market.grid.network import GridNetwork
from market.grid.routing import line_flows, route
from market.grid.topologies import TOPOLOGIES, GridTopology


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
            hops, load = len(ways[0]), 3.0 / 12_540.048
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
    huge = 10 * grid.line_capacity.max()
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
def test_a_line_without_capacity_is_full_at_once():
    grid = replace(GridNetwork("line", 3, CAPACITY).to_grid(), line_capacity=np.zeros(2))
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
