"""What the learners of all algorithms share: RLlib's losses get an agent axis.

Agent i's networks appear in agent i's loss alone, so the gradient of the *sum* over agents holds the gradients of N
separate learners; clipping, advantage standardisation and KL coefficients are per agent, and Adam is elementwise.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import ray
import torch
from numpy.typing import NDArray
from ray.rllib.algorithms.ppo.ppo import LEARNER_RESULTS_KL_KEY
from ray.rllib.core import ALL_MODULES, COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.learner import ENTROPY_KEY, POLICY_LOSS_KEY, VF_LOSS_KEY
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.core.learner.training_data import TrainingData
from ray.rllib.utils.metrics import NUM_ENV_STEPS_TRAINED_LIFETIME
from torch import Tensor, nn

from market.rl.checkpoint import WEIGHTS
from market.rl.learning.batches import minibatch_rows, take
from market.rl.learning.gradients import ClippedAdam
from market.rl.learning.surrogate import clipped_gain
from market.rl.networks.distributions import LOG_STD_RANGE
from market.rl.networks.modules import LOG_STD, MEAN, PopulationActor, PopulationModule
from market.rl.results import MARKET
from market.rl.sampling.policy import Rollout
from market.rl.scopes import Stream, one_blas_thread, recorded_phases, seeded
from market.support.allocator import keep_freed_memory
from market.support.phases import phase

REPORT = (DEFAULT_MODULE_ID, MARKET)
"""Where a learner reports an update."""

STD = "std"
"""Loss that holds the standard deviation of the actions, on their scale from -1 to 1, mean over agents and numbers."""


class PopulationLearner(TorchLearner):
    """Adam on gradients clipped per agent, seeds by position, and counts of updates that were skipped.

    The loop over minibatches is our own: RLlib's logs a dozen metrics per gradient step. Subclasses have
    `draw(episodes, plan)`, the columns of each minibatch, and `compute_loss_for_module`, which leaves what to report in
    `losses`. plan: RLlib's number of epochs, minibatch size and so on, by name.
    """

    adam_epsilon = 1e-5  # of PPO by custom: Huang et al. 2022, The 37 implementation details of PPO
    losses: dict[str, Tensor]
    parameters: list[nn.Parameter]

    @property
    def population(self) -> PopulationActor:
        """The module being trained, without the wrapper of distributed training."""
        return self.module[DEFAULT_MODULE_ID].unwrapped()

    def parts(self) -> list[tuple[nn.Module, float]]:
        """Parts of the module that are clipped apart, each with its learning rate."""
        return [(self.population, self.config.lr)]

    def build(self) -> None:
        keep_freed_memory()  # Ray builds learners in processes of their own
        with seeded(self.config.learner_config_dict["seed"], Stream.BUILD):
            super().build()
        self.parameters = list(self.population.parameters())
        self.steps = ClippedAdam(*self.parts(), limit=self.config.grad_clip, epsilon=self.adam_epsilon)

    def configure_optimizers_for_module(self, *args: Any, **kwargs: Any) -> None:
        """None of RLlib's."""

    @property
    def updates(self) -> int:
        """How many updates there were, the present one included."""
        return int(self._weights_seq_no)

    @property
    def index(self) -> int:
        """The position of this learner among all."""
        return int(self._learner_index)

    def update(self, training_data: Any = None, *, return_state: bool = False, **plan: Any) -> Any:
        """RLlib's update, timed, with random numbers that depend on (seed, number of updates so far, learner) alone.

        return_state: the result holds the actor's new weights, too, where RLlib's IMPALA looks for them.
        """
        start, data = time.perf_counter(), training_data or TrainingData(episodes=plan["episodes"])
        self.gradient_steps = self.skipped_updates = 0
        position = (self.config.learner_config_dict["seed"], Stream.LEARN, self.updates, self.index)
        with recorded_phases(self.device) as phases, seeded(*position), one_blas_thread():
            data.solve_refs()
            self._weights_seq_no += 1
            drawn = self.draw(data.episodes, plan)
            while True:
                with phase("batch"):
                    columns = next(drawn, None)
                if columns is None:
                    break
                self.gradient_step(columns)
            self.after_update()
        trained = sum(map(len, data.episodes))
        self.metrics.log_value((ALL_MODULES, NUM_ENV_STEPS_TRAINED_LIFETIME), trained, reduce="lifetime_sum")
        self.metrics.log_dict(dict(phases), key=(*REPORT, "phases"), reduce="sum")
        measured: dict[str, float] = {name: getattr(self, name) for name in ("gradient_steps", "skipped_updates")}
        measured["learning_seconds"] = time.perf_counter() - start
        self.metrics.log_dict(measured, key=REPORT, reduce="max", window=1)
        found = self.metrics.reduce()
        if return_state:
            state = self.get_state(COMPONENT_RL_MODULE, inference_only=True)
            if ray.is_initialized():
                state[COMPONENT_RL_MODULE] = ray.put(state[COMPONENT_RL_MODULE])
            found["_rl_module_state_after_update"] = state
        return found

    def gradient_step(self, columns: dict[str, Tensor]) -> None:
        """Losses of one minibatch, their gradients, clipped, and a step of Adam."""
        self.gradient_steps += 1
        out = self.module[DEFAULT_MODULE_ID].forward_train(columns)
        with phase("loss"):
            loss = self.compute_loss_for_module(columns, out)
        with phase("backward"):
            for parameter in self.parameters:
                parameter.grad = None
            loss.backward()
        with phase("optimiser"):
            self.skipped_updates += self.steps.step()

    def after_update(self) -> None:
        """Report the last minibatch's losses."""
        means = {name: loss.detach().mean() for name, loss in self.losses.items()}
        self.metrics.log_dict(means, key=(*REPORT, "losses"), window=1)

    def tensors(self) -> dict[str, Tensor]:
        """What an update changes, by name: weights and Adam's moments; to be read, or written to."""
        weights = {f"{WEIGHTS}{name}": x for name, x in self.population.state_dict().items()}
        return weights | self.steps.state()

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """All that this learner goes on from, by name: copies, each of its own shape."""
        arrays = {name: x.cpu().numpy().copy() for name, x in self.tensors().items()}
        return {"updates": np.array(self.updates), **arrays}

    def take_over(self, kept: Mapping[str, NDArray[Any]]) -> None:
        """Go on from a snapshot of equal shapes, copied: Ray hands out arrays that learners of a machine share."""
        for name, x in self.tensors().items():
            new = torch.tensor(kept[name])
            if (new.shape, new.dtype) != (x.shape, x.dtype):
                raise ValueError(f"{name}: got {new.dtype} {[*new.shape]}; allowed: {x.dtype} {[*x.shape]}")
            x.copy_(new)
        self._weights_seq_no = int(kept["updates"])


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
            shuffle=plan.get("shuffle_batch_per_epoch", False) and plan["num_epochs"] > 1,
        ):
            index = torch.from_numpy(rows).to(self.device)
            yield {name: take(x, index) for name, x in columns.items()}

    def surrogate_loss(
        self, batch: Any, out: dict[str, Tensor], error: Tensor, old_logp: Tensor, advantage: Tensor, logits: Any
    ) -> Tensor:
        """The loss to follow: sums over agents of means over rows.

        out: with the means and log standard deviations of the policy.
        error: of the values, [..., V].
        old_logp, advantage: as `clipped_gain` takes them.
        logits: of the policy to stay near; None without KL.
        """
        config, distribution = self.config, self.population.action_dist_cls
        current = distribution.bounded(out[MEAN], out[LOG_STD])
        if config.use_kl_loss:
            divergence = distribution.from_logits(logits).kl(current)
            divergence = divergence.mean(tuple(range(divergence.dim() - 1)))
        gain = clipped_gain(current, batch[Columns.ACTIONS], old_logp, advantage, config.clip_param)
        entropy = current.entropy()
        loss = (config.vf_loss_coeff * error.sum() - gain.sum()) / len(gain)
        self.losses = {POLICY_LOSS_KEY: -gain.detach(), VF_LOSS_KEY: error.detach(), ENTROPY_KEY: entropy}
        if config.entropy_coeff:
            loss = loss - config.entropy_coeff * entropy.sum()
        if config.use_kl_loss:
            loss = loss + (self.kl_coefficients * divergence).sum()
            self.losses[LEARNER_RESULTS_KL_KEY] = divergence
        return loss

    def after_update(self) -> None:
        """Report, then adapt each KL coefficient by RLlib's rule (a KL that is not a number changes nothing)."""
        self.losses[STD] = self.population.actor.spread.log_std.clamp(*LOG_STD_RANGE).exp()
        super().after_update()
        if self.config.use_kl_loss:
            kl, target = self.losses[LEARNER_RESULTS_KL_KEY].detach(), self.config.kl_target
            self.kl_coefficients[kl > 2.0 * target] *= 1.5
            self.kl_coefficients[kl < 0.5 * target] *= 0.5

    def tensors(self) -> dict[str, Tensor]:
        return super().tensors() | {"kl_coefficients": self.kl_coefficients}
