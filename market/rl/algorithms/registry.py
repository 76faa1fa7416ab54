"""How RLlib is configured for each learning algorithm.

To add one, write its file beside `ppo.py`, give it a name in `RLAlgorithm`, its settings a row in
`market.rl.hyperparameters.SETTINGS`, and its function a row in `ALGORITHMS`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

from market.rl.algorithms.appo import configure_appo
from market.rl.algorithms.ppo import configure_ppo
from market.rl.algorithms.run import Run
from market.rl.algorithms.sac import configure_sac
from market.rl.hyperparameters import RLAlgorithm

ALGORITHMS: dict[RLAlgorithm, Callable[[Run, Any], AlgorithmConfig]] = {
    RLAlgorithm.PPO: configure_ppo,
    RLAlgorithm.APPO: configure_appo,
    RLAlgorithm.SAC: configure_sac,
}
"""From a run and its settings to RLlib's configuration."""
