"""Modes, algorithms and hyperparameters: rows of their registries, checked on entry."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from market.rl.algorithms.registry import ALGORITHMS
from market.rl.hyperparameters import PPOHyperparameters, RLAlgorithm
from market.rl.modes import MODES, TrainingMode


def test_package_loads_neither_torch_nor_ray() -> None:
    code = "import sys, market.rl, market.rl.modes; assert not {'torch', 'ray'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_every_training_mode_is_a_row() -> None:
    assert set(MODES) == set(TrainingMode)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"lr": 0.0}, "lr: got 0.0"),
        ({"lr": float("nan")}, "lr: got nan"),
        ({"gamma": 1.5}, "gamma: got 1.5; allowed: 0 to 1"),
        ({"lambda_": -0.1}, "lambda_: got -0.1"),
        ({"clip": 0}, "clip: got 0"),
        ({"epochs": 0}, "epochs: got 0; allowed: a whole number >= 1"),
        ({"minibatch": 1.5}, "minibatch: got 1.5"),
        ({"grad_clip": -1}, "grad_clip: got -1"),
        ({"hidden": ()}, "hidden: got \\(\\)"),
        ({"hidden": 64}, "hidden: got 64"),
        ({"hidden": (64, 0)}, "hidden: got 0"),
        ({"activation": "tan"}, "activation: got 'tan'; allowed: tanh, relu; did you mean 'tanh'"),
    ],
)
def test_hyperparameters_are_checked(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        PPOHyperparameters(**wrong)


def test_every_algorithm_is_a_row() -> None:
    assert set(ALGORITHMS) == set(RLAlgorithm)
