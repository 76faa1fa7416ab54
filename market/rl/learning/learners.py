"""What the learners of all algorithms share: RLlib's losses get an agent axis.

Agent i's networks appear in agent i's loss alone, so the gradient of the *sum* over agents holds the gradients of N
separate learners; clipping, advantage standardisation and KL coefficients are per agent, and Adam is elementwise.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterable, Iterator
from typing import Any

import torch
from ray.rllib.algorithms.ppo.ppo import LEARNER_RESULTS_CURR_KL_COEFF_KEY, LEARNER_RESULTS_KL_KEY
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.learner.learner import ENTROPY_KEY, POLICY_LOSS_KEY, VF_LOSS_KEY
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from torch import Tensor, nn

from market.rl.learning.gradients import GradientClipper
from market.rl.learning.minibatches import minibatch_rows, minibatches
from market.rl.networks.modules import PopulationActor
from market.rl.scopes import Stream, recorded_phases, seeded
from market.support.allocator import keep_freed_memory
from market.support.phases import phase

GRADIENT_STEPS, SKIPPED_UPDATES, LEARNING_SECONDS = "gradient_steps", "skipped_updates", "learning_seconds"
LOSSES, LEARNING_PHASES = "losses", "learning_phases"
"""What a learner reports of an update beside RLlib's own results."""

MAX_LOG_RATIO = 20.0
"""Log probability ratios are cut at this size, so that the ratio of a joint action of many agents cannot overflow."""


class PopulationLearner(TorchLearner):
    """What the learners of all algorithms share: fused Adam, clipping per agent, seeds by position, honest counts.

    `torch_skip_nan_gradients` must be on: it turns off RLlib's own scans of every gradient, which `GradientClipper`
    replaces.
    """

    @property
    def population(self) -> PopulationActor:
        """The module being trained, without the wrapper of distributed training."""
        module: PopulationActor = self.module[DEFAULT_MODULE_ID].unwrapped()
        return module

    def build(self) -> None:
        keep_freed_memory()  # Ray builds learners in processes of their own
        with seeded(self.config.learner_config_dict["seed"], Stream.BUILD):
            super().build()
        self._clipper = GradientClipper(*self.clipped_apart(), limit=self.config.grad_clip)

    def clipped_apart(self) -> tuple[nn.Module, ...]:
        """The parts of the module whose gradients are clipped apart; within each, agents are."""
        return (self.population,)

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """Adam with a fused step: several times less time on CPU, the same numbers."""
        params = self.get_parameters(self._module[module_id])
        optimizer = torch.optim.Adam(params, fused=True)
        self.register_optimizer(module_id=module_id, optimizer=optimizer, params=params, lr_or_lr_schedule=config.lr)

    def update(self, *args: Any, **kwargs: Any) -> Any:
        """RLlib's update, timed, with random numbers that depend on (seed, number of updates so far, learner) alone."""
        start = time.perf_counter()
        self._steps = self._skipped = 0
        position = (self._weights_seq_no, self._learner_index)
        with (
            recorded_phases(self._device) as phases,
            seeded(self.config.learner_config_dict["seed"], Stream.LEARN, *position),
        ):
            # not super(): IMPALA's puts the batch into a queue for a thread of its own, and waits for that
            TorchLearner.update(self, *args, **kwargs, _no_metrics_reduce=True)
        for name, seconds in phases.items():
            self.metrics.log_value((DEFAULT_MODULE_ID, LEARNING_PHASES, name), seconds, reduce="sum")
        self.metrics.log_value((DEFAULT_MODULE_ID, GRADIENT_STEPS), self._steps, reduce="max", window=1)
        self.metrics.log_value((DEFAULT_MODULE_ID, SKIPPED_UPDATES), self._skipped, reduce="max", window=1)
        self.metrics.log_value(
            (DEFAULT_MODULE_ID, LEARNING_SECONDS), time.perf_counter() - start, reduce="max", window=1
        )
        return self.metrics.reduce()

    def _create_iterator_if_necessary(self, **kwargs: Any) -> Iterator[Any]:
        """RLlib's minibatches; the time to make the batch and each of them is a phase."""
        with phase("batch"):
            minibatches = iter(self._minibatches(**kwargs))
        while True:
            with phase("batch"):
                minibatch = next(minibatches, None)
            if minibatch is None:
                return
            yield minibatch

    def _minibatches(self, *, training_data: Any, **plan: Any) -> Iterable[Any]:
        """RLlib's, from the batch that it makes of the episodes. plan: epochs, minibatch size, shuffling."""
        minibatches: Iterable[Any] = super()._create_iterator_if_necessary(training_data=training_data, **plan)
        return minibatches

    def compute_losses(self, **kwargs: Any) -> dict[str, Tensor]:
        with phase("loss"):
            losses: dict[str, Tensor] = super().compute_losses(**kwargs)
            return losses

    def compute_gradients(self, *args: Any, **kwargs: Any) -> dict[Any, Tensor]:
        with phase("backward"):
            gradients: dict[Any, Tensor] = super().compute_gradients(*args, **kwargs)
            return gradients

    def postprocess_gradients(self, gradients_dict: dict[Any, Tensor]) -> dict[Any, Tensor]:
        self._steps += 1
        with phase("optimiser"):
            self._skipped += self._clipper.clip()
        return gradients_dict

    def apply_gradients(self, gradients_dict: dict[Any, Tensor]) -> None:
        optimizers = [optimizer for _, optimizer in self.get_optimizers_for_module(DEFAULT_MODULE_ID)]
        with phase("optimiser"), self._clipper.guard(*optimizers):
            super().apply_gradients(gradients_dict)

    def set_state(self, state: dict[str, Any]) -> None:
        """Take over a copy: arrays from Ray's object store are shared memory, and RLlib's optimisers would write to it.

        Several learners on one machine would then step the same moments of Adam, each over the other's.
        """
        super().set_state(copy.deepcopy(state))

    def get_local_state(self) -> dict[str, Any]:
        """What this learner has of its own and another has not: nothing, unless it keeps data."""
        return {}

    def set_local_state(self, state: dict[str, Any]) -> None:
        """Take over what `get_local_state` gave."""


