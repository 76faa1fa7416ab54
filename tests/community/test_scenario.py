"""Scenarios: the study's defaults, the configuration dictionary, and every error at the edge."""

from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from market import (
    Battery,
    DERAgent,
    DERProfileHandler,
    DSOProfileHandler,
    GridNetwork,
    GridTopology,
    MarketConfig,
    Scenario,
    clear,
)
from market.evaluation.policies import play, random
from market.rl.hyperparameters import RLAlgorithm
from market.rl.modes import TrainingMode
from market.support import check

FLAT = np.ones(24)


def agent(**changes):
    settings = {
        "id": "a",
        "capacity": 100.0,
        "battery": Battery(50.0),
        "generation_profile": FLAT,
        "demand_profile": FLAT,
    }
    return DERAgent(**(settings | changes))


def env_config(num_agents=3, **changes):
    """An environment configuration with the study's own keys."""
    handler = DERProfileHandler()
    agents = []
    for i in range(num_agents):
        generation, demand = handler.get_energy_profiles(24, 80.0)
        agents.append(agent(id=f"agent_{i:04d}", generation_profile=generation, demand_profile=demand))
    network = GridNetwork(topology=GridTopology.MESH, num_nodes=num_agents, capacity=5000.0, seed=42)
    network.assign_agents_to_graph(agents)
    return {
        "max_steps": 24,
        "agents": agents,
        "market_config": MarketConfig(enable_partner_preference=False, blockchain_difficulty=1),
        "grid_network": network,
        "der_profile_handler": handler,
        "dso_profile_handler": DSOProfileHandler(min_price=40.0, max_price=240.0),
        "enable_reset_dso_profiles": True,
        "enable_asynchronous_order": True,
        "max_error": 0.15,
        "num_anchor": 8,
        "seed": 42,
    } | changes


def test_the_studys_configuration_makes_a_scenario():
    scenario = Scenario.from_dict(env_config())
    assert scenario.num_agents == 3
    assert scenario.params.generation.shape == (1, 24, 3)
    assert scenario.params.anchors.shape == (3, 8)


def test_defaults_are_the_studys():
    scenario = Scenario.study(200)
    params = scenario.params
    battery = params.fleet.high / 0.9
    assert scenario.market_config == MarketConfig(min_price=40, max_price=240, min_quantity=0.1, max_quantity=200)
    assert (scenario.max_steps, scenario.seed, scenario.num_anchor, scenario.max_error) == (24, 42, 8, 0.15)
    assert scenario.grid_network is not None
    assert (scenario.grid_network.topology, scenario.grid_network.capacity) == (GridTopology.MESH, 5000.0)
    assert 50 <= params.capacity.min() < 60 < 140 < params.capacity.max() <= 150
    assert ((battery >= 0.5 * params.capacity) & (battery <= params.capacity)).all()
    np.testing.assert_allclose(params.fleet.low, 0.1 * battery)
    np.testing.assert_allclose(params.fleet.step_limit, 0.5 * battery)


RATES = [(2, 1.0, 2.0), (0.5, 0.25, 0.125), (0, 1.0, 0.0), (None, 1.0, np.inf)]


@pytest.mark.parametrize(("c_rate", "hours", "expected"), RATES)
def test_the_c_rate_sets_the_power_of_the_studys_batteries(c_rate, hours, expected):
    scenario = Scenario.study(2, c_rate=c_rate, step_hours=hours)
    sizes = np.array([a.battery.nominal_capacity for a in scenario.agents])
    assert (scenario.agents[0].battery.power is None) == (c_rate is None)
    np.testing.assert_allclose(scenario.params.fleet.step_limit, expected * sizes)


def test_the_notebooks_batteries_have_no_limit_and_its_energies_stay_what_they_were():
    """Figures of before there were limits; of energies and the DSO-only bill, which no rule of fees changes."""
    hours = np.arange(24)
    agents = [
        agent(
            id=f"agent_{i:04d}",
            battery=Battery(40.0 + 20 * i, min_soc=0.1, max_soc=0.9, charge_efficiency=0.95, discharge_efficiency=0.95),
            generation_profile=(20.0 + 5 * i) * np.maximum(np.sin(np.pi * (hours - 6) / 12), 0.0),
            demand_profile=10.0 + 4 * np.cos(np.pi * (hours - 19 + i) / 12),
        )
        for i in range(5)
    ]
    params = Scenario.from_dict(env_config(agents=agents)).params
    assert np.isinf(params.fleet.step_limit).all()
    _, history = play(params, np.arange(3), random)
    found = [getattr(history, name).sum() for name in ("charged", "discharged", "from_dso", "to_dso", "alone_cost")]
    np.testing.assert_allclose(
        found, [3002.9043049014, 2820.0700132650, 2910.0721895056, 2545.3272485955, 48.6071237418], rtol=1e-9
    )
    endless = replace(params, fleet=replace(params.fleet, step_limit=np.full(5, 1e9)))
    _, same = play(endless, np.arange(3), random)
    for name in ("energy", "cost", "saving"):
        np.testing.assert_array_equal(getattr(history, name), getattr(same, name))


