"""What trained agents are compared with: policies that do not learn, and the cooperative optimum, on the very episodes
that trainings are evaluated on. Cells of their own, so that no linear programme is charged to a training.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from benches.case import Outcome, Params, Unsupported
from benches.workloads.inputs import number
from benches.workloads.training import EVALUATION_EPISODES, explained, population, seed_of

if TYPE_CHECKING:
    from market import Scenario
    from market.community.agents import Params as Market
    from market.evaluation.policies import Policy
    from market.simulation.history import State
    from market.support.arrays import Ints

MANY = 200
"""Up to so many agents the optimum of every evaluation episode is found, beyond of the first FEW."""
FEW = 2
HORIZONS = ("mpc_persistence", "mpc_perfect")
"""Policies that solve a linear programme in each step of each episode."""
POLICIES = ("random", "zero_intelligence", "truthful", "own_battery", "pooled_battery", *HORIZONS)
"""Every row of `market.evaluation.policies.POLICIES`; a test compares."""
MOST = 100
"""Up to so many agents they are played; at 100 they take about 1.5 s an episode."""


def solved(agents: int) -> int:
    """Of how many evaluation episodes the optimum is found."""
    return EVALUATION_EPISODES if agents <= MANY else FEW


@dataclass(frozen=True)
class Evaluation:
    """A population on its held-out days and on those of training, the numbers of the episodes that it is evaluated on
    [E], and a policy if one is to be played.
    """

    market: Market
    seen: Market
    episode: Ints
    policy: Policy | None


def evaluated(scenario: Scenario, seed: int, episodes: int) -> tuple[Market, State]:
    """The episodes that `RLTrainer.evaluate` plays on these days with that seed, and how they begin."""
    from market.envs import MarketVectorEnv
    from market.rl.scopes import Stream, derive

    env = MarketVectorEnv(scenario, episodes)
    env.reset(seed=derive(seed, Stream.EVALUATE))
    return env.params, env.start


def episodes(params: Params) -> Evaluation:
    """The episodes that `RLTrainer.evaluate` plays with the same population and seed.

    Raises Unsupported for a policy that takes too long for so many agents.
    """
    from market.evaluation import policies

    if params.get("policy") in HORIZONS and number(params, "agents") > MOST:
        raise Unsupported(f"{params['policy']} solves a programme in each step: it is played up to {MOST} agents")
    scenario = population(params)
    market, start = evaluated(scenario.unseen, seed_of(params), EVALUATION_EPISODES)
    policy = policies.POLICIES[str(params["policy"])] if "policy" in params else None
    return Evaluation(market, scenario.params, start.episode, policy)


def play(prepared: Evaluation, _: int) -> Outcome:
    """All episodes under the policy; their KPIs are no part of it."""
    from market.evaluation.kpis import evaluate
    from market.evaluation.policies import play

    assert prepared.policy is not None
    played = play(prepared.market, prepared.episode, prepared.policy)
    return Outcome(later=lambda: explained("evaluation_kpis", evaluate(played[1])))


def warm_up(prepared: Evaluation) -> None:
    """Compile what a step needs; a policy that plans is not played twice."""
    from market.evaluation.policies import play, truthful

    play(prepared.market, prepared.episode, truthful)


def solve(prepared: Evaluation, _: int) -> Outcome:
    """The optimum of the first episodes; then, untimed, KPIs and the two costs that efficiency lies between, $.

    Untimed, too: what the rule for the own battery saves, $, which a training should at least be worth; and the two
    costs of the same episodes on the days of training, facts that begin with `seen`.
    """
    from market.evaluation.kpis import evaluate
    from market.evaluation.optimum import alone_cost, cooperative_optimum, optimal_kpis
    from market.evaluation.policies import POLICIES, play
    from market.simulation.dynamics import initial

    count = solved(prepared.market.num_agents)
    start, seen = (initial(market, prepared.episode[:count]) for market in (prepared.market, prepared.seen))
    optima = [cooperative_optimum(prepared.market, start, market) for market in range(count)]

    def facts() -> dict[str, Any]:
        _, ruled = play(prepared.market, prepared.episode[:count], POLICIES["own_battery"])
        return {
            **explained("evaluation_kpis", optimal_kpis(prepared.market, start, optima)),
            "rule_saving": evaluate(ruled)["cost_saving"],
            "alone_cost": alone_cost(prepared.market, start),
            "optimal_cost": [optimum.cost for optimum in optima],
            "seen_alone_cost": alone_cost(prepared.seen, seen),
            "seen_optimal_cost": [cooperative_optimum(prepared.seen, seen, market).cost for market in range(count)],
        }

    return Outcome(later=facts)
