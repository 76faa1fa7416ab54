"""What the training cases prepare and call. Torch and ray load inside the functions, and only there."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from benches.case import Outcome, Params
from benches.workloads.inputs import SEED, number

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from market import RLTrainer, Scenario
    from market.rl.results import IterationRecord

ALGORITHMS = ("ppo", "appo", "sac")
"""Every member of `market.RLAlgorithm`; a test compares. The table is read without loading the market."""
STEPS = 24
"""Steps of an episode."""
EPISODES = 20
"""Episodes of a training iteration."""
EVALUATION_EPISODES = 10
"""Episodes of an evaluation of a whole training; each has a linear programme."""
EVERY = 5
"""Iterations between the evaluations that show how a training learns."""

PROFILES_AXIS = "profiles"
"""The axis that --profiles adds: where generation and demand of a population come from."""


def seed_of(params: Params) -> int:
    """The seed of a cell: of its population, its weights and its episodes."""
    return number(params, "seed") if "seed" in params else SEED


def population(params: Params) -> Scenario:
    """The study's community of a cell."""
    from market import Scenario

    source = str(params.get(PROFILES_AXIS, "synthetic"))
    return Scenario.study(number(params, "agents"), seed_of(params), profiles=source)


def trainer(params: Params) -> RLTrainer:
    """A trainer of the study's population, built and not yet trained."""
    from market import RLTrainer

    return RLTrainer(
        population(params),
        algorithm=str(params["algorithm"]),
        training=str(params["mode"]),
        iters=number(params, "iterations"),
        episodes_per_iteration=EPISODES,
        seed=seed_of(params),
    )


def warm_up_beside(prepared: RLTrainer) -> None:
    """One iteration of another trainer like it: what is compiled and loaded once is not charged to the training."""
    from market import RLTrainer

    with RLTrainer(prepared.scenario, prepared.algorithm, prepared.training, 1, EPISODES, seed=SEED) as other:
        other.train_iteration()


def train_iteration(prepared: RLTrainer, _: int) -> Outcome:
    """One iteration of EPISODES episodes; each goes on from the one before."""
    return _outcome([prepared.train_iteration()])


def train_whole(prepared: RLTrainer, _: int) -> Outcome:
    """All iterations, with an evaluation on held-out days every EVERY of them and at the end; KPIs and returns are kept
    for each episode of the last one, savings for those of all.

    Untimed, the same episodes on days that training drew from: facts that begin with `seen`.
    """
    iterations, evaluated, evaluation_seconds = [], {}, 0.0
    for done in range(1, prepared.iters + 1):
        iterations.append(prepared.train_iteration())
        if done % EVERY == 0 or done == prepared.iters:
            began = time.perf_counter()
            evaluation = prepared.evaluate(EVALUATION_EPISODES)
            evaluation_seconds += time.perf_counter() - began
            evaluated[done] = evaluation.kpis["cost_saving"].tolist()
    trained = _outcome(iterations)

    def seen() -> dict[str, Any]:
        played = prepared.evaluate(EVALUATION_EPISODES, prepared.scenario)
        return {"seen_return": played.return_mean, "seen_returns": played.returns, "seen_kpis": dict(played.kpis)}

    return Outcome(
        trained.phases,
        {
            **trained.facts,
            "iteration_seconds": [record.total_seconds for record in iterations],
            "iteration_returns": [record.return_mean for record in iterations],
            "evaluated_iterations": list(evaluated),
            "evaluated_savings": list(evaluated.values()),
            "evaluation_seconds": evaluation_seconds,
            "evaluation_return": evaluation.return_mean,
            "evaluation_returns": evaluation.returns,
            **explained("evaluation_kpis", evaluation.kpis),
            "build_seconds": prepared.set_up.build_seconds,
            "device": prepared.device,
        },
        seen,
    )


def explained(fact: str, kpis: Mapping[str, Any]) -> dict[str, Any]:
    """KPIs as the fact of that name, and what each means where they were taken: unit, formula, source."""
    from market.evaluation.kpis import KPIS

    rows = {name: KPIS[name] for name in kpis}
    return {
        fact: dict(kpis),
        "kpi_meanings": {name: [row.unit, row.formula, row.reference] for name, row in rows.items()},
    }


def _outcome(records: Sequence[IterationRecord]) -> Outcome:
    from market.support.phases import combined

    total = sum(record.total_seconds for record in records)
    summed = ("sampling_seconds", "learning_seconds", "gradient_steps", "skipped_updates")
    return Outcome(
        combined(total, *((record.phases, 1.0) for record in records)),
        {
            "training_episodes": EPISODES * len(records),
            "training_seconds": total,
            **{name: sum(getattr(record, name) for record in records) for name in summed},
            "return": records[-1].return_mean,
            **explained("kpis", records[-1].kpis),
        },
    )


def close_trainer(prepared: RLTrainer) -> None:
    """Stop the algorithm."""
    prepared.close()
