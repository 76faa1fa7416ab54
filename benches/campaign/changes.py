"""Named changes of the defaults, tried one by one. To try another, add a row to CHANGES."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from market.support import check

if TYPE_CHECKING:
    from market.rl.hyperparameters import Hyperparameters

TODAY = "today"
"""The change that changes nothing."""
CHANGES: dict[str, Mapping[str, Any]] = {
    TODAY: {},
    "gamma-0.9": {"gamma": 0.9},
    "gamma-0.99": {"gamma": 0.99},
    "lambda-0.9": {"lambda_": 0.9},
    "lambda-1": {"lambda_": 1.0},
    "lr-3e-4": {"lr": 3e-4},
    "lr-1e-3": {"lr": 1e-3},
    "episodes-10": {"episodes_per_iteration": 10, "minibatch": 120},
    "episodes-40": {"episodes_per_iteration": 40, "minibatch": 480},
    "episodes-40-lr-1e-3": {"episodes_per_iteration": 40, "minibatch": 480, "lr": 1e-3},
    "episodes-80": {"episodes_per_iteration": 80, "minibatch": 960},
    "minibatch-120": {"minibatch": 120},
    "minibatch-480": {"minibatch": 480},
    "epochs-5": {"epochs": 5},
    "epochs-20": {"epochs": 20},
    "entropy-0.01": {"entropy_coeff": 0.01},
    "hidden-32": {"hidden": (32, 32)},
    "hidden-128": {"hidden": (128, 128)},
    "relu": {"activation": "relu"},
    "std-0.3": {"initial_std": 0.3},
    "std-1": {"initial_std": 1.0},
    "clip-0.1": {"clip": 0.1},
    "clip-0.3": {"clip": 0.3},
    "grad-clip-10": {"grad_clip": 10.0},
}
"""By name: fields of the algorithm's hyperparameters, and arguments of RLTrainer, with their values. Written for PPO:
other algorithms lack some of the fields, and APPO's minibatch counts episodes."""
OF_A_CELL = ("self", "env_config", "algorithm", "training", "iters", "seed", "hyperparameters")
"""Arguments of RLTrainer that no change sets."""


def changed(algorithm: str, change: str) -> tuple[Hyperparameters, dict[str, Any]]:
    """The hyperparameters and the other arguments of RLTrainer under a change.

    algorithm: name of an algorithm.
    change: name of a row of CHANGES.

    Raises ValueError for an unknown name, or when the algorithm has no such field or refuses its value.
    """
    from market import RLTrainer
    from market.rl.hyperparameters import SETTINGS, RLAlgorithm

    default = SETTINGS[check.choose(RLAlgorithm, algorithm, "algorithms")]()
    parameters = inspect.signature(RLTrainer).parameters.items()
    arguments = {name: each.default for name, each in parameters if name not in OF_A_CELL}
    fields, row = {field.name for field in dataclasses.fields(default)}, check.find(CHANGES, change, "change")
    for name in row:
        if name not in fields | set(arguments):
            raise ValueError(
                f"change: got {change!r}, which sets {name}; allowed: fields of {type(default).__name__}, arguments of "
                f"RLTrainer{check.nearest(name, [*fields, *arguments])}"
            )
    own = {name: value for name, value in row.items() if name in fields}
    return dataclasses.replace(default, **own), arguments | {n: v for n, v in row.items() if n not in fields}
