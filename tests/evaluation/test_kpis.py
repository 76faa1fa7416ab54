"""Every KPI on a history that can be worked out by hand, and its bounds on the study's market."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market import Scenario
from market.envs import MarketVectorEnv
from market.evaluation.kpis import KPIS, evaluate
from market.simulation.history import Flows, History

SHARES = (
    "p2p_share",
    "self_consumption",
    "self_sufficiency",
    "loss_share",
    "share_worse_off",
    "jain_savings",
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
    "share_worse_off": 0.0,
    "worst_saving": 0.1,
    "jain_savings": 0.4**2 / (2 * 0.1),
    "gini_savings": 0.2 / 0.4,
    "coordination_effectiveness": 1.0,
}


@pytest.mark.parametrize("name", KPIS)
def test_by_hand(by_hand, name):
    assert name in EXPECTED, f"{name}: work it out by hand for these two agents, and give it a row in EXPECTED"
    assert KPIS[name].of(by_hand)[0] == pytest.approx(EXPECTED[name], nan_ok=True)


@pytest.mark.parametrize("name", KPIS)
def test_each_tells_its_unit_formula_cost_and_reference(name):
    assert all((KPIS[name].unit, KPIS[name].formula, KPIS[name].cost, KPIS[name].reference))
    assert "\n" not in KPIS[name].formula


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


# --- fairness: how savings are shared

FAIRNESS = ("share_worse_off", "worst_saving", "jain_savings", "gini_savings")
SHARED = {  # savings of the agents in $ -> the four
    "all equal": ([0.3] * 3, (0, 0.3, 1, 0)),
    "nobody saves": ([0.0] * 3, (0, 0, 1, 0)),
    "noise": ([1e-9, -1e-7, 0.0], (0, -1e-7, 1, 0)),
    "one winner": ([0, 5, 0, 0], (0, 0, 1 / 4, 1)),
    "two winners": ([4, 4, 0, 0], (0, 0, 1 / 2, 2 / 3)),
    "one agent": ([2.0], (0, 2, 1, 0)),
    "one loser alone": ([-2.0], (1, -2, 0, 0)),
    "all lose the same": ([-1, -1], (1, -1, 0, 0)),
    "one wins what one loses": ([1, 0, -1, 0], (1 / 4, -1, 0, 1)),
    "a loser among equals": ([1, 1, 1, -1], (1 / 4, -1, 1 / 4, 6 / 12)),
    "losses outweigh": ([1, -1, -3], (2 / 3, -3, 0, 8 / 10)),
}


def fairness(savings) -> dict[str, float]:
    """The four of agents who save this much in $, over two steps."""
    nothing = dict.fromkeys(Flows.__dataclass_fields__, np.zeros((2, 1, len(savings))))
    half = np.array([[savings], [savings]], float) / 2
    history = History(**nothing | {"saving": half})
    return {name: float(KPIS[name].of(history)[0]) for name in FAIRNESS}


@pytest.mark.parametrize("name", SHARED)
def test_fairness_of_savings_by_hand(name):
    savings, expected = SHARED[name]
    assert list(fairness(savings).values()) == pytest.approx(expected, abs=1e-12)


SAVINGS = st.lists(st.integers(-400, 400).map(lambda cents: cents / 100), min_size=1, max_size=7)


@given(SAVINGS)
def test_gini_is_the_mean_difference_of_all_pairs_over_its_largest(savings):
    """The largest: one agent has all gains, another all losses (Raffinetti, Siletti, Vernizzi 2015)."""

    def mean_difference(amounts):
        return sum(abs(a - b) for a in amounts for b in amounts) / len(amounts) ** 2

    gains, losses = sum(max(s, 0.0) for s in savings), sum(min(s, 0.0) for s in savings)
    polar = [gains, losses, *[0.0] * len(savings)][: len(savings)] if len(savings) > 1 else [0.0]
    largest = mean_difference(polar)
    expected = mean_difference(savings) / largest if largest else 0.0
    assert fairness(savings)["gini_savings"] == pytest.approx(expected, abs=1e-9)


@given(SAVINGS, st.randoms(use_true_random=False), st.sampled_from([0.01, 3.0, 1e4]))
def test_fairness_knows_no_names_and_no_currency(savings, order, scale):
    found, mixed = fairness(savings), fairness(order.sample(savings, len(savings)))
    assert mixed == pytest.approx(found, rel=1e-9, abs=1e-9)
    scaled = fairness([scale * s for s in savings])
    assert scaled.pop("worst_saving") == pytest.approx(scale * found.pop("worst_saving"))
    assert scaled == pytest.approx(found, rel=1e-9, abs=1e-9)
    assert all(0 <= value <= 1 for value in found.values())


@given(SAVINGS, st.integers(1, 400))
def test_a_loss_never_makes_a_market_look_fairer(savings, cents):
    clipped = [max(s, 0.0) for s in savings]
    hidden, shown = fairness(clipped), fairness(savings)
    losers = sum(s < 0 for s in savings)
    assert shown["share_worse_off"] == losers / len(savings)
    assert shown["worst_saving"] == pytest.approx(min(savings))
    assert shown["jain_savings"] <= hidden["jain_savings"] + 1e-9
    one = fairness([*clipped, -cents / 100])
    assert one["gini_savings"] >= fairness([*clipped, 0.0])["gini_savings"] - 1e-9
    assert one["jain_savings"] < 1
