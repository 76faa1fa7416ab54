"""RLTrainer: runs, repeats, restores, learns, reports, and leaves nothing behind."""

from __future__ import annotations

import os
import pickle
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
import torch
from ray.rllib.core import DEFAULT_MODULE_ID

from market.rl import MODES, IterationRecord, RLTrainer
from market.rl.hyperparameters import RLAlgorithm
from market.rl.learning.learners import PopulationLearner
from market.rl.modes import TrainingMode
from rl_support import EVERY_ALGORITHM, EVERY_MODE, LEARNING, SMALL, TASK, Targets, TargetTrainer, make_trainer


def learner_of(trainer: RLTrainer) -> PopulationLearner:
    learner: PopulationLearner = trainer._algorithm.learner_group._learner
    return learner


def weights(trainer: RLTrainer) -> dict[str, np.ndarray]:
    state = trainer._algorithm.learner_group.get_weights()[DEFAULT_MODULE_ID]
    return {name: np.array(value) for name, value in state.items()}


def state_of(trainer: RLTrainer) -> dict[str, Any]:
    """All that a learner goes on from."""
    return learner_of(trainer).snapshot()


def same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> bool:
    return a.keys() == b.keys() and all(np.array_equal(a[k], b[k]) for k in a)


def without_seconds(record: IterationRecord) -> dict[str, Any]:
    return {key: value for key, value in asdict(record).items() if not key.endswith("seconds") and key != "phases"}


def children() -> set[str]:
    """Processes that this one started and that still run."""
    return set(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())


GRADIENT_STEPS = {
    RLAlgorithm.PPO: 2,  # 2 epochs over 16 rows, 16 at a time
    RLAlgorithm.APPO: 4,  # 2 epochs over 4 episodes, 2 at a time
    RLAlgorithm.SAC: 3,
}
SURROGATE_LOSSES = {"policy_loss", "vf_loss", "entropy", "std", "mean_kl_loss"}
LOSSES = {
    RLAlgorithm.PPO: SURROGATE_LOSSES,
    RLAlgorithm.APPO: SURROGATE_LOSSES,
    RLAlgorithm.SAC: {"policy_loss", "qf_loss", "qf_mean", "alpha_loss", "alpha_value", "entropy"},
}
LEARNED = {
    RLAlgorithm.PPO: {"actor", "critic"},
    RLAlgorithm.APPO: {"actor", "critic"},
    RLAlgorithm.SAC: {"actor", "critic", "temperature"},
}

PHASES = {"environment", "policy", "batch", "forward", "loss", "backward", "optimiser", "framework"}
"""Of an environment that marks no phases of its own."""


@EVERY_ALGORITHM
@EVERY_MODE
def test_result_is_complete_and_adds_up(mode: TrainingMode, algorithm: RLAlgorithm) -> None:
    with make_trainer(mode, seed=7, algorithm=algorithm) as trainer:
        result = trainer.train()
        assert not ray.is_initialized()
    assert (result.algorithm, result.training, result.num_agents, result.seed) == (algorithm, mode, 3, 7)
    assert (result.threads, result.device, result.hyperparameters) == (1, "cpu", SMALL[algorithm])
    assert result.set_up.build_seconds > 0.0 == result.set_up.ray_seconds
    assert [record.iteration for record in result.iterations] == [0, 1]
    for record in result.iterations:
        assert record.env_steps == 4 * TASK.max_steps
        assert record.agent_steps == 3 * record.env_steps
        assert record.gradient_steps == GRADIENT_STEPS[algorithm]
        assert record.skipped_updates == 0
        assert record.return_mean == pytest.approx(TASK.max_steps * record.kpis["hit"])
        parts = record.sampling_seconds, record.learning_seconds, record.other_seconds
        assert min(parts) > 0.0
        assert sum(parts) == pytest.approx(record.total_seconds)
        assert set(record.phases) == PHASES
        assert min(record.phases.values()) > 0.0
        assert sum(record.phases.values()) == pytest.approx(record.total_seconds)
        assert set(record.losses) == LOSSES[algorithm]
    for total in ("total_seconds", "sampling_seconds", "learning_seconds", "other_seconds", "env_steps", "agent_steps"):
        assert getattr(result, total) == pytest.approx(sum(getattr(record, total) for record in result.iterations))
    assert sum(result.phases.values()) == pytest.approx(result.total_seconds)
    assert pickle.loads(pickle.dumps(result)) == result


