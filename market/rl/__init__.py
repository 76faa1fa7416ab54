"""Multi-agent training on Ray RLlib: the whole population is one environment and one module with stacked weights.

Importing this package loads neither torch nor ray; its trainer does, on first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from market.rl.hyperparameters import APPOHyperparameters, Hyperparameters, PPOHyperparameters, SACHyperparameters
from market.rl.modes import MODES, Mode
from market.rl.results import EvaluationResult, IterationRecord, SetUp, TrainingResult
from market.support.extras import on_first_use

if TYPE_CHECKING:
    from market.rl.sampling.policy import load_policy
    from market.rl.session import ray_session
    from market.rl.trainer import RLTrainer

__all__ = ["MODES", "APPOHyperparameters", "EvaluationResult", "Hyperparameters", "IterationRecord", "Mode",
           "PPOHyperparameters", "RLTrainer", "SACHyperparameters", "SetUp", "TrainingResult", "load_policy",
           "ray_session"]  # fmt: skip

__getattr__ = on_first_use(
    __name__,
    {
        "RLTrainer": ("trainer", "rl"),
        "load_policy": ("sampling.policy", "rl"),
        "ray_session": ("session", "rl"),
    },
)