class SurrogateLearner(PopulationLearner):
    """What the learners with a clipped surrogate share: how losses add up, and a KL coefficient per probability ratio.

    The coefficients are adapted after each update, from the divergences of its last minibatch.
    """

    def build(self) -> None:
        super().build()
        ratios = self.population.mode.ratios(self.population.observation_space.shape[0])
        self._kl = torch.zeros(ratios, device=self._device)
        self.curr_kl_coeffs_per_module[DEFAULT_MODULE_ID] = torch.full_like(self._kl, self.config.kl_coeff)

    def _minibatches(self, *, training_data: Any, **plan: Any) -> Iterable[Any]:
        batch = self._make_batch_if_necessary(training_data=training_data)
        rows = minibatch_rows(
            batch[DEFAULT_MODULE_ID].count,
            plan["minibatch_size"],
            epochs=plan["num_epochs"],
            least=plan.get("num_total_minibatches", 0),
            shuffle=plan.get("shuffle_batch_per_epoch", False) and plan["num_epochs"] > 1,
        )
        return minibatches(batch[DEFAULT_MODULE_ID], batch.env_steps(), rows)

    def _clipped(self, advantage: Tensor, ratio: Tensor) -> Tensor:
        """PPO's surrogate, per element: no gain from ratios that leave the band around one."""
        band = ratio.clamp(1.0 - self.config.clip_param, 1.0 + self.config.clip_param)
        return torch.min(advantage * ratio, advantage * band)

    def _total(self, policy: Tensor, value: Tensor, entropy: Tensor, divergence: Tensor | None) -> Tensor:
        """The loss to follow; parts are means over rows, per ratio [R] or value [V]. divergence: None without KL."""
        config = self.config
        loss = policy.sum() + config.vf_loss_coeff * value.sum() - config.entropy_coeff * entropy.sum()
        self._losses = {POLICY_LOSS_KEY: policy, VF_LOSS_KEY: value, ENTROPY_KEY: entropy}
        if divergence is not None:
            loss = loss + (self.curr_kl_coeffs_per_module[DEFAULT_MODULE_ID] * divergence).sum()
            self._kl = divergence.detach()
            self._losses[LEARNER_RESULTS_KL_KEY] = divergence
        return loss

    def after_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        """Report the last minibatch, then let RLlib adapt the KL coefficients."""
        means = {name: loss.detach().mean() for name, loss in self._losses.items()}
        self.metrics.log_dict(means, key=(DEFAULT_MODULE_ID, LOSSES), window=1)
        if LEARNER_RESULTS_KL_KEY in means:  # where RLlib looks for it
            self.metrics.log_value((DEFAULT_MODULE_ID, LEARNER_RESULTS_KL_KEY), means[LEARNER_RESULTS_KL_KEY], window=1)
        super().after_gradient_based_update(timesteps=timesteps)

    def _update_module_kl_coeff(self, *, module_id: str, config: Any, kl_loss: float | None = None) -> None:
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
