"""The learning algorithms. To add an algorithm, write its file beside `ppo.py` and add a row to `ALGORITHMS`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

from market.config import RLAlgorithm
from market.rl.appo import configure_appo
from market.rl.hyperparameters import APPOHyperparameters, Hyperparameters, PPOHyperparameters
from market.rl.ppo import configure_ppo
from market.rl.run import Run


@dataclass(frozen=True)
class AlgorithmRow:
    """One algorithm: how RLlib is configured for a run, and the study's defaults."""

    configure: Callable[[Run], AlgorithmConfig]
    hyperparameters: Hyperparameters


ALGORITHMS: dict[RLAlgorithm, AlgorithmRow] = {
    RLAlgorithm.PPO: AlgorithmRow(configure_ppo, PPOHyperparameters()),
    RLAlgorithm.APPO: AlgorithmRow(configure_appo, APPOHyperparameters()),
}


def find_algorithm(algorithm: RLAlgorithm) -> AlgorithmRow:
    """The row of `algorithm`, or a one-line ValueError that names those there are."""
    if algorithm not in ALGORITHMS:
        names = ", ".join(known.value for known in ALGORITHMS)
        raise ValueError(
            f"algorithm: got {algorithm.value!r}; allowed: {names}; {algorithm.value} is not implemented yet"
        )
    return ALGORITHMS[algorithm]
