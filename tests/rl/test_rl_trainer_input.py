"""RLTrainer refuses bad input in one line, before anything is built."""

from __future__ import annotations

from typing import Any

import pytest
import ray
import torch

from market.rl import RLTrainer
from market.rl.hyperparameters import APPOHyperparameters, PPOHyperparameters, RLAlgorithm, SACHyperparameters
from rl_support import TASK, TargetTrainer, make_trainer


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"mode": "ctdd"}, "training: got 'ctdd'; allowed: ctce, ctde, dtde; did you mean"),
        ({"iters": 0}, "iters: got 0; allowed: a whole number >= 1"),
        ({"episodes_per_iteration": 0}, "episodes_per_iteration: got 0"),
        (
            {"episodes_per_iteration": 3, "num_env_runners": 2},
            "episodes_per_iteration: got 3; allowed: a multiple of num_env",
        ),
        (
            {"episodes_per_iteration": 3, "num_learners": 2},
            "episodes_per_iteration: got 3; allowed: a multiple of num_lea",
        ),
        ({"cpus": 0}, "cpus: got 0"),
        ({"gpus": -1}, "gpus: got -1"),
        ({"gpus": 2}, "gpus: got 2; allowed: 0 or 1"),
        ({"seed": -1}, "seed: got -1"),
        ({"seed": 2**63}, "seed: got 9223372036854775808; allowed: 0 to 9223372036854775807"),
        ({"seed": float("nan")}, "seed: got nan"),
        ({"iters": 10**5000}, "iters: got some int; allowed: 1 to"),
        ({"ray_address": 6379}, "ray_address: got 6379; allowed: str or None"),
        ({"num_env_runners": -1}, "num_env_runners: got -1"),
        ({"num_learners": 1.5}, "num_learners: got 1.5"),
        (
            {"hyperparameters": PPOHyperparameters()},
            "minibatch: got 240; allowed: 1 to 16, the env-steps that a learner",
        ),
        (
            {"algorithm": RLAlgorithm.SAC, "hyperparameters": SACHyperparameters(capacity=15)},
            "capacity: got 15; allowed: 16 or more, the env-steps that a learner",
        ),
        (
            {"algorithm": RLAlgorithm.APPO, "hyperparameters": APPOHyperparameters()},
            "minibatch: got 10; allowed: 1 to 4, the episodes that a learner",
        ),
        (
            {"algorithm": RLAlgorithm.APPO, "num_env_runners": 1, "num_learners": 2},
            "num_env_runners: got 1; allowed: a multiple of num_learners = 2",
        ),
        ({"hyperparameters": {"lr": 1}}, "hyperparameters: got {'lr': 1}; allowed: PPOHyperparameters or None"),
    ],
)
def test_bad_input_is_named(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_trainer(**wrong)
    assert not ray.is_initialized()


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_gpu_that_is_not_there_is_named() -> None:
    with pytest.raises(ValueError, match="gpus: got 1; allowed: 0, since torch finds no CUDA device"):
        make_trainer(gpus=1)


@pytest.mark.parametrize(
    ("algorithm", "message"),
    [
        ("ppoo", "algorithm: got 'ppoo'; allowed: ppo, appo, sac; did you mean 'ppo'"),
    ],
)
def test_unknown_algorithms_are_named(algorithm: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TargetTrainer(TASK, algorithm, "ctde", 1)


def test_wrong_scenario_is_named() -> None:
    with pytest.raises(ValueError, match=r"env_config: got \[\]; allowed: a Scenario or a dictionary"):
        RLTrainer([], "ppo", "ctde", 1)  # type: ignore[arg-type]
