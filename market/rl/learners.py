"""What the learners of all algorithms share: RLlib's losses get an agent axis.

Agent i's networks appear in agent i's loss alone, so the gradient of the *sum* over agents holds the gradients of N
separate learners; clipping, advantage standardisation and KL coefficients are per agent, and Adam is elementwise.
"""

from __future__ import annotations

import time
from typing import Any

import torch
from ray.rllib.algorithms.ppo.ppo import LEARNER_RESULTS_CURR_KL_COEFF_KEY
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from torch import Tensor

from market.rl.gradients import GradientClipper
from market.rl.modules import PopulationModule
from market.rl.scopes import Stream, seeded

GRADIENT_STEPS, SKIPPED_UPDATES, LEARNING_SECONDS = "gradient_steps", "skipped_updates", "learning_seconds"
LOSSES = "losses"
"""What a learner reports of an update beside RLlib's own results."""

MAX_LOG_RATIO = 20.0
"""Log probability ratios are cut at this size, so that the ratio of a joint action of many agents cannot overflow."""


class PopulationLearner(TorchLearner):
    """What the learners of all algorithms share: fused Adam, clipping per agent, seeds by position, honest counts.

    `torch_skip_nan_gradients` must be on: it turns off RLlib's own scans of every gradient, which `GradientClipper`
    replaces.
    """

    @property
    def population(self) -> PopulationModule:
        """The module being trained, without the wrapper of distributed training."""
        module: PopulationModule = self.module[DEFAULT_MODULE_ID].unwrapped()
        return module

    def build(self) -> None:
        with seeded(self.config.learner_config_dict["seed"], Stream.BUILD):
            super().build()
        self._clipper = GradientClipper(self.population, self.config.grad_clip)

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """Adam with a fused step: several times less time on CPU, the same numbers."""
        params = self.get_parameters(self._module[module_id])
        optimizer = torch.optim.Adam(params, fused=True)
        self.register_optimizer(module_id=module_id, optimizer=optimizer, params=params, lr_or_lr_schedule=config.lr)

    def update(self, *args: Any, **kwargs: Any) -> Any:
        """RLlib's update, timed, with random numbers that depend on (seed, number of updates so far, learner) alone."""
        start = time.perf_counter()
        self._steps = self._skipped = 0
        with seeded(self.config.learner_config_dict["seed"], Stream.LEARN, self._weights_seq_no, self._learner_index):
            super().update(*args, **kwargs, _no_metrics_reduce=True)
        self.metrics.log_value((DEFAULT_MODULE_ID, GRADIENT_STEPS), self._steps, reduce="max", window=1)
        self.metrics.log_value((DEFAULT_MODULE_ID, SKIPPED_UPDATES), self._skipped, reduce="max", window=1)
        self.metrics.log_value(
            (DEFAULT_MODULE_ID, LEARNING_SECONDS), time.perf_counter() - start, reduce="max", window=1
        )
        return self.metrics.reduce()

    def postprocess_gradients(self, gradients_dict: dict[Any, Tensor]) -> dict[Any, Tensor]:
        self._steps += 1
        self._skipped += self._clipper.clip()
        return gradients_dict

    def apply_gradients(self, gradients_dict: dict[Any, Tensor]) -> None:
        with self._clipper.guard(self.get_optimizer()):
            super().apply_gradients(gradients_dict)


class AdaptiveKL(PopulationLearner):
    """One KL coefficient per probability ratio, adapted after each update; for learners with a KL penalty.

    A loss with the penalty stores the divergences [R] of the last minibatch in `_kl`.
    """

    def build(self) -> None:
        super().build()
        ratios = self.population.mode.ratios(self.population.observation_space.shape[0])
        self._kl = torch.zeros(ratios, device=self._device)
        self.curr_kl_coeffs_per_module[DEFAULT_MODULE_ID] = torch.full_like(self._kl, self.config.kl_coeff)

    def _update_module_kl_coeff(self, *, module_id: str, config: Any, kl_loss: float) -> None:
        """Each coefficient by RLlib's rule (a KL that is not a number changes nothing)."""
        coefficients, target = self.curr_kl_coeffs_per_module[module_id], config.kl_target
        coefficients[self._kl > 2.0 * target] *= 1.5
        coefficients[self._kl < 0.5 * target] *= 0.5
        self.metrics.log_value((module_id, LEARNER_RESULTS_CURR_KL_COEFF_KEY), coefficients.mean().item(), window=1)

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """RLlib's state and the KL coefficients, which RLlib forgets."""
        state: dict[str, Any] = super().get_state(*args, **kwargs)
        state["kl_coefficients"] = self.curr_kl_coeffs_per_module[DEFAULT_MODULE_ID].cpu().numpy().copy()
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        if "kl_coefficients" in state:
            self.curr_kl_coeffs_per_module[DEFAULT_MODULE_ID].copy_(torch.as_tensor(state["kl_coefficients"]))
