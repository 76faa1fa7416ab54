"""SAC with Ray actors: the same numbers as in-process, and a replay buffer in each learner that survives a restart."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ray.rllib.core import DEFAULT_MODULE_ID

from market import Scenario
from market.rl import RLTrainer, ray_session
from market.rl.hyperparameters import RLAlgorithm
from rl_support import SMALL


def make(**arguments: Any) -> RLTrainer:
    scenario, settings = Scenario.study(2, max_steps=4), SMALL[RLAlgorithm.SAC]
    return RLTrainer(scenario, "sac", "dtde", 2, episodes_per_iteration=4, hyperparameters=settings, **arguments)


def iterate(trainer: RLTrainer) -> dict[str, Any]:
    record = asdict(trainer.train_iteration())
    return {key: value for key, value in record.items() if not key.endswith("seconds") and key != "phases"}


def held(trainer: RLTrainer) -> list[Any]:
    return [kept["replay/rewards"] for kept in trainer._each_learner(lambda learner: learner.snapshot())]


def weights(trainer: RLTrainer) -> list[dict[str, Any]]:
    """Of each learner."""
    return trainer._each_learner(lambda learner: learner.get_state()["rl_module"][DEFAULT_MODULE_ID])


@pytest.mark.slow  # starts Ray and eight actors
@pytest.mark.filterwarnings("ignore::DeprecationWarning:ray.data.context")  # of its own settings, for learners
def test_learners_keep_their_own_episodes(tmp_path: Path) -> None:
    with ray_session(cpus=4):
        with make() as here, make(num_env_runners=1, num_learners=1) as there:
            assert [iterate(here) for _ in range(3)] == [iterate(there) for _ in range(3)]
        with make(num_env_runners=2, num_learners=2) as many:
            many.train()
            many.save(tmp_path / "many")
            first, second = held(many)
            assert len(first) == len(second) == 4, "two episodes each, twice"
            assert not np.array_equal(first, second)
            states = weights(many)
            np.testing.assert_equal(states[0], states[1], "learners must not part")
            following = iterate(many), weights(many)
        with RLTrainer.restore(tmp_path / "many") as restored:
            np.testing.assert_equal(held(restored), [first, second])
            np.testing.assert_equal(weights(restored), states)
            np.testing.assert_equal((iterate(restored), weights(restored)), following)
            assert all(len(rewards) == 6 for rewards in held(restored))
