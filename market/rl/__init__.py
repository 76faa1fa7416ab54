"""Multi-agent training on Ray RLlib: the whole population is one environment and one module with stacked weights.

Importing this package loads neither torch nor ray; its trainer does, on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from market.rl.hyperparameters import APPOHyperparameters, Hyperparameters, PPOHyperparameters, SACHyperparameters
from market.rl.modes import MODES, Mode
from market.rl.results import EvaluationResult, IterationRecord, SetUp, TrainingResult

if TYPE_CHECKING:
    from market.rl.sampling.policy import load_policy
    from market.rl.session import ray_session
    from market.rl.trainer import RLTrainer

_LAZY = {"RLTrainer": "trainer", "load_policy": "sampling.policy", "ray_session": "session"}

__all__ = ["MODES", "APPOHyperparameters", "EvaluationResult", "Hyperparameters", "IterationRecord", "Mode",
           "PPOHyperparameters", "RLTrainer", "SACHyperparameters", "SetUp", "TrainingResult", "load_policy",
           "ray_session"]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
