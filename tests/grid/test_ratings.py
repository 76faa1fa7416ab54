"""Ratings of lines by their type, and the congestion of healthy and of stressed communities."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid_support import AMPACITY, CAPACITY, GENERATED, MANY, columns, every_topology, trades_on
from market import DERAgent, GridNetwork, MarketConfig, Scenario
from market.evaluation.policies import play, truthful
from market.grid.routing import route

RATED = {20.0: 12_540.048, 4.16: 5_259.892, 24.9: 9_919.455, (34, 4.16): 1_657.226}
"""Ratings in kW by voltage in kV, by hand: sqrt(3) x kV x A of 362 A, 730 A and 230 A; 4.16 kV is there twice."""
every_size = given(n=st.integers(1, 40), capacity=st.sampled_from([0.0, 1.0, 5e6]), seed=st.integers(0, 9))


# Ratings


@pytest.mark.parametrize("topology", GENERATED)
@every_size
def test_a_line_of_a_generated_grid_is_rated_by_its_cable_alone(topology, n, capacity, seed):
    """Whatever its length and however many there are: a trunk has no less than a lateral."""
    grid = GridNetwork(topology, n, capacity, seed).to_grid()
    assert grid.line_capacity == pytest.approx(np.full(len(grid.line_length), RATED[20.0]), rel=1e-6)


def test_a_line_of_a_feeder_is_rated_by_its_conductor_and_its_voltage():
    grid = GridNetwork("ieee13", 13, CAPACITY).to_grid()
    real = grid.line_length > 0
    assert grid.line_capacity[real] == pytest.approx(np.full(10, RATED[4.16]), rel=1e-6)
    assert np.isinf(grid.line_capacity[~real]).all()
    grid = GridNetwork("ieee34", 34, CAPACITY).to_grid()
    assert grid.line_capacity[:-2] == pytest.approx(np.full(31, RATED[24.9]), rel=1e-6)
    assert grid.line_capacity[-2:] == pytest.approx([np.inf, RATED[34, 4.16]], rel=1e-6)  # 832-888 and 888-890


@every_topology
def test_the_graph_carries_the_ratings(topology):
    network = GridNetwork(topology, 5, CAPACITY)
    rated = [line["capacity"] for *_, line in network.graph.edges(data=True)]
    assert sorted(rated) == sorted(network.to_grid().line_capacity.tolist())


# Congestion


def congestion(network: GridNetwork, trades, factor: float = 1.0, hours: float = 1.0) -> np.ndarray:
    """Utilisation of each trade, mean and max over the lines, when `factor` times the trades' kWh are sent."""
    seller, buyer, energy = columns(trades)
    routing = route(network.to_grid(), seller, buyer, factor * energy, np.array([0, len(energy)]), hours)
    return np.concatenate((routing.utilisation, routing.mean, routing.max))


@every_topology
@given(data=st.data(), factor=st.sampled_from([0.1, 3.0, 1000.0]))
def test_congestion_is_proportional_to_energy_and_to_one_over_ampacity(topology, data, factor):
    network = data.draw(st.sampled_from(MANY[topology]))
    trades = data.draw(trades_on(network.num_nodes))
    usual = congestion(network, trades)
    stronger = GridNetwork(topology, network.num_nodes, CAPACITY, network.seed, factor * AMPACITY)
    np.testing.assert_allclose(congestion(network, trades, factor), factor * usual, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(congestion(stronger, trades), usual / factor, rtol=1e-9, atol=1e-12)


@every_topology
@given(data=st.data(), hours=st.sampled_from([0.25, 2.0]))
def test_the_same_power_congests_the_same_however_long_a_step_is(topology, data, hours):
    network = data.draw(st.sampled_from(MANY[topology]))
    trades = data.draw(trades_on(network.num_nodes))
    np.testing.assert_allclose(
        congestion(network, trades, hours, hours), congestion(network, trades), rtol=1e-9, atol=1e-12
    )


# Communities


@every_topology
@pytest.mark.parametrize("size", [10, 100])
def test_the_study_is_a_healthy_community(topology, size):
    history = play(Scenario.study(size, topology=topology).params, np.arange(1), truthful)[1]
    assert history.bought_p2p.sum() > 0
    assert 0 < history.congestion_max.max() < 0.2
    assert not history.overloaded_hours.any()


@pytest.mark.parametrize("hours", [0.25, 1.0])
@pytest.mark.parametrize(
    ("topology", "from_node", "to_node", "rated", "lines"),
    [
        ("line", "9", "0", RATED[20.0], 9),
        ("ieee13", "652", "650", RATED[4.16], 4),
        ("ieee34", "838", "800", RATED[24.9], 19),
        ("ieee34", "890", "800", RATED[34, 4.16], 1),  # the one behind the transformer; the trunk has room
    ],
)
def test_power_beyond_the_rating_of_its_way_overloads_it(topology, from_node, to_node, rated, lines, hours):
    """Ten producers at one end sell to ten consumers at the other for two steps, which overloads so many lines."""
    network, nothing = GridNetwork(topology, 10, 20_000.0), np.zeros(2)
    start, end = map(network.to_grid().names.index, (from_node, to_node))
    for share, hours_beyond in ((0.98, 0.0), (1.02, hours * lines)):
        each = np.full(2, share * rated / 10 * hours)
        producers = [DERAgent(f"p{i}", 5_000.0, None, each, nothing, node=start) for i in range(10)]
        consumers = [DERAgent(f"c{i}", 5_000.0, None, nothing, each, node=end) for i in range(10)]
        rules = MarketConfig(max_quantity=2_000.0)
        scenario = Scenario(
            [*producers, *consumers], max_steps=2, grid_network=network, market_config=rules, step_hours=hours
        )
        history = play(scenario.params, np.arange(1), truthful)[1]
        assert history.bought_p2p.sum(-1) == pytest.approx(np.full((2, 1), share * rated * hours), rel=1e-4)
        assert history.congestion_max == pytest.approx(np.full((2, 1), share), rel=1e-4)
        assert history.overloaded_hours.tolist() == [[hours_beyond]] * 2