def test_agent_i_is_the_same_in_every_population():
    few, many = Scenario.study(3).params, Scenario.study(50).params
    for name in ("capacity", "generation", "demand"):
        np.testing.assert_array_equal(getattr(few, name), getattr(many, name)[..., :3])


def test_a_scenario_survives_pickling():
    scenario = Scenario.study(5)
    expected = scenario.params.generation
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(scenario)).params.generation, expected)


@pytest.mark.parametrize("num_agents", [1, 2, 3, 9, 10, 40])
def test_anchors_are_mutual_distinct_and_never_oneself(num_agents):
    anchors = Scenario.study(num_agents).params.anchors
    for me, mine in enumerate(anchors):
        known = mine[mine >= 0]
        assert len(known) == min(8, num_agents - 1) == len(set(known))
        assert me not in known
        assert all(me in anchors[peer] for peer in known)


def test_more_agents_than_nodes_share_them():
    params = Scenario.study(20, topology="ieee13").params
    assert params.node.max() == 12
    assert np.bincount(params.node).max() == 2


BAD = {
    "mechanism": (lambda: MarketConfig(price_mechanism="averge"), "price_mechanism", "averge", "average"),
    "topology": (lambda: GridNetwork("mehs", 3, 100.0), "topology", "mehs", "mesh"),
    "mode": (lambda: check.choose(TrainingMode, "CTED", "training"), "training", "CTED", "ctde"),
    "algorithm": (lambda: check.choose(RLAlgorithm, "POP", "algorithm"), "algorithm", "POP", "ppo"),
    "prices crossed": (lambda: MarketConfig(min_price=10, max_price=5), "min_price", "10", "max_price = 5"),
    "price nan": (lambda: MarketConfig(min_price=float("nan")), "min_price", "nan", "0 to"),
    "price negative": (lambda: MarketConfig(min_price=-1), "min_price", "-1", "0 to"),
    "quantities crossed": (
        lambda: MarketConfig(min_quantity=5, max_quantity=1),
        "min_quantity",
        "5",
        "max_quantity = 1",
    ),
    "share": (lambda: MarketConfig(spread_share=1.5), "spread_share", "1.5", "0 to 1"),
    "difficulty": (lambda: MarketConfig(blockchain_difficulty=64), "blockchain_difficulty", "64", "0 to 6"),
    "picture": (lambda: MarketConfig(visualize_blockchain=True), "visualize_blockchain", "True", "False"),
    "soc crossed": (lambda: Battery(10, min_soc=0.9, max_soc=0.1), "min_soc", "0.9", "max_soc = 0.1"),
    "soc above one": (lambda: Battery(10, max_soc=1.1), "max_soc", "1.1", "0 to 1"),
    "soc outside": (lambda: Battery(10, initial_soc=0.95), "initial_soc", "0.95", "0.1 to 0.9"),
    "efficiency": (lambda: Battery(10, charge_efficiency=0.0), "charge_efficiency", "0.0", "to 1"),
    "power": (lambda: Battery(10, power=-2.0), "power", "-2.0", "0 to 1000000000 kW, or None"),
    "c rate": (lambda: Scenario.study(2, c_rate=-0.5), "c_rate", "-0.5", "1/h, or None"),
    "battery negative": (lambda: Battery(-1.0), "nominal_capacity", "-1.0", "0 to"),
    "agent capacity": (lambda: agent(capacity=0.0), "capacity", "0.0", "kW"),
    "profiles differ": (lambda: agent(demand_profile=np.ones(23)), "demand_profile", "23 steps", "24"),
    "profile nan": (lambda: agent(demand_profile=np.full(24, np.nan)), "demand_profile", "nan at 0", "finite kWh"),
    "profile negative": (lambda: agent(generation_profile=-FLAT), "generation_profile", "-1.0", "finite kWh >= 0"),
    "profile 2d": (lambda: agent(generation_profile=np.ones((2, 24))), "demand_profile", "1 days of 24", "2 of 24"),
    "profile 3d": (
        lambda: agent(generation_profile=np.ones((1, 2, 24))),
        "generation_profile",
        "[1, 2, 24]",
        "[steps] or [days, steps]",
    ),
    "profile text": (lambda: agent(generation_profile="sunny"), "generation_profile", "sunny", "kWh"),
    "profile length": (lambda: Scenario([agent()], max_steps=12), "generation_profile", "24 steps", "max_steps = 12"),
    "no agents": (lambda: Scenario([]), "agents", "0 agents", "at least 1"),
    "zero agents": (lambda: Scenario.study(0), "num_agents", "0", ">= 1"),
    "half an agent": (lambda: Scenario.study(1.5), "num_agents", "1.5", "whole number"),
    "same id": (lambda: Scenario([agent(), agent()]), "agents", "'a' twice", "one agent per id"),
    "node": (
        lambda: Scenario([agent(node=7)], grid_network=GridNetwork("ring", 3, 10.0)).params,
        "node",
        "7",
        "0 to 2",
    ),
    "error": (lambda: Scenario.study(2, max_error=1.5), "max_error", "1.5", "0 to"),
    "anchors": (lambda: Scenario.study(2, num_anchor=-1), "num_anchor", "-1", ">= 0"),
    "override": (lambda: Scenario.study(2, max_stesp=3), "overrides", "max_stesp", "max_steps"),
    "key": (lambda: Scenario.from_dict(env_config(max_stpes=24)), "env_config", "max_stpes", "max_steps"),
    "no agents key": (lambda: Scenario.from_dict({"max_steps": 24}), "env_config", "'agents'", "at least 1"),
    "seed": (lambda: Scenario.study(2, seed="a"), "seed", "'a'", "whole number"),
    "seed beyond 63 bits": (lambda: Scenario.study(2, seed=2**63), "seed", str(2**63), "0 to"),
    "settings": (lambda: Scenario.study(2, market_config={}), "market_config", "{}", "MarketConfig"),
    "kinds": (lambda: Scenario.study(2, kinds=5), "kinds", "5", "prosumer"),
    "number and agents": (
        lambda: Scenario.of({"agents": [agent()], "num_agents": 7}),
        "num_agents",
        "agents, too",
        "agents of your own",
    ),
    "truth": (lambda: MarketConfig(enable_partner_preference="False"), "enable_partner", "'False'", "True or False"),
    "drawn": (lambda: Scenario.study(2, enable_reset_dso_profiles="no"), "enable_reset", "'no'", "True or False"),
    "text": (lambda: MarketConfig(min_price="40"), "min_price", "'40'", "0 to"),
    "dear tariffs": (
        lambda: Scenario.study(2, dso_profile_handler=DSOProfileHandler(40.0, 240.5)),
        "dso_profile_handler.max_price",
        "240.5",
        "0 to 240 $/MWh, market_config.max_price",
    ),
    "agents": (lambda: Scenario(5), "agents", "got 5;", "DERAgent objects"),
    "agents of another kind": (lambda: Scenario([agent(), "b"]), "agents", "'b'", "DERAgent objects"),
    "many lines": (lambda: Scenario.study(2, kinds=np.zeros((9, 9))), "kinds", "array([[0., 0.,", "prosumer"),
    "huge": (lambda: Scenario.study(10**5000), "num_agents", "some int", "1 to 2147483647"),
    "array": (lambda: Scenario.study(2, max_error=np.array([0.1])), "max_error", "array([0.1])", "0 to"),
    "profiles turned": (
        lambda: Scenario.study(2, demand=np.ones((24, 2))),
        "demand",
        "shape [24, 2]",
        "[2, 24]; did you mean its transpose?",
    ),
    "config kind": (lambda: Scenario.study(2, grid_network="mesh"), "grid_network", "'mesh'", "GridNetwork"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_line_with_field_value_and_what_is_allowed(name):
    build, *parts = BAD[name]
    with pytest.raises(ValueError, match=r"\A\S[^\n]*\Z") as caught:
        build()
    message = str(caught.value)
    for part in (*parts, "allowed"):
        assert part in message, message


def test_profiles_stay_as_they_were_checked():
    mine = np.ones(24)
    made = agent(generation_profile=mine)
    mine[0] = -99.0
    assert made.generation_profile.tolist() == [1.0] * 24


def test_measured_profiles_replace_synthetic_ones(tmp_path):
    path = tmp_path / "pv.csv"
    path.write_text("a,b\n" + "1.5,2\n" * 24)
    params = Scenario.study(2, generation=path, demand=np.full(24, 3.0)).params
    assert (params.generation == [1.5, 2.0]).all()
    assert (params.demand == 3.0).all()
    with pytest.raises(ValueError, match=r"\Ademand: [^\n]*allowed[^\n]*\Z"):
        Scenario.study(2, demand=np.ones(23))


def test_clear_is_part_of_the_package():
    assert callable(clear)