@EVERY_ALGORITHM
@EVERY_MODE
def test_one_agent_is_a_population(mode: TrainingMode, algorithm: RLAlgorithm) -> None:
    with make_trainer(mode, Targets(1, 4), algorithm) as trainer:
        assert trainer.train().skipped_updates == 0
        assert trainer.evaluate(3).agent_returns.shape == (3, 1)


@EVERY_ALGORITHM
@EVERY_MODE
def test_every_parameter_learns_and_the_trained_actor_is_the_one_that_plays(
    mode: TrainingMode, algorithm: RLAlgorithm
) -> None:
    with make_trainer(mode, algorithm=algorithm) as trainer:
        before = weights(trainer)
        trainer.train_iteration()
        learner, after = learner_of(trainer), weights(trainer)
        learning = {name: p for name, p in learner.population.named_parameters() if p.requires_grad}
        assert {name.split(".")[0] for name in learning} == LEARNED[algorithm]
        for name, parameter in learning.items():
            gradient = parameter.grad
            assert gradient is not None
            assert gradient.flatten(1 if parameter.dim() > 1 else 0).any(-1).all(), name
            assert (before[name] != after[name]).reshape(len(before[name]), -1).any(1).all(), name
        played = {name: value.numpy() for name, value in trainer.module.state_dict().items()}
        assert played
        assert all(name.startswith("actor") for name in played)
        assert same(played, {name: value for name, value in after.items() if name.startswith("actor")})
        observation = np.random.default_rng(0).normal(size=(2, 3, TASK.num_observations)).astype(np.float32)
        with torch.no_grad():
            logits = learner.population.actor(torch.from_numpy(observation))
        trained = learner.population.action_dist_cls.from_logits(logits).most_likely().numpy()
        np.testing.assert_array_equal(trainer.policy()(observation), trained)


@EVERY_ALGORITHM
@pytest.mark.parametrize("mode", [m for m in MODES if not MODES[m].joint_actor])
def test_perturbing_another_agent_never_changes_an_action(mode: TrainingMode, algorithm: RLAlgorithm) -> None:
    with make_trainer(mode, algorithm=algorithm) as trainer:
        trainer.train_iteration()
        observation = np.random.default_rng(1).normal(size=(6, 3, TASK.num_observations)).astype(np.float32)
        actions = trainer.policy()(observation)
        for j in range(3):
            other = observation.copy()
            other[:, j] += 5.0
            changed = (trainer.policy()(other) != actions).any((0, 2))
            assert changed.tolist() == [agent == j for agent in range(3)]


@EVERY_ALGORITHM
def test_same_seed_repeats_another_differs_whatever_else_happens(algorithm: RLAlgorithm) -> None:
    """Two trainers taking turns, and global generators in other states, change nothing."""
    runs = []
    with ExitStack() as stack:
        trainers = [stack.enter_context(make_trainer(algorithm=algorithm, seed=seed)) for seed in (1, 1, 2)]
        first, second, third = trainers
        assert same(weights(first), weights(second))
        for disturb in (11, 12):
            for trainer in trainers:
                torch.manual_seed(disturb)
                np.random.seed(disturb)  # noqa: NPY002  # RLlib draws from it
                record = trainer.train_iteration()
                runs.append(without_seconds(record))
        assert runs[0] == runs[1] != runs[2]
        assert runs[3] == runs[4] != runs[5]
        assert same(weights(first), weights(second))
        assert not same(weights(first), weights(third))
        assert np.array_equal(first.evaluate(3).returns, second.evaluate(3).returns)


