"""A training run as RLlib sees it: what it is configured from, and the part of it that all algorithms share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import NoneType
from typing import Any

import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.torch import TorchRLModule

from market.rl.hyperparameters import ClippedSurrogate, Hyperparameters, RLAlgorithm
from market.rl.learning.learners import PopulationLearner
from market.rl.modes import TrainingMode
from market.rl.sampling.runner import PopulationEnvRunner
from market.support import check


@dataclass(frozen=True)
class Run:
    """The arguments of RLTrainer, checked; env_config is a scenario here.

    make_env: (scenario, number of parallel episodes) -> environment; must be picklable.
    """

    make_env: Callable[[Any, int], Any]
    env_config: Any
    algorithm: RLAlgorithm
    training: TrainingMode
    iters: int
    episodes_per_iteration: int
    cpus: int
    gpus: int
    seed: int
    num_env_runners: int
    num_learners: int
    ray_address: str | None
    hyperparameters: Hyperparameters

    def __post_init__(self) -> None:
        for field in ("iters", "episodes_per_iteration", "cpus"):
            check.whole(field, getattr(self, field))
        check.seed(self.seed)
        check.instance("ray_address", self.ray_address, str, NoneType)
        for field in ("gpus", "num_env_runners", "num_learners"):
            check.whole(field, getattr(self, field), low=0)
        for field in ("num_env_runners", "num_learners"):
            parts = getattr(self, field)
            if parts and self.episodes_per_iteration % parts:
                raise ValueError(
                    f"episodes_per_iteration: got {self.episodes_per_iteration}; allowed: a multiple of "
                    f"{field} = {parts}, since each takes whole episodes"
                )
        if self.gpus > 1:
            raise ValueError(f"gpus: got {self.gpus}; allowed: 0 or 1 per learner; for more use num_learners")
        if self.gpus and not self.num_learners and not torch.cuda.is_available():
            raise ValueError(f"gpus: got {self.gpus}; allowed: 0, since torch finds no CUDA device on this machine")

    @property
    def steps(self) -> int:
        """Env-steps of an episode."""
        return int(self.env_config.max_steps)

    @property
    def steps_per_learner(self) -> int:
        """Env-steps that each learner gets in an iteration."""
        return self.episodes_per_iteration // max(1, self.num_learners) * self.steps


def configure(
    config: AlgorithmConfig, run: Run, module: type[TorchRLModule], learner: type[PopulationLearner], **model: Any
) -> AlgorithmConfig:
    """The part of the configuration that all algorithms share. model: further settings of the module."""
    config.environment("market", env_config={"make_env": run.make_env, "scenario": run.env_config, "seed": run.seed})
    config.env_runners(
        env_runner_cls=PopulationEnvRunner,
        num_env_runners=run.num_env_runners,
        num_envs_per_env_runner=run.episodes_per_iteration // max(1, run.num_env_runners),
        rollout_fragment_length=run.steps,
        sample_timeout_s=None,  # a slow environment is waited for; the default drops its samples without a word
    )
    config.learners(
        learner_class=learner,
        num_learners=run.num_learners,
        num_cpus_per_learner=run.cpus,
        num_gpus_per_learner=run.gpus,
        learner_config_dict={"seed": run.seed},
    )
    settings = run.hyperparameters
    shared = {name: getattr(settings, name) for name in ("hidden", "activation", "initial_std")}
    model_config = {"mode": run.training.value, **shared, **model}
    config.rl_module(rl_module_spec=RLModuleSpec(module_class=module, model_config=model_config))
    config.training(
        lr=settings.lr,
        gamma=settings.gamma,
        grad_clip=settings.grad_clip,
        train_batch_size_per_learner=run.steps_per_learner,
    )
    config.fault_tolerance(restart_failed_env_runners=False)  # a lost actor is an error, not another measurement
    config.reporting(min_time_s_per_iteration=0)
    config.debugging(log_level="ERROR", log_sys_usage=False)  # no seed: it turns on slow kernels; see scopes.seeded
    return config


def surrogate(settings: ClippedSurrogate) -> dict[str, Any]:
    """The settings of a clipped surrogate, by RLlib's names."""
    return {
        "clip_param": settings.clip,
        "vf_loss_coeff": settings.value_coeff,
        "entropy_coeff": settings.entropy_coeff,
        "use_kl_loss": settings.kl_coeff > 0.0,
        "kl_coeff": settings.kl_coeff,
        "kl_target": settings.kl_target,
        "num_epochs": settings.epochs,
    }
