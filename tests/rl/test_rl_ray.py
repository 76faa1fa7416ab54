"""With Ray's actors: the same numbers as in-process, and nothing left running."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray.cluster_utils import Cluster
from ray.rllib.core import DEFAULT_MODULE_ID

from market import Scenario
from market.rl import IterationRecord, RLTrainer, ray_session
from market.rl.hyperparameters import RLAlgorithm
from ray_support import two_nodes
from rl_support import EVERY_ALGORITHM, LEARNING, SMALL, Targets, TargetTrainer

EXACT = {RLAlgorithm.PPO, RLAlgorithm.SAC}
"""Algorithms that take turns in sampling and learning, so that actors change no number; the others do both at once."""


def make(**arguments: Any) -> RLTrainer:
    scenario, settings = Scenario.study(2, max_steps=4), replace(SMALL[RLAlgorithm.PPO], minibatch=8)
    return RLTrainer(scenario, "ppo", "dtde", 2, episodes_per_iteration=4, hyperparameters=settings, **arguments)


def weights(trainer: RLTrainer) -> dict[str, np.ndarray]:
    return dict(trainer._algorithm.learner_group.get_weights()[DEFAULT_MODULE_ID])


def without_seconds(record: IterationRecord) -> dict[str, Any]:
    return {key: value for key, value in asdict(record).items() if not key.endswith("seconds") and key != "phases"}


def children() -> set[str]:
    """Processes that this one started and that still run."""
    return set(Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split())


@pytest.mark.slow  # starts Ray and eight actors
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")  # of its own settings, for learners
def test_actors_give_the_same_numbers_and_vanish(tmp_path: Path) -> None:
    before = children()
    with make() as here:
        expected = [without_seconds(record) for record in here.train().iterations]
        with ray_session(cpus=4) as seconds:
            assert seconds > 0.0
            with make(num_env_runners=1, num_learners=1) as there:
                result = there.train()
                assert [without_seconds(record) for record in result.iterations] == expected
                assert result.set_up.ray_seconds < seconds, "the session's Ray is shared"
                for name, value in weights(here).items():
                    assert np.array_equal(value, weights(there)[name])
                assert np.array_equal(here.evaluate(2).returns, there.evaluate(2).returns)
                there.save(tmp_path / "there")
                following = without_seconds(there.train_iteration())
            with RLTrainer.restore(tmp_path / "there") as restored:
                assert without_seconds(restored.train_iteration()) == following
            assert without_seconds(here.train_iteration()) == following
            with make(num_env_runners=2, num_learners=2) as many:
                records = many.train().iterations
                assert [record.env_steps for record in records] == [16, 16]
                assert [record.return_mean for record in records] != [r["return_mean"] for r in expected]
                answers = many._algorithm.learner_group.foreach_learner(lambda learner: learner.get_state())
                first, second = (answer.get()["rl_module"][DEFAULT_MODULE_ID] for answer in answers)
                assert all(np.array_equal(first[name], second[name]) for name in first), "learners must not part"
                many.save(tmp_path / "many")
                following = without_seconds(many.train_iteration()), weights(many)
            with RLTrainer.restore(tmp_path / "many") as restored:
                np.testing.assert_equal((without_seconds(restored.train_iteration()), weights(restored)), following)
            assert ray.is_initialized()
            with pytest.raises(ValueError, match=r"ray_address: got '10\.0\.0\.1:6379'; allowed: .* already uses"):
                make(ray_address="10.0.0.1:6379")
            with pytest.raises(ValueError, match="cpus: got 1000001 for all env runners and learners; allowed: 1 to"):
                make(num_env_runners=1, num_learners=1, cpus=1_000_000)
    assert not ray.is_initialized()
    assert children() == before


@pytest.mark.slow  # starts Ray and five actors
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")
def test_appo_samples_while_it_learns_and_loses_no_sample() -> None:
    """Each iteration has a batch to report and an update; sampling runs one batch ahead."""
    settings, scenario = SMALL[RLAlgorithm.APPO], Scenario.study(2, max_steps=4)
    with (
        ray_session(cpus=4),
        RLTrainer(
            scenario,
            "appo",
            "dtde",
            4,
            episodes_per_iteration=4,
            hyperparameters=settings,
            num_env_runners=2,
            num_learners=2,
        ) as trainer,
    ):
        records = trainer.train().iterations
        assert [record.env_steps for record in records] == [32, 16, 16, 16]
        assert {record.gradient_steps for record in records} == {2}
        assert trainer._algorithm.learner_group.get_stats()["learner_group_ts_dropped_lifetime"] == 0
        learned = trainer.module.state_dict()
        for answer in trainer._algorithm.learner_group.foreach_learner(
            lambda learner: (learner._weights_seq_no, learner.get_state()["rl_module"][DEFAULT_MODULE_ID])
        ):
            updates, state = answer.get()
            assert updates == 5, "the last one was under way"
            assert all(np.array_equal(state[name], value.numpy()) for name, value in learned.items())
    assert not ray.is_initialized()


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with two_nodes() as running:
        yield running


@pytest.mark.slow  # starts a cluster, and two actors for each algorithm
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")
@EVERY_ALGORITHM
def test_training_on_two_nodes_is_training(algorithm: RLAlgorithm, cluster: Cluster) -> None:
    """The runner on one node, the learner on the other: the same numbers as in this process, or as good a policy."""
    arguments: dict[str, Any] = {"episodes_per_iteration": 40, "hyperparameters": LEARNING[algorithm]}
    task = Targets(2, 6)
    nodes = {"num_env_runners": 1, "num_learners": 1, "ray_address": cluster.address}
    with (
        ray_session(cluster.address),  # one for both: a process that started a cluster is never without Ray
        TargetTrainer(task, algorithm, "dtde", 12, **arguments) as here,
        TargetTrainer(task, algorithm, "dtde", 12, **nodes, **arguments) as there,
    ):
        untrained = here.evaluate(50).return_mean
        expected, records = (
            [without_seconds(record) for record in trainer.train().iterations] for trainer in (here, there)
        )
        learning = [answer.get() for answer in there._algorithm.learner_group.foreach_learner(node_of)]
        sampling = there._algorithm.env_runner_group.foreach_env_runner(node_of, local_env_runner=False)
        assert len({*learning, *sampling}) == 2
        assert (records == expected) == (algorithm in EXACT)
        gains = [trainer.evaluate(50).return_mean - untrained for trainer in (here, there)]
    assert gains[0] > 0.5 * (6.0 - untrained)
    assert gains[1] == pytest.approx(gains[0], rel=0.0 if algorithm in EXACT else 0.2)
    assert not ray.is_initialized()


def node_of(actor: object) -> str:
    """Where an actor runs; called in it."""
    return str(ray.get_runtime_context().get_node_id())
