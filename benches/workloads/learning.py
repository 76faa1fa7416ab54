"""Evidence of learning: trained policies against untrained ones and a zero-intelligence trader, paired by seed."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from benches.case import Outcome, Params
from benches.workloads.inputs import number
from benches.workloads.training import EPISODES, EVALUATION_EPISODES

if TYPE_CHECKING:
    from market.evaluation.policies import Policy
    from market.rl import RLTrainer

SEEDS = tuple(range(5))
AGENTS, ITERATIONS = 10, 50
RESAMPLES, LEVEL = 10_000, 0.95


class Score(NamedTuple):
    """Means over episodes: community cost saving against the DSO alone, $; team return; position in [.., 1]."""

    saving: float
    returned: float
    position: float


@dataclass(frozen=True)
class Evidence:
    """Scores by seed [S]: of the trained policy, the untrained one, and a zero-intelligence trader."""

    trained: tuple[Score, ...]
    untrained: tuple[Score, ...]
    zero_intelligence: tuple[Score, ...]

    @property
    def position(self) -> float:
        """Where the trained policy stands between the DSO alone (0) and the cooperative optimum (1)."""
        return float(np.mean([score.position for score in self.trained]))

    def least(self, field: str) -> float:
        """The lower of the two lower bounds of the mean advantage in `saving`, $, or `returned`."""
        trained = [getattr(score, field) for score in self.trained]
        rivals = (self.untrained, self.zero_intelligence)
        return min(lower_bound(np.subtract(trained, [getattr(score, field) for score in rival])) for rival in rivals)

    def __str__(self) -> str:
        parts = []
        for name in ("trained", "untrained", "zero_intelligence"):
            saving, returned, position = np.mean(getattr(self, name), axis=0)
            parts.append(f"{name} saves {saving:.1f} $, returns {returned:.2f}, position {position:.2f}")
        return "; ".join(parts)


def lower_bound(differences: Any) -> float:
    """Lower end of the bootstrap interval (LEVEL, percentile) of the mean of paired differences [S]."""
    found = np.asarray(differences, np.float64)
    drawn = np.random.default_rng(0).choice(found, (RESAMPLES, len(found)))
    return float(np.quantile(drawn.mean(1), (1 - LEVEL) / 2))


def score(params: Any, policy: Policy, first: int) -> Score:
    """EVALUATION_EPISODES whole episodes, numbered from `first`, under a policy."""
    from market.evaluation.optimum import position
    from market.simulation.dynamics import initial, step, team_reward
    from market.simulation.history import History

    start = state = initial(params, first + np.arange(EVALUATION_EPISODES))
    returned, records = np.zeros(EVALUATION_EPISODES), []
    for _ in range(params.max_steps):
        state, _, record = step(params, state, policy(params, state))
        returned += team_reward(params, record)
        records.append(record)
    history = History.of(records)
    where = position(params, start, history)
    return Score(float(history.saving.sum((0, 2)).mean()), float(returned.mean()), float(np.nanmean(where)))


def _learned(trainer: RLTrainer) -> Policy:
    """What the trainer's population does now, as a policy of the simulation."""
    from market.simulation.dynamics import observe

    play = trainer.policy()
    return lambda params, state: np.clip(play(observe(params, state).astype(np.float32)).astype(np.float64), -1, 1)


def evidence(
    algorithm: str, mode: str, agents: int = AGENTS, iterations: int = ITERATIONS, seeds: tuple[int, ...] = SEEDS
) -> Evidence:
    """Train once for each seed, on a population of its own; all play the same episodes, on held-out days."""
    from market import RLTrainer, Scenario
    from market.evaluation.policies import zero_intelligence

    trained, untrained, rival = [], [], []
    for seed in seeds:
        scenario = Scenario.study(agents, seed)
        market = scenario.unseen.params
        first = 2**40 + seed * EVALUATION_EPISODES
        with RLTrainer(scenario, algorithm, mode, iterations, EPISODES, seed=seed) as trainer:
            untrained.append(score(market, _learned(trainer), first))
            trainer.train()
            trained.append(score(market, _learned(trainer), first))
        rival.append(score(market, zero_intelligence, first))
    return Evidence(tuple(trained), tuple(untrained), tuple(rival))


def learn(params: Params, _: int) -> Outcome:
    """The evidence of one algorithm and mode, kept as facts."""
    found = evidence(
        str(params["algorithm"]), str(params["mode"]), number(params, "agents"), number(params, "iterations")
    )
    bounds = {"least_saving": found.least("saving"), "least_return": found.least("returned")}
    return Outcome(facts={**asdict(found), **bounds, "position": found.position})
