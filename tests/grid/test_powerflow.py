"""The linearised power flow: against its slow twin, the flows of trades, and what a step reports of voltages."""

from __future__ import annotations

import sys

import numba
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market import GridNetwork, GridTopology, Scenario
from market.evaluation.kpis import evaluate
from market.grid.power_flow import Feeder, power_flow, voltage_deviation
from market.grid.routing import line_flows
from market.grid.topologies import MEDIUM_VOLTAGE
from market.simulation.dynamics import initial, step
from market.simulation.history import History
from oracle_powerflow import lin_dist_flow, lines_of
from strategies import grid_of, scenarios

TREES = [GridTopology.LINE, GridTopology.STAR, GridTopology.TREE]
FEEDERS = [GridTopology.IEEE13, GridTopology.IEEE34]
RADIAL = [
    *((topology, n) for topology in TREES for n in (1, 2, 3, 14)),
    *((topology, n) for topology in (GridTopology.MESH, GridTopology.RING) for n in (1, 2)),
    *((topology, 1) for topology in FEEDERS),
]
on_every_radial_grid = pytest.mark.parametrize(("topology", "n"), RADIAL)
SHORT = settings(max_examples=max(1, settings.default.max_examples // 2))


def network(topology, n):
    """A grid, its feeder and its number of nodes."""
    grid = grid_of(topology, n, 100.0)
    feeder = Feeder.of(grid)
    assert feeder is not None
    return grid, feeder, grid.num_nodes


def injections(nodes: int, markets: int = 1, largest: float = 200.0) -> st.SearchStrategy[np.ndarray]:
    """[markets, nodes] kWh, several of them zero."""
    energy = st.one_of(st.just(0.0), st.floats(-largest, largest, allow_subnormal=False))
    row = st.lists(energy, min_size=nodes, max_size=nodes)
    return st.lists(row, min_size=markets, max_size=markets).map(lambda rows: np.array(rows).reshape(markets, nodes))


# The twin


@on_every_radial_grid
@given(data=st.data())
def test_flows_and_voltages_match_the_slow_twin(topology, n, data):
    grid, _, nodes = network(topology, n)
    factor, hours = data.draw(st.sampled_from([1.0, 0.95, 0.8])), data.draw(st.sampled_from([0.25, 1.0]))
    fed = data.draw(injections(nodes, 2))
    flow, voltage = power_flow(Feeder.of(grid, factor), fed, hours)
    for e in range(2):
        lines, squares = lin_dist_flow(lines_of(grid), (fed[e] / hours).tolist(), factor)
        np.testing.assert_allclose(flow[e], lines, rtol=1e-9, atol=1e-9)
        np.testing.assert_allclose(voltage[e] ** 2, np.square(squares), rtol=1e-9, atol=1e-9)


@on_every_radial_grid
@given(data=st.data())
def test_flows_of_trades_are_the_netted_shortest_path_flows(topology, n, data):
    grid, feeder, nodes = network(topology, n)
    place = st.integers(0, nodes - 1)
    trades = data.draw(st.lists(st.tuples(place, place, st.integers(0, 10_000)), max_size=20))
    seller, buyer, energy = np.array(trades, np.int64).reshape(-1, 3).T
    hours, energy = data.draw(st.sampled_from([0.25, 1.0])), energy / 1000
    fed = np.bincount(seller, energy, nodes) - np.bincount(buyer, energy, nodes)
    flow = power_flow(feeder, fed[None], hours).flow[0] * hours
    np.testing.assert_allclose(flow, line_flows(grid, seller, buyer, energy), rtol=0, atol=1e-9)


@on_every_radial_grid
@given(data=st.data())
def test_agents_deviation_is_that_of_their_nodes(topology, n, data):
    _, feeder, nodes = network(topology, n)
    node = np.array(data.draw(st.lists(st.integers(0, nodes - 1), min_size=1, max_size=9)))
    fed = data.draw(injections(len(node), 3))
    hours = data.draw(st.sampled_from([0.25, 1.0]))
    by_node = np.stack([np.bincount(node, row, nodes) for row in fed])
    expected = np.abs(power_flow(feeder, by_node, hours).voltage - 1).max(1)
    np.testing.assert_allclose(voltage_deviation(feeder, node, fed, hours), expected, rtol=1e-9, atol=1e-12)


@on_every_radial_grid
@given(data=st.data())
def test_a_batch_is_each_market_alone_to_the_last_bit(topology, n, data):
    _, feeder, nodes = network(topology, n)
    fed = data.draw(injections(nodes, 3))
    together, node = power_flow(feeder, fed), np.arange(nodes)
    deviation = voltage_deviation(feeder, node, fed, 1.0)
    for e in range(3):
        alone = power_flow(feeder, fed[e : e + 1])
        np.testing.assert_array_equal(together.flow[e], alone.flow[0])
        np.testing.assert_array_equal(together.voltage[e], alone.voltage[0])
        assert deviation[e] == voltage_deviation(feeder, node, fed[e : e + 1], 1.0)[0]


# By hand


def test_a_load_at_the_end_of_one_cable():
    grid, feeder, _ = network(GridTopology.LINE, 2)
    km = grid.line_length[0]
    flow, voltage = power_flow(feeder, np.array([[0.0, -10.0], [0.0, 10.0], [50.0, 0.0]]))
    drop = 2 * MEDIUM_VOLTAGE.resistance * km * 0.010 / 20.0**2  # MW and kV
    assert flow[:, 0] == pytest.approx([10.0, -10.0, 0.0])
    assert voltage[:, 0].tolist() == [1.0, 1.0, 1.0]
    assert voltage[:, 1] == pytest.approx([np.sqrt(1 - drop), np.sqrt(1 + drop), 1.0], rel=1e-12)


def test_impedances_are_those_of_the_published_configurations():
    for topology, r, x, kv in (("ieee13", 0.1156, 0.3708, 4.16), ("ieee34", 0.6960, 0.5178, 24.9)):
        grid = GridNetwork(topology, 1, 100.0).to_grid()
        np.testing.assert_allclose(grid.line_resistance, r * grid.line_length)
        np.testing.assert_allclose(grid.line_reactance, x * grid.line_length)
        assert (grid.line_voltage == kv).sum() == len(grid.line_length) - (topology == "ieee34")
    behind = grid.line_of[grid.names.index("888"), grid.names.index("890")]
    assert grid.line_voltage[behind] == 4.16


@pytest.mark.parametrize(("topology", "a", "b"), [("ieee13", "633", "634"), ("ieee34", "832", "888")])
def test_switches_and_transformers_have_no_impedance(topology, a, b):
    grid, feeder, nodes = network(GridTopology(topology), 1)
    voltage = power_flow(feeder, np.random.default_rng(1).uniform(-50, 50, (5, nodes))).voltage
    np.testing.assert_array_equal(voltage[:, grid.names.index(a)], voltage[:, grid.names.index(b)])


@pytest.mark.parametrize("topology", FEEDERS)
def test_the_source_is_the_substation(topology):
    grid, feeder, nodes = network(topology, 1)
    assert grid.names[0] in ("650", "800")
    fed = np.zeros((1, nodes))
    fed[0, 0] = -1e6
    flow, voltage = power_flow(feeder, fed)
    assert not flow.any()
    assert (voltage == 1).all()


def test_more_than_the_lines_carry_is_a_voltage_of_zero():
    _, feeder, _ = network(GridTopology.LINE, 2)
    fed = np.array([[0.0, -1e9]])
    assert power_flow(feeder, fed).voltage.tolist() == [[1.0, 0.0]]
    assert voltage_deviation(feeder, np.arange(2), fed, 1.0).tolist() == [1.0]


def test_grids_with_loops_are_no_feeders():
    for topology in (GridTopology.MESH, GridTopology.RING):
        assert Feeder.of(grid_of(topology, 3, 100.0)) is None


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda f: power_flow(f, np.zeros((1, 4))),
            r"injection: got shape \[1, 4\]; allowed: \[E, 3\]",
        ),
        (lambda f: power_flow(f, np.zeros(3)), r"injection: got shape \[3\]; allowed"),
        (lambda f: power_flow(f, np.zeros((1, 3)), 0.0), "step_hours: got 0.0; allowed"),
        (
            lambda f: voltage_deviation(f, np.arange(2), np.zeros((1, 3)), 1.0),
            r"injection: got shape \(1, 3\); allowed: \[E, 2\], one value per agent",
        ),
        (
            lambda f: voltage_deviation(f, np.array([0, 3]), np.zeros((1, 2)), 1.0),
            "node: got 3 of agent 1; allowed: 0 to 2",
        ),
        (
            lambda f: voltage_deviation(f, np.array([-1]), np.zeros((1, 1)), 1.0),
            "node: got -1 of agent 0; allowed: 0 to 2",
        ),
        (lambda f: Feeder.of(grid_of(GridTopology.LINE, 3, 100.0), 0.0), "power_factor: got 0.0; allowed: 0.001 to 1"),
    ],
)
def test_bad_input_is_refused_in_one_line(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call(network(GridTopology.LINE, 3)[1])
    assert "\n" not in str(error.value)


@pytest.mark.skipif(bool(numba.config.DISABLE_JIT), reason="without the JIT, kernels are Python and loop")
def test_python_work_does_not_grow_with_markets_agents_or_nodes():
    def calls(n: int, markets: int) -> int:
        _, feeder, nodes = network(GridTopology.TREE, n)
        fed, node, seen = np.ones((markets, nodes)), np.arange(nodes), []
        voltage_deviation(feeder, node, fed, 1.0)
        sys.setprofile(lambda frame, event, arg: seen.append(event))
        try:
            power_flow(feeder, fed)
            voltage_deviation(feeder, node, fed, 1.0)
        finally:
            sys.setprofile(None)
        return len(seen)

    assert calls(2, 1) == calls(14, 40) < 100


# What a step reports


def play(scenario: Scenario, episodes: int, seed: int):
    """The records of all steps under random actions."""
    params = scenario.params
    action = np.random.default_rng(seed).uniform(-1, 1, (params.max_steps, episodes, params.num_agents, 4))
    state, records = initial(params, np.arange(episodes)), []
    for t in range(params.max_steps):
        state, _, record = step(params, state, action[t])
        records.append(record)
    return params, records


@SHORT
@given(scenarios(), st.integers(0, 99))
def test_a_step_reports_the_voltages_of_what_agents_feed_in(scenario, seed):
    params, records = play(scenario, 2, seed)
    for r in records:
        if params.grid is None or params.feeder is None:
            assert np.isnan(r.voltage_deviation).all()
            continue
        traded = r.sold_p2p + r.sold_dso + r.exported - r.bought_p2p - r.bought_dso - r.imported
        for e in range(2):
            fed = np.bincount(params.node, traded[e], params.grid.num_nodes) / params.step_hours
            voltage = lin_dist_flow(lines_of(params.grid), fed.tolist())[1]
            assert r.voltage_deviation[e] == pytest.approx(max(abs(v - 1) for v in voltage), rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("topology", [*TREES, *FEEDERS])
def test_the_kpi_is_the_worst_node_and_step_of_a_feeder(topology):
    _, records = play(Scenario.study(5, topology=topology), 3, 1)
    kpi = evaluate(History.of(records))["voltage_deviation"]
    np.testing.assert_array_equal(kpi, np.max([r.voltage_deviation for r in records], axis=0))
    assert (kpi > 0).all()


@pytest.mark.parametrize(
    "scenario",
    [Scenario.study(5), Scenario.study(5, topology="ring"), Scenario.study(5, topology="tree", grid_network=None)],
    ids=["mesh", "ring", "no grid"],
)
def test_the_kpi_is_not_defined_with_loops_or_without_a_grid(scenario):
    _, records = play(scenario, 2, 1)
    assert np.isnan(evaluate(History.of(records))["voltage_deviation"]).all()


def test_who_trades_with_whom_changes_no_voltage():
    """Rules decide who is matched at what price; with the same orders, batteries end up the same, and so do nodes."""
    from market import MarketConfig

    worst = []
    for rule in ("average", "mcafee"):
        config = MarketConfig(price_mechanism=rule)
        _, records = play(Scenario.study(9, topology="tree", market_config=config), 2, 3)
        worst.append(np.stack([r.voltage_deviation for r in records]))
        traded = sum(r.bought_p2p.sum() for r in records)
        assert traded > 0
    np.testing.assert_allclose(*worst, rtol=1e-9)
