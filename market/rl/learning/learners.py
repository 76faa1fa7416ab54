"""What the learners of all algorithms share: RLlib's losses get an agent axis.

Agent i's networks appear in agent i's loss alone, so the gradient of the *sum* over agents holds the gradients of N
separate learners; clipping, advantage standardisation and KL coefficients are per agent, and Adam is elementwise.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from typing import Any

import torch
from ray.rllib.algorithms.ppo.ppo import LEARNER_RESULTS_KL_KEY
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.learner import DEFAULT_OPTIMIZER, ENTROPY_KEY, POLICY_LOSS_KEY, VF_LOSS_KEY
from torch import Tensor, nn

from market.rl.learning.batches import minibatch_rows, take
from market.rl.learning.gradients import ClippedAdam
from market.rl.networks.distributions import LOG_STD_RANGE
from market.rl.networks.modules import PopulationActor, PopulationModule
from market.rl.results import MARKET
from market.rl.rllib import RLlibLearner
from market.rl.sampling.policy import Rollout
from market.rl.scopes import Stream, one_blas_thread, recorded_phases, seeded
from market.support.allocator import keep_freed_memory
from market.support.phases import phase

REPORT = (DEFAULT_MODULE_ID, MARKET)
"""Where a learner reports an update."""

STD = "std"
"""Loss that holds the standard deviation of the actions, on their scale from -1 to 1, mean over agents and numbers."""


class PopulationLearner(RLlibLearner):
    """Adam on gradients clipped per agent, seeds by position, and counts of updates that were skipped.

    Subclasses have `draw(episodes, plan)`, the columns of each minibatch, and RLlib's `compute_loss_for_module`, which
    leaves what to report in `losses`.
    """

    adam_epsilon = 1e-5  # of PPO by custom: Huang et al. 2022, The 37 implementation details of PPO
    losses: dict[str, Tensor]

    @property
    def population(self) -> PopulationActor:
        """The module being trained, without the wrapper of distributed training."""
        return self.module[DEFAULT_MODULE_ID].unwrapped()

    def parts(self) -> dict[str, tuple[nn.Module, float]]:
        """Parts of the module that have their own optimiser and are clipped apart: name -> part, learning rate."""
        return {DEFAULT_OPTIMIZER: (self.population, self.config.lr)}

    def build(self) -> None:
        keep_freed_memory()  # Ray builds learners in processes of their own
        with seeded(self.config.learner_config_dict["seed"], Stream.BUILD):
            super().build()
        parts = ((part, self.get_optimizer(DEFAULT_MODULE_ID, name)) for name, (part, _) in self.parts().items())
        self.steps = ClippedAdam(*parts, limit=self.config.grad_clip)

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """Adam for each part; `ClippedAdam` takes the steps."""
        for name, (part, lr) in self.parts().items():
            params = [parameter for parameter in part.parameters() if parameter.requires_grad]
            adam = torch.optim.Adam(params, eps=self.adam_epsilon)
            self.register_optimizer(
                module_id=module_id, optimizer_name=name, optimizer=adam, params=params, lr_or_lr_schedule=lr
            )

    def update(self, *args: Any, return_state: bool = False, **kwargs: Any) -> Any:
        """RLlib's update, timed, with random numbers that depend on (seed, number of updates so far, learner) alone.

        return_state: the result holds the actor's new weights, too.
        """
        start = time.perf_counter()
        self.gradient_steps = self.skipped_updates = 0
        seed = self.config.learner_config_dict["seed"]
        position = (self.updates, self.index)
        with recorded_phases(self.device) as phases, seeded(seed, Stream.LEARN, *position), one_blas_thread():
            self.update_without_results(*args, **kwargs)
        self.metrics.log_dict(dict(phases), key=(*REPORT, "phases"), reduce="sum")
        measured = {
            "gradient_steps": self.gradient_steps,
            "skipped_updates": self.skipped_updates,
            "learning_seconds": time.perf_counter() - start,
        }
        self.metrics.log_dict(measured, key=REPORT, reduce="max", window=1)
        return self.results(return_state)

    def minibatches(self, episodes: list[Rollout], plan: dict[str, Any]) -> Iterator[dict[str, Tensor]]:
        """What `draw` gives; the time for it is in the phase "batch"."""
        drawn = self.draw(episodes, plan)
        while True:
            with phase("batch"):
                columns = next(drawn, None)
            if columns is None:
                return
            yield columns

    def gradient_step(self, columns: dict[str, Tensor]) -> None:
        """Losses of one minibatch, their gradients, clipped, and a step of each optimiser."""
        self.gradient_steps += 1
        out = self.module[DEFAULT_MODULE_ID].forward_train(columns)
        with phase("loss"):
            loss = self.compute_loss_for_module(
                module_id=DEFAULT_MODULE_ID, config=self.config, batch=columns, fwd_out=out
            )
        with phase("backward"):
            for parameter in self.population.parameters():
                parameter.grad = None
            loss.backward()
        with phase("optimiser"):
            self.skipped_updates += self.steps.step()
            self.after_step()

    def after_step(self) -> None:
        """What follows each gradient step."""

    def after_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        """Report the last minibatch's losses; learning rates are constant, so there is nothing of RLlib's to do."""
        means = {name: loss.detach().mean() for name, loss in self.losses.items()}
        self.metrics.log_dict(means, key=(*REPORT, "losses"), window=1)

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
    """What learners with a clipped surrogate share: how losses add up, and a KL coefficient per agent [N].

    The coefficients are adapted after each update, from the divergences of its last minibatch.
    Subclasses have `columns_of(module, episodes)`, the whole batch, with the values that the module gives it.
    """

    population: PopulationModule

    def build(self) -> None:
        super().build()
        agents = self.population.observation_space.shape[0]
        self.kl_coefficients = torch.full((agents,), float(self.config.kl_coeff), device=self.device)

    def draw(self, episodes: list[Rollout], plan: dict[str, Any]) -> Iterator[dict[str, Tensor]]:
        columns = self.columns_of(self.population, episodes)
        for rows in minibatch_rows(
            len(columns[Columns.OBS]),
            plan["minibatch_size"],
            epochs=plan["num_epochs"],
            least=plan.get("num_total_minibatches", 0),
            shuffle=plan.get("shuffle_batch_per_epoch", False) and plan["num_epochs"] > 1,
        ):
            index = torch.from_numpy(rows).to(self.device)
            yield {name: take(x, index) for name, x in columns.items()}

    def total(self, gain: Tensor, error: Tensor, entropy: Tensor, divergence: Tensor | None) -> Tensor:
        """The loss to follow: sums over agents of means over rows.

        gain: of the surrogate, [rows, N].
        error: of the values, [..., V].
        entropy, divergence: per agent, [N]; None without KL.
        """
        config = self.config
        loss = (config.vf_loss_coeff * error.sum() - gain.sum()) / len(gain)
        self.losses = {POLICY_LOSS_KEY: -gain.detach(), VF_LOSS_KEY: error.detach(), ENTROPY_KEY: entropy}
        if config.entropy_coeff:
            loss = loss - config.entropy_coeff * entropy.sum()
        if divergence is not None:
            loss = loss + (self.kl_coefficients * divergence).sum()
            self.losses[LEARNER_RESULTS_KL_KEY] = divergence
        return loss

    def after_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        """Report, then adapt each KL coefficient by RLlib's rule (a KL that is not a number changes nothing)."""
        self.losses[STD] = self.population.actor.spread.log_std.clamp(*LOG_STD_RANGE).exp()
        super().after_gradient_based_update(timesteps=timesteps)
        if self.config.use_kl_loss:
            kl, target = self.losses[LEARNER_RESULTS_KL_KEY].detach(), self.config.kl_target
            self.kl_coefficients[kl > 2.0 * target] *= 1.5
            self.kl_coefficients[kl < 0.5 * target] *= 0.5

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """RLlib's state and the KL coefficients."""
        return {**super().get_state(*args, **kwargs), "kl_coefficients": self.kl_coefficients.cpu().numpy().copy()}

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        if "kl_coefficients" in state:
            self.kl_coefficients.copy_(torch.as_tensor(state["kl_coefficients"]))
