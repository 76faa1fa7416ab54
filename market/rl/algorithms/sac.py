"""SAC of a population: RLlib's algorithm with an agent axis, and an array replay buffer in each learner.

Soft actor-critic (Haarnoja et al. 2018, arXiv:1812.05905) with twin critics and automatic temperature, as RLlib
computes it: Huber loss, Adam with epsilon 1e-7, clipping per network, one step of the target per gradient step.

A central critic values the team's reward and the entropy of all actors: sum_i alpha_i H_i. Actors that can be told
apart have a temperature each, since each has to keep its own entropy; a joint actor has one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.sac import SAC, SACConfig
from ray.rllib.algorithms.sac.sac_learner import QF_LOSS_KEY, QF_MEAN_KEY
from ray.rllib.algorithms.sac.torch.sac_torch_learner import SACTorchLearner
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.learner import ENTROPY_KEY, POLICY_LOSS_KEY
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.execution.rollout_ops import synchronous_parallel_sample
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from ray.rllib.utils.metrics import ENV_RUNNER_RESULTS, LEARNER_RESULTS
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import get_ema_multi_avg_fn

from market.rl.algorithms.run import InProcess, Run, configure
from market.rl.hyperparameters import SACHyperparameters
from market.rl.learning.connectors import AGENT_REWARDS
from market.rl.learning.learners import LOSSES, PopulationLearner
from market.rl.learning.replay import EpisodeReplay
from market.rl.networks.sac_module import LOGP, LOGP_NEXT, Q_PLAYED, Q_RESAMPLED, Q_TARGET, PopulationSACModule
from market.support.phases import phase

TEMPERATURE, TEMPERATURE_LOSS = "alpha_value", "alpha_loss"
ADAM_EPSILON = 1e-7
"""RLlib's for SAC."""


class PopulationSAC(InProcess, SAC):
    """RLlib's SAC whose learners keep the replay buffer: new episodes travel to them, minibatches do not."""

    def _create_local_replay_buffer_if_necessary(self, config: Any) -> None:
        return None

    def training_step(self) -> None:
        """Sample an iteration's episodes, let the learners add and replay them, and hand the weights back."""
        episodes, sampled = synchronous_parallel_sample(
            worker_set=self.env_runner_group,
            max_env_steps=self.config.total_train_batch_size,
            sample_timeout_s=self.config.sample_timeout_s,
            _uses_new_env_runners=True,
            _return_metrics=True,
        )
        self.metrics.aggregate(sampled, key=ENV_RUNNER_RESULTS)
        learned = self.learner_group.update(episodes=episodes, timesteps={})
        self.metrics.aggregate(learned, key=LEARNER_RESULTS)
        self.env_runner_group.sync_weights(
            from_worker_or_learner_group=self.learner_group, policies=[DEFAULT_MODULE_ID], inference_only=True
        )


