"""With Ray's actors: the same numbers as in-process, and nothing left running."""

from __future__ import annotations

import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import ray
from ray.rllib.core import DEFAULT_MODULE_ID

from market import Scenario
from market.rl import IterationRecord, PPOHyperparameters, RLTrainer, ray_session

SMALL = PPOHyperparameters(hidden=(8,), minibatch=8, epochs=2, kl_coeff=0.2)


def make(**arguments: Any) -> RLTrainer:
    scenario = Scenario.study(2, max_steps=4)
    return RLTrainer(scenario, "ppo", "dtde", 2, episodes_per_iteration=4, hyperparameters=SMALL, **arguments)


def weights(trainer: RLTrainer) -> dict[str, np.ndarray]:
    return dict(trainer._algorithm.learner_group.get_weights()[DEFAULT_MODULE_ID])


def without_seconds(record: IterationRecord) -> dict[str, Any]:
    return {key: value for key, value in asdict(record).items() if not key.endswith("seconds")}


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
            assert ray.is_initialized()
            with pytest.raises(ValueError, match=r"ray_address: got '10\.0\.0\.1:6379'; allowed: .* already uses"):
                make(ray_address="10.0.0.1:6379")
            with pytest.raises(ValueError, match="cpus: got 1000001 for all env runners and learners; allowed: 1 to"):
                make(num_env_runners=1, num_learners=1, cpus=1_000_000)
    assert not ray.is_initialized()
    assert children() == before
