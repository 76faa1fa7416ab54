"""What `market.rl` overrides and patches of RLlib's algorithms, of how they log, and of how Ray starts.

market/docs/rllib.md lists every private name, why it is needed, and what to check when ray is upgraded.
"""

from __future__ import annotations

import logging
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import ray
import torch
from ray._private import ray_constants
from ray._raylet import AuthenticationTokenLoader, Config  # type: ignore[attr-defined]
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.impala import impala
from ray.rllib.core.learner import training_data
from ray.rllib.core.learner.torch import torch_learner
from ray.rllib.env import env_runner_group
from ray.rllib.execution.rollout_ops import synchronous_parallel_sample
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS

QUIET = {
    **dict.fromkeys(("RAY_USAGE_STATS_ENABLED", "RAY_prestart_worker_first_driver", "RAY_DEDUP_LOGS"), "0"),
    **dict.fromkeys(("RAY_enable_worker_prestart", "RAY_enable_metrics_collection"), "0"),
}
"""Environment variables of a small, offline Ray."""
AUTHENTICATION = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
"""Environment variables that decide whom a Ray answers, and what we tell one that we connect to."""

LOGGERS = ("ray.rllib", "ray.tune", "ray._common.deprecation")
"""Loggers whose lines are about RLlib's own deprecated calls, unused catalogs and set-up."""

STORING = (env_runner_group, impala, training_data)
"""RLlib's modules that put objects into Ray's store even where no actor takes them out."""


@contextmanager
def quiet_rllib() -> Iterator[None]:
    """RLlib logs nothing but errors inside."""
    levels = {logger: logger.level for logger in map(logging.getLogger, LOGGERS)}
    for logger in levels:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in levels.items():
            logger.setLevel(level)


@contextmanager
def guarded() -> Iterator[None]:
    """A Ray that is started inside listens on loopback alone, and answers only to a random token.

    Ray itself turns tokens on where RAY_AUTH_MODE is not set. A mode or a token in the environment stays in force.
    """
    before = {name: os.environ[name] for name in AUTHENTICATION if name in os.environ}
    if not before.keys() & {"RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH"}:  # else Ray writes one into the user's home
        os.environ["RAY_AUTH_TOKEN"] = secrets.token_hex(32)
    listening, ray_constants.ENABLE_RAY_CLUSTER = ray_constants.ENABLE_RAY_CLUSTER, False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = listening
        for name in AUTHENTICATION:
            os.environ.pop(name, None)
        os.environ.update(before)


def forget_token() -> None:
    """Take the environment's word anew on how to talk to a Ray: this process remembers that of the last one."""
    Config.initialize("")
    AuthenticationTokenLoader.instance().reset_cache()


def own_device(config: AlgorithmConfig, gpus: int = 1) -> torch.device:
    """The device of a learner in this process."""
    return torch.device("cuda", config.local_gpu_idx) if gpus else torch.device("cpu")


@contextmanager
def without_object_store() -> Iterator[None]:
    """RLlib works in this process without Ray inside: an object put into the store is the object itself.

    A learner takes its GPU by number: RLlib would start a Ray of its own to ask which ones it may use.
    That saves the seconds and processes of starting Ray. Nothing changes where Ray runs.
    """
    if ray.is_initialized():
        yield
        return
    direct = SimpleNamespace(**{**vars(ray), "put": lambda value: value, "get": lambda value: value})
    asking, torch_learner.get_device = torch_learner.get_device, own_device
    for module in STORING:
        module.ray = direct
    try:
        yield
    finally:
        torch_learner.get_device = asking
        for module in STORING:
            module.ray = ray


class RLlibAlgorithm(Algorithm):
    """Mixed into RLlib's algorithms: no Ray where no actor needs one, no folder in the user's home, no buffer here."""

    def setup(self, config: AlgorithmConfig) -> None:
        with without_object_store():
            super().setup(config)

    def step(self) -> Any:
        with without_object_store():
            return super().step()

    def get_auto_filled_metrics(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Nothing: Tune's would copy the whole configuration in each iteration."""
        return {}

    def newest_actor(self) -> Any:
        """The module that plays in this process, with the newest weights."""
        return self.env_runner.module

    def sample(self) -> list[Any]:
        """An iteration's episodes, from all env runners; RLlib keeps their metrics."""
        episodes, metrics = synchronous_parallel_sample(
            worker_set=self.env_runner_group,
            max_env_steps=self.config.total_train_batch_size,
            sample_timeout_s=self.config.sample_timeout_s,
            _uses_new_env_runners=True,
            _return_metrics=True,
        )
        self.metrics.aggregate(metrics, key=ENV_RUNNER_RESULTS)
        return list(episodes)

    def _setup_logdir(self) -> None:
        self._logdir = None

    def _create_local_replay_buffer_if_necessary(self, config: Any) -> None:
        return None