class PopulationSACLearner(PopulationLearner, SACTorchLearner):
    """RLlib's losses with R temperatures and V values per step (R, V: 1 or N, by mode)."""

    population: PopulationSACModule

    def build(self) -> None:
        super().build()
        settings = self.config.learner_config_dict
        module = self.population
        self.replay = EpisodeReplay(settings["capacity"], self._device)
        self._target_parameters = list(module.target_critic.parameters())
        self._average = get_ema_multi_avg_fn(1.0 - self.config.tau)  # type: ignore[no-untyped-call]
        numbers = module.action_space.shape[0] * module.action_space.shape[1] // len(module.temperature.log_alpha)
        self._target_entropy = settings["target_entropy"] * numbers

    def clipped_apart(self) -> tuple[nn.Module, ...]:
        module = self.population
        return module.actor, module.critic, module.temperature

    def configure_optimizers_for_module(self, module_id: str, config: Any = None) -> None:
        """One Adam each for actors, critics and temperatures, with a fused step."""
        module = self._module[module_id].unwrapped()
        for name, part, lr in (
            ("policy", module.actor, config.actor_lr),
            ("qf", module.critic, config.critic_lr),
            ("alpha", module.temperature, config.alpha_lr),
        ):
            params = self.get_parameters(part)
            self.register_optimizer(
                module_id=module_id,
                optimizer_name=name,
                optimizer=torch.optim.Adam(params, eps=ADAM_EPSILON, fused=True),
                params=params,
                lr_or_lr_schedule=lr,
            )

    def _minibatches(self, *, training_data: Any, **plan: Any) -> Iterator[MultiAgentBatch]:
        """Add the episodes to the buffer; the minibatches of RLlib's loop are then drawn one by one."""
        self._add(training_data.episodes)
        rows = self.config.learner_config_dict["minibatch"]
        for _ in range(self.config.learner_config_dict["updates"]):
            batch = SampleBatch(self.replay.sample(rows))
            yield MultiAgentBatch({DEFAULT_MODULE_ID: batch}, env_steps=rows)

    def _add(self, episodes: list[SingleAgentEpisode]) -> None:
        def stack(arrays: list[Any]) -> NDArray[np.float32]:
            return np.stack(arrays, dtype=np.float32)

        if self.population.mode.team_reward:
            rewards = stack([episode.get_rewards() for episode in episodes])[..., None]
        else:
            rewards = stack([episode.get_extra_model_outputs(AGENT_REWARDS) for episode in episodes])
        self.replay.add(
            stack([episode.get_observations() for episode in episodes]),
            stack([episode.get_actions() for episode in episodes]),
            rewards,
            np.array([episode.is_terminated for episode in episodes], np.float32),
        )

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Tensor], fwd_out: dict[str, Tensor]
    ) -> Tensor:
        """Sum over agents of the means over the minibatch."""
        log_alpha = self.population.temperature.log_alpha.squeeze(-1)
        alpha = log_alpha.detach().exp()
        logp, spread = fwd_out[LOGP], alpha * fwd_out[LOGP_NEXT]
        if self.population.mode.central_critic:
            spread = spread.sum(-1, keepdim=True)
        follows = config.gamma * (1.0 - batch[Columns.TERMINATEDS]).unsqueeze(-1)
        target = batch[Columns.REWARDS] + follows * (fwd_out[Q_TARGET] - spread)
        played = fwd_out[Q_PLAYED]
        critic_loss = functional.huber_loss(played, target.expand_as(played), reduction="none").mean(1).sum(0)
        policy_loss = (alpha * logp).mean(0).sum() - fwd_out[Q_RESAMPLED].mean(0).sum()
        entropy = -logp.detach().mean(0)
        alpha_loss = log_alpha * (entropy - self._target_entropy)
        self._losses = {
            POLICY_LOSS_KEY: policy_loss / played.shape[-1],
            QF_LOSS_KEY: critic_loss,
            TEMPERATURE_LOSS: alpha_loss,
            TEMPERATURE: alpha,
            ENTROPY_KEY: entropy,
            QF_MEAN_KEY: played,
        }
        return policy_loss + critic_loss.sum() + alpha_loss.sum()

    def compute_gradients(self, loss_per_module: dict[str, Tensor], **kwargs: Any) -> dict[Any, Tensor]:
        """One backward pass: no parameter is in more than one of the losses."""
        with phase("backward"):
            gradients: dict[Any, Tensor] = TorchLearner.compute_gradients(self, loss_per_module, **kwargs)
            return gradients

    def apply_gradients(self, gradients_dict: dict[Any, Tensor]) -> None:
        """Step the optimisers, then the target networks."""
        super().apply_gradients(gradients_dict)
        with phase("optimiser"):
            self._average(self._target_parameters, list(self.population.critic.parameters()), None)

    def after_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        """Report the last minibatch (RLlib's would move the target networks, once per iteration)."""
        means = {name: loss.detach().mean() for name, loss in self._losses.items()}
        self.metrics.log_dict(means, key=(DEFAULT_MODULE_ID, LOSSES), window=1)

    def get_local_state(self) -> dict[str, Any]:
        return self.replay.get_state()

    def set_local_state(self, state: dict[str, Any]) -> None:
        self.replay.set_state(state)


def configure_sac(run: Run) -> AlgorithmConfig:
    """RLlib's configuration of a run."""
    settings = run.hyperparameters
    assert isinstance(settings, SACHyperparameters)
    if settings.capacity < run.steps_per_learner:
        raise ValueError(
            f"capacity: got {settings.capacity}; allowed: {run.steps_per_learner} or more, the env-steps that a "
            "learner gets in an iteration"
        )
    config = configure(
        SACConfig(algo_class=PopulationSAC),
        run,
        PopulationSACModule,
        PopulationSACLearner,
        initial_std=settings.initial_std,
        temperature=settings.temperature,
    )
    config.lr = None  # RLlib's SAC has one for each kind of network
    config.training(
        actor_lr=settings.lr, critic_lr=settings.critic_lr, alpha_lr=settings.temperature_lr, tau=settings.tau
    )
    config.reporting(min_sample_timesteps_per_iteration=0)  # RLlib's 100 would repeat short iterations
    config.learner_config_dict |= {
        "capacity": settings.capacity,
        "minibatch": settings.minibatch,
        "updates": settings.updates,
        "target_entropy": settings.target_entropy,
    }
    return config
