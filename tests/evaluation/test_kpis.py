"""Every KPI on a history that can be worked out by hand, and its bounds on the study's market."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from market import Scenario
from market.envs import MarketVectorEnv
from market.evaluation.kpis import KPIS, evaluate
from market.simulation.history import Flows, History

SHARES = (
    "p2p_share",
    "self_consumption",
    "self_sufficiency",
    "loss_share",
    "gini_savings",
    "coordination_effectiveness",
)


@pytest.fixture
def by_hand():
    """Two steps, one episode, two agents. In step 0, 3 of the 4 kWh surplus go to the peer at 100 $/MWh."""
    agents = {name: np.zeros((2, 1, 2)) for name in Flows.__dataclass_fields__}
    history = {name: agents[name] for name in agents}
    communities = [f.name for f in fields(Flows)][17:]
    assert communities[0] == "feed_in_tariff"
    history |= {name: np.zeros((2, 1)) for name in communities}
    history["generation"][0, 0] = [6.0, 0.0]
    history["demand"][0, 0] = [2.0, 3.0]
    history["demand"][1, 0] = [1.0, 1.0]
    history["bought_p2p"][0, 0] = [0.0, 3.0]
    history["sold_p2p"][0, 0] = [3.0, 0.0]
    history["sold_dso"][0, 0] = [1.0, 0.0]
    history["imported"][1, 0] = [1.0, 1.0]
    history["cost"][0, 0] = [-0.4, 0.3]
    history["cost"][1, 0] = [0.2, 0.2]
    history["saving"][0, 0] = [0.1, 0.3]
    history["clearing_price"][:, 0] = [100.0, np.nan]
    history["social_welfare"][0, 0] = 0.06
    history["loss"][0, 0] = 0.15
    history["congestion_mean"][:, 0] = [0.5, 0.0]
    history["congestion_max"][:, 0] = [1.5, 0.0]
    history["overloaded_hours"][:, 0] = [2.0, 0.0]
    history["voltage_deviation"][:, 0] = [0.02, 0.03]
    return History(**history)


EXPECTED = {
    "social_welfare": 0.06,
    "community_cost": 0.3,
    "cost_saving": 0.4,
    "p2p_share": 6 / 9,
    "self_consumption": 5 / 6,
    "self_sufficiency": 5 / 7,
    "clearing_price": 100.0,
    "price_volatility": np.nan,
    "congestion_mean": 0.25,
    "congestion_max": 1.5,
    "overloaded_hours": 2.0,
    "voltage_deviation": 0.03,
    "loss_share": 0.05,
    "peak_to_average": 2 / 1.5,
    "gini_savings": 0.25,
    "coordination_effectiveness": 1.0,
}


@pytest.mark.parametrize("name", KPIS)
def test_by_hand(by_hand, name):
    assert KPIS[name].of(by_hand)[0] == pytest.approx(EXPECTED[name], nan_ok=True)


@pytest.mark.parametrize("name", KPIS)
def test_each_tells_its_unit_formula_cost_and_reference(name):
    assert all((KPIS[name].unit, KPIS[name].formula, KPIS[name].cost, KPIS[name].reference))


@pytest.mark.parametrize("num_agents", [1, 6])
def test_bounds_on_random_play(num_agents):
    env = MarketVectorEnv(Scenario.study(num_agents), num_envs=4)
    env.reset(seed=1)
    env.action_space.seed(1)
    for _ in range(24):
        env.step(env.action_space.sample())
    kpis = evaluate(env.history())
    assert kpis.keys() == KPIS.keys()
    for name, values in kpis.items():
        assert values.shape == (4,), name
        if name in SHARES:
            known = values[~np.isnan(values)]
            assert ((known >= 0) & (known <= 1)).all(), name
    assert (kpis["social_welfare"] >= 0).all()
    if num_agents == 1:
        assert (kpis["p2p_share"] == 0).all()
        assert np.isnan(kpis["clearing_price"]).all()


def test_gini_of_one_winner_and_of_equals(by_hand):
    by_hand.saving[:] = 0.0
    assert KPIS["gini_savings"].of(by_hand)[0] == 0.0
    by_hand.saving[0, 0] = [2.0, -1.0]
    assert KPIS["gini_savings"].of(by_hand)[0] == pytest.approx(0.5)