@EVERY_ALGORITHM
@EVERY_MODE
def test_restored_training_goes_on_identically(mode: TrainingMode, algorithm: RLAlgorithm, tmp_path: Path) -> None:
    """Weights (of target networks too), coefficients, Adam's moments, counters and data: odd and even iterations."""
    path = tmp_path / "new folder" / "population.ckpt"
    with make_trainer(mode, seed=3, algorithm=algorithm, iters=3) as original:
        original.train()
        original.save(path)
        with TargetTrainer.restore(path) as restored:
            assert same(weights(original), weights(restored))
            states = [state_of(trainer) for trainer in (original, restored)]
            np.testing.assert_equal(*states)
            initial = getattr(SMALL[algorithm], "kl_coeff", None)
            if initial is not None:
                assert (states[0]["kl_coefficients"] != initial).any(), "never adapted: the test shows too little"
            assert np.array_equal(original.evaluate(3).returns, restored.evaluate(3).returns)
            results = [trainer.train() for trainer in (original, restored)]
            assert [without_seconds(r) for r in results[0].iterations] == [
                without_seconds(r) for r in results[1].iterations
            ]
            assert results[1].iterations[0].iteration == 3
            assert same(weights(original), weights(restored))
            np.testing.assert_equal(*(state_of(trainer) for trainer in (original, restored)))
    assert [file.name for file in path.parent.iterdir()] == ["population.ckpt"]


def test_evaluation_is_deterministic_and_paired() -> None:
    with make_trainer() as trainer:
        before = trainer.evaluate(5)
        again = trainer.evaluate(5)
        assert np.array_equal(before.returns, again.returns)
        trainer.train_iteration()
        after = trainer.evaluate(5)
    assert before.returns.shape == after.kpis["hit"].shape == (5,)
    assert before.agent_returns.shape == (5, 3)
    np.testing.assert_allclose(before.agent_returns.mean(1), before.returns)
    assert before.return_mean == pytest.approx(before.kpi_means["hit"] * TASK.max_steps)
    assert not np.array_equal(before.returns, after.returns)


@EVERY_ALGORITHM
def test_gradients_that_are_not_finite_are_counted_and_spare_the_others(algorithm: RLAlgorithm) -> None:
    """An agent that sees NaN does not learn; with own critics all others do, and each of its updates is on record."""
    with make_trainer(TrainingMode.DTDE, replace(TASK, bad_agent=1), algorithm) as trainer:
        before = weights(trainer)
        result = trainer.train()
        after = weights(trainer)
    assert result.skipped_updates == result.gradient_steps > 0
    for name, value in after.items():
        assert np.isfinite(value).all()
        moved = (value != before[name]).reshape(-1, 3, value[0].size).any(-1)  # twin critics have a row each per agent
        assert (moved == [True, False, True]).all(), name


@EVERY_ALGORITHM
@EVERY_MODE
def test_ratio_of_a_joint_action_of_many_agents_does_not_overflow(mode: TrainingMode, algorithm: RLAlgorithm) -> None:
    """The log ratio of 200 agents leaves the range of exp long before the policy is far off."""
    longer = {"updates": 16} if algorithm is RLAlgorithm.SAC else {"epochs": 8}
    settings = replace(SMALL[algorithm], lr=0.1, hidden=(8,), **longer)
    with make_trainer(mode, Targets(200, 4), algorithm, iters=3, hyperparameters=settings) as trainer:
        result = trainer.train()
        assert all(np.isfinite(value).all() for value in weights(trainer).values())
    assert result.skipped_updates == 0
    assert all(np.isfinite(list(record.losses.values())).all() for record in result.iterations)


@pytest.mark.slow  # trains nine populations
@EVERY_ALGORITHM
@EVERY_MODE
def test_returns_improve(mode: TrainingMode, algorithm: RLAlgorithm) -> None:
    """Each step stands alone here, so gamma = 0; the deterministic policy has to halve its distance to the best."""
    settings = LEARNING[algorithm]
    with make_trainer(
        mode, Targets(2, 6), algorithm, iters=12, episodes_per_iteration=40, hyperparameters=settings
    ) as trainer:
        untrained = trainer.evaluate(50)
        result = trainer.train()
        trained = trainer.evaluate(50)
    assert trained.return_mean > 0.5 * (untrained.return_mean + 6.0)
    assert result.iterations[-1].return_mean > result.iterations[0].return_mean


def test_closing_twice_is_harmless_and_leaves_no_process() -> None:
    before = children()
    trainer = make_trainer()
    trainer.train_iteration()
    trainer.close()
    trainer.close()
    assert children() == before
    with pytest.raises(ValueError, match="trainer: got a call after close"):
        trainer.train_iteration()
