"""The learning algorithms. To add an algorithm, write its file beside `ppo.py` and add a row to `ALGORITHMS`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

from market.config import RLAlgorithm
from market.rl.algorithms.appo import configure_appo
from market.rl.algorithms.ppo import configure_ppo
from market.rl.algorithms.run import Run
from market.rl.algorithms.sac import configure_sac
from market.rl.hyperparameters import APPOHyperparameters, Hyperparameters, PPOHyperparameters, SACHyperparameters


class AlgorithmRow(NamedTuple):
    """One algorithm: how RLlib is configured for a run, and the study's defaults."""

    configure: Callable[[Run, Any], AlgorithmConfig]
    hyperparameters: Hyperparameters


ALGORITHMS: dict[RLAlgorithm, AlgorithmRow] = {
    RLAlgorithm.PPO: AlgorithmRow(configure_ppo, PPOHyperparameters()),
    RLAlgorithm.APPO: AlgorithmRow(configure_appo, APPOHyperparameters()),
    RLAlgorithm.SAC: AlgorithmRow(configure_sac, SACHyperparameters()),
}
