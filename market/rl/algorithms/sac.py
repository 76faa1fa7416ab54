"""SAC of a population: RLlib's algorithm with an agent axis, and an array replay buffer in each learner.

Soft actor-critic (Haarnoja et al. 2018, arXiv:1812.05905) with twin critics and automatic temperature, as RLlib
computes it: Huber loss, Adam with epsilon 1e-7, clipping per network, one step of the target per gradient step.

A central critic values the team's reward and the entropy of all agents: sum_i alpha_i H_i. Each agent has a
temperature, since each has to keep its own entropy.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from numpy.typing import NDArray
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.sac import SAC, SACConfig
from ray.rllib.algorithms.sac.sac_learner import QF_LOSS_KEY, QF_MEAN_KEY
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.learner import ENTROPY_KEY, POLICY_LOSS_KEY
from ray.rllib.utils.metrics import LEARNER_RESULTS
from torch import Tensor, nn
from torch.nn import functional
from torch.optim.swa_utils import get_ema_multi_avg_fn

from market.rl.algorithms.run import Run, configure
from market.rl.hyperparameters import SACHyperparameters
from market.rl.learning.batches import stack_episodes
from market.rl.learning.learners import PopulationLearner
from market.rl.learning.replay import EpisodeReplay
from market.rl.networks.modules import LOGP, LOGP_NEXT, Q_PLAYED, Q_RESAMPLED, Q_TARGET, PopulationSACModule
from market.rl.rllib import RLlibAlgorithm
from market.rl.sampling.policy import Rollout
from market.support.phases import phase

TEMPERATURE, TEMPERATURE_LOSS = "alpha_value", "alpha_loss"


class PopulationSAC(RLlibAlgorithm, SAC):
    """RLlib's SAC whose learners keep the replay buffer: new episodes travel to them, minibatches do not."""

    def training_step(self) -> None:
        """Sample an iteration's episodes, let the learners add and replay them, and hand the weights back."""
        learned = self.learner_group.update(episodes=self.sample(), timesteps={})
        self.metrics.aggregate(learned, key=LEARNER_RESULTS)
        self.env_runner_group.sync_weights(
            from_worker_or_learner_group=self.learner_group, policies=[DEFAULT_MODULE_ID], inference_only=True
        )


class PopulationSACLearner(PopulationLearner):
    """RLlib's losses with a temperature per agent and V values per step (1 or N, by mode)."""

    adam_epsilon = 1e-7  # RLlib's for SAC
    population: PopulationSACModule

    def build(self) -> None:
        super().build()
        settings, module = self.config.learner_config_dict, self.population
        self.replay = EpisodeReplay(settings["capacity"], self.device)
        self.averaged = [list(critic.parameters()) for critic in (module.target_critic, module.critic)]
        self.average = get_ema_multi_avg_fn(1.0 - self.config.tau)  # type: ignore[no-untyped-call]
        self.target_entropy = settings["target_entropy"] * module.action_space.shape[1]

    def parts(self) -> list[tuple[nn.Module, float]]:
        module, config = self.population, self.config
        rates = (config.actor_lr, config.critic_lr, config.alpha_lr)
        return list(zip((module.actor, module.critic, module.temperature), rates, strict=True))

    def draw(self, episodes: list[Rollout], plan: dict[str, Any]) -> Iterator[dict[str, Tensor]]:
        """Add the episodes to the buffer, then draw from it."""
        self.replay.add(stack_episodes(episodes, self.population.mode, self.device))
        for _ in range(self.config.learner_config_dict["updates"]):
            yield self.replay.sample(self.config.learner_config_dict["minibatch"])

    def compute_loss_for_module(self, batch: dict[str, Tensor], fwd_out: dict[str, Tensor]) -> Tensor:
        """Sum over agents of the means over the minibatch."""
        log_alpha = self.population.temperature.log_alpha.squeeze(-1)
        alpha = log_alpha.detach().exp()
        logp, spread = fwd_out[LOGP], alpha * fwd_out[LOGP_NEXT]
        if self.population.mode.central_critic:
            spread = spread.sum(-1, keepdim=True)
        follows = self.config.gamma * (1.0 - batch[Columns.TERMINATEDS]).unsqueeze(-1)
        target = batch[Columns.REWARDS] + follows * (fwd_out[Q_TARGET] - spread)
        played = fwd_out[Q_PLAYED]
        critic_loss = functional.huber_loss(played, target.expand_as(played), reduction="none").mean(1).sum(0)
        policy_loss = (alpha * logp).mean(0).sum() - fwd_out[Q_RESAMPLED].mean(0).sum()
        entropy = -logp.detach().mean(0)
        alpha_loss = log_alpha * (entropy - self.target_entropy)
        self.losses = {
            POLICY_LOSS_KEY: policy_loss / played.shape[-1],
            QF_LOSS_KEY: critic_loss,
            TEMPERATURE_LOSS: alpha_loss,
            TEMPERATURE: alpha,
            ENTROPY_KEY: entropy,
            QF_MEAN_KEY: played,
        }
        return policy_loss + critic_loss.sum() + alpha_loss.sum()

    def gradient_step(self, columns: dict[str, Tensor]) -> None:
        """And one of the target networks."""
        super().gradient_step(columns)
        with phase("optimiser"):
            self.average(*self.averaged, None)

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """And the replay buffer's columns, [R, ...] of R rows."""
        return super().snapshot() | self.replay.snapshot()

    def take_over(self, kept: Mapping[str, NDArray[Any]]) -> None:
        """And the replay buffer's columns, of equal shapes."""
        super().take_over(kept)
        self.replay.take_over(kept)


def configure_sac(run: Run, settings: SACHyperparameters) -> AlgorithmConfig:
    """RLlib's configuration of a run."""
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
        temperature=settings.temperature,
    )
    config.lr = None  # RLlib's SAC has one for each kind of network
    config.training(
        actor_lr=settings.lr, critic_lr=settings.critic_lr, alpha_lr=settings.temperature_lr, tau=settings.tau
    )
    config.reporting(min_sample_timesteps_per_iteration=0)  # RLlib's 100 would repeat short iterations
    config.learner_config_dict |= {
        name: getattr(settings, name) for name in ("capacity", "minibatch", "updates", "target_entropy")
    }
    return config
