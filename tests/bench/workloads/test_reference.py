"""References are computed on the episodes that trainings are evaluated on, and mean what they say."""

from __future__ import annotations

import numpy as np
import pytest

from benches.case import Unsupported
from benches.cases import CASES
from benches.workloads import references
from market import DERAgent, GridNetwork, Scenario
from market.evaluation import planning
from market.evaluation.kpis import KPIS
from market.evaluation.optimum import OPTIMAL, cooperative_optimum, optimal_kpis
from market.evaluation.policies import play
from market.simulation.dynamics import initial, observe


def test_references_play_the_episodes_that_a_training_is_evaluated_on():
    from benches.workloads.training import trainer

    params = {"agents": 3, "seed": 43}
    prepared = references.episodes(params)
    with trainer({**params, "mode": "dtde", "algorithm": "ppo", "iterations": 1}) as built:
        evaluated, policy = built.evaluate(10), built.policy()

        def trained(market, state):
            return np.clip(policy(observe(market, state).astype(np.float32)), -1, 1).astype(np.float64)

        _, history = play(prepared.market, prepared.episode, trained)
    for name in ("community_cost", "self_consumption", "cost_saving"):
        np.testing.assert_allclose(KPIS[name].of(history), evaluated.kpis[name], rtol=1e-6, err_msg=name)
    other = references.episodes({"agents": 3, "seed": 42})
    assert not np.array_equal(other.market.demand, prepared.market.demand), "each seed has a population of its own"
    held_out, trained_on = (set(initial(each, prepared.episode).day) for each in (prepared.market, prepared.seen))
    assert held_out <= set(range(24, 30))
    assert trained_on <= set(range(24))


@pytest.mark.parametrize("name", ["reference/policy", "reference/optimum"])
def test_facts_hold_every_kpi_of_every_episode(name):
    case = CASES[name]
    point = case.points("quick", {"agents": (2,), "policy": ("truthful",)})[0]
    facts = case.call(case.setup(point.params), 0).later()
    assert set(facts["evaluation_kpis"]) == set(KPIS)
    assert {len(values) for values in facts["evaluation_kpis"].values()} == {10}
    assert facts["kpi_meanings"]["clearing_price"][0] == "$/MWh"
    if name == "reference/optimum":
        gap = facts["alone_cost"] - facts["optimal_cost"]
        np.testing.assert_allclose(facts["evaluation_kpis"]["cost_saving"], gap, rtol=1e-9)


def test_the_optimum_of_large_populations_is_found_for_fewer_episodes():
    assert references.solved(100) == 10
    assert references.solved(1000) == 2
    assert CASES["reference/optimum"].work({"agents": 1000}) == {"episodes": 2}


@pytest.mark.parametrize("policy", references.HORIZONS)
def test_policies_that_solve_programmes_are_played_up_to_a_size_and_refused_beyond(policy):
    assert policy in references.POLICIES
    assert references.episodes({"agents": references.MOST, "policy": policy}).policy is not None
    with pytest.raises(Unsupported, match=rf"\A{policy} solves a programme in each step: .* up to 100 agents\Z"):
        references.episodes({"agents": references.MOST + 1, "policy": policy})


def test_the_warm_up_of_a_policy_solves_no_programme(monkeypatch):
    monkeypatch.setattr(planning, "cooperative_optimum", None)
    prepared = references.episodes({"agents": 2, "policy": "mpc_perfect"})
    CASES["reference/policy"].warm_up(prepared)
    with pytest.raises(TypeError):
        references.play(prepared, 0)


@pytest.mark.parametrize(("capacity", "traded"), [(100.0, 10.0), (4.0, 4.0)])
def test_kpis_of_an_optimum_by_hand(capacity, traded):
    """One agent has 10 kWh too much in step 0, the other 10 kWh too little; no batteries."""
    zero, ten = np.array([0.0, 0.0]), np.array([10.0, 0.0])
    agents = [DERAgent("sun", 20.0, None, ten, zero), DERAgent("house", 20.0, None, zero, ten)]
    market = Scenario(agents, max_steps=2, grid_network=GridNetwork("line", 2, capacity)).params
    start = initial(market, np.arange(3))
    kpis = optimal_kpis(market, start, [cooperative_optimum(market, start, e) for e in range(3)])
    spread = (start.utility_price - start.feed_in_tariff)[:, 0]
    np.testing.assert_allclose(kpis["cost_saving"], traded * spread / 1000)
    np.testing.assert_allclose(kpis["community_cost"], (10 - traded) * spread / 1000)
    np.testing.assert_allclose(kpis["p2p_share"], traded / 10)
    np.testing.assert_allclose(kpis["coordination_effectiveness"], traded / 10)
    np.testing.assert_allclose(kpis["self_consumption"], 1.0)  # by netted exchange: what goes out comes in again
    known = {name for name, values in kpis.items() if not np.isnan(values).any()}
    assert known <= {*OPTIMAL, "community_cost", "cost_saving"}
    assert known >= {"p2p_share", "cost_saving"}
