"""A training run as RLlib sees it: what it is configured from, and the part of it that all algorithms share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from ray.rllib.algorithms.algorithm import Algorithm
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.core.rl_module.torch import TorchRLModule

from market.config import TrainingMode, check_positive_int
from market.rl.hyperparameters import ClippedSurrogate, Hyperparameters
from market.rl.learning.learners import PopulationLearner
from market.rl.networks.modules import PopulationActor
from market.rl.sampling.policy import PopulationEnv
from market.rl.sampling.runner import PopulationEnvRunner
from market.rl.session import without_object_store


@dataclass(frozen=True)
class Run:
    """What an algorithm is configured from; the fields are those of RLTrainer.

    make_env: (scenario, parallel episodes) -> environment; must be picklable. steps: of an episode.
    """

    make_env: Callable[[Any, int], PopulationEnv]
    scenario: Any
    training: TrainingMode
    hyperparameters: Hyperparameters
    episodes_per_iteration: int
    steps: int
    seed: int
    cpus: int
    gpus: int
    num_env_runners: int
    num_learners: int

    def __post_init__(self) -> None:
        for field in ("episodes_per_iteration", "cpus"):
            check_positive_int(field, getattr(self, field))
        for field in ("seed", "gpus", "num_env_runners", "num_learners"):
            check_positive_int(field, getattr(self, field), low=0)
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
    def steps_per_learner(self) -> int:
        """Env-steps that each learner gets in an iteration."""
        return self.episodes_per_iteration // max(1, self.num_learners) * self.steps


class InProcess(Algorithm):
    """Mixed into RLlib's algorithms: no Ray where no actor needs one, and no directory in the user's home."""

    def setup(self, config: AlgorithmConfig) -> None:
        with without_object_store():
            super().setup(config)

    def step(self) -> Any:
        with without_object_store():
            return super().step()

    def newest_actor(self) -> PopulationActor:
        """The actor that plays in this process, with the newest weights."""
        module: PopulationActor = self.env_runner.module
        return module

    def _setup_logdir(self) -> None:
        self._logdir = None


def configure(
    config: AlgorithmConfig, run: Run, module: type[TorchRLModule], learner: type[PopulationLearner], **model: Any
) -> AlgorithmConfig:
    """The part of the configuration that all algorithms share. model: further settings of the module."""
    config.environment("market", env_config={"make_env": run.make_env, "scenario": run.scenario, "seed": run.seed})
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
    module_spec = RLModuleSpec(
        module_class=module,
        model_config={
            "mode": run.training.value,
            "hidden": settings.hidden,
            "activation": settings.activation,
            **model,
        },
    )
    config.rl_module(rl_module_spec=module_spec)
    config.training(
        lr=settings.lr,
        gamma=settings.gamma,
        grad_clip=settings.grad_clip,
        train_batch_size_per_learner=run.steps_per_learner,
    )
    config.fault_tolerance(restart_failed_env_runners=False)  # a lost actor is an error, not another measurement
    config.framework(torch_skip_nan_gradients=True)  # PopulationLearner does this itself, and says how often
    config.reporting(min_time_s_per_iteration=0)
    config.debugging(log_level="ERROR", log_sys_usage=False)  # no seed: it turns on slow kernels; see scopes.seeded
    return config


def surrogate(settings: ClippedSurrogate) -> dict[str, Any]:
    """What algorithms with a clipped surrogate tell RLlib's `training` alike."""
    return {
        "clip_param": settings.clip,
        "vf_loss_coeff": settings.value_coeff,
        "entropy_coeff": settings.entropy_coeff,
        "use_kl_loss": settings.kl_coeff > 0.0,
        "kl_coeff": settings.kl_coeff,
        "kl_target": settings.kl_target,
        "num_epochs": settings.epochs,
    }
