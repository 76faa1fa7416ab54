"""APPO of a population: RLlib's asynchronous algorithm, and its loss with an agent axis."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.appo import APPO, APPOConfig
from ray.rllib.core import COMPONENT_LEARNER, COMPONENT_RL_MODULE
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import TARGET_NETWORK_ACTION_DIST_INPUTS
from torch import Tensor
from torch.nn import functional

from market.rl.algorithms.run import Run, configure, surrogate
from market.rl.hyperparameters import APPOHyperparameters
from market.rl.learning.advantages import importance, standardised, vtrace
from market.rl.learning.batches import stack_episodes
from market.rl.learning.learners import SurrogateLearner
from market.rl.learning.surrogate import MAX_LOG_RATIO
from market.rl.networks.modules import MEAN, TargetPopulationModule
from market.rl.rllib import RLlibAlgorithm
from market.rl.sampling.policy import Rollout

DISCOUNTS, WEIGHTS, TRACES, COMPARED = "discounts", "weights", "traces", "compared"
"""Columns of a batch: discount after each step [E, T, 1], importance weights [E, T, N] and [E, T, V], and the
log-probabilities that the surrogate compares with [E, T, N]."""

MAX_LOG_TARGET_RATIO = math.log(2.0)
"""The log ratio of the policy that sampled to the target policy is cut here, as in RLlib (IMPACT, arXiv:1912.00167)."""


class PopulationAPPO(RLlibAlgorithm, APPO):
    """RLlib's APPO. With runner actors it samples while it learns; in-process it takes turns."""

    def training_step(self) -> None:
        """RLlib's, but with one update under way at most: RLlib drops samples that learners are too busy to take."""
        if self.config.num_learners:
            self.learner_group.foreach_learner(lambda learner: None)
        super().training_step()

    def newest_actor(self) -> Any:
        """With actors an update may still be under way, and RLlib gives weights to runner actors alone: fetch them."""
        if self.config.num_env_runners or self.config.num_learners:
            state = self.learner_group.get_state(f"{COMPONENT_LEARNER}/{COMPONENT_RL_MODULE}", inference_only=True)
            self.env_runner.set_state(state[COMPONENT_LEARNER])
        return super().newest_actor()


class PopulationAPPOLearner(SurrogateLearner):
    """APPO's clipped surrogate on V-trace, with a probability ratio per agent and V values per step (1 or N, by mode).

    A row of its batch is a whole episode. The target policy stands still during an update, so what it thinks of the
    actions, and the importance weights, are computed once.
    """

    population: TargetPopulationModule

    def draw(self, episodes: list[Rollout], plan: dict[str, Any]) -> Iterator[dict[str, Tensor]]:
        """RLlib's minibatch size is in env-steps."""
        return super().draw(episodes, {**plan, "minibatch_size": plan["minibatch_size"] // episodes[0].length})

    @torch.no_grad()
    def columns_of(self, module: TargetPopulationModule, episodes: list[Rollout]) -> dict[str, Tensor]:
        """E episodes of T steps: observations [E, T + 1, N, obs], all else [E, T, ...]."""
        columns = stack_episodes(episodes, module.mode, self.device, Columns.ACTION_LOGP)
        ends = columns.pop(Columns.TERMINATEDS)
        steps = columns[Columns.OBS][:, :-1]
        columns[DISCOUNTS] = torch.full((*steps.shape[:2], 1), self.config.gamma, device=self.device)
        columns[DISCOUNTS][:, -1, 0] *= 1.0 - ends
        logits = module.target_actor(steps.flatten(0, 1)).unflatten(0, steps.shape[:2])
        sampled, old = columns.pop(Columns.ACTION_LOGP), module.action_dist_cls.from_logits(logits)
        log_rhos = (old.logp(columns[Columns.ACTIONS]) - sampled).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
        columns[WEIGHTS], columns[TRACES] = importance(log_rhos, module.mode.central_critic)
        columns[COMPARED] = sampled - (-log_rhos).clamp(max=MAX_LOG_TARGET_RATIO)
        if self.config.use_kl_loss:
            columns[TARGET_NETWORK_ACTION_DIST_INPUTS] = logits
        return columns

    def compute_loss_for_module(self, batch: dict[str, Tensor], fwd_out: dict[str, Tensor]) -> Tensor:
        """Sums over agents of means over episodes and steps."""
        values = fwd_out[Columns.VF_PREDS]
        known = (batch[name] for name in (Columns.REWARDS, DISCOUNTS, WEIGHTS, TRACES))
        targets, advantage = vtrace(values.detach(), *known)
        return self.surrogate_loss(
            batch,
            fwd_out | {MEAN: fwd_out[MEAN][:, :-1]},
            0.5 * functional.mse_loss(values[:, :-1], targets, reduction="none"),
            batch[COMPARED],
            standardised(advantage),
            batch.get(TARGET_NETWORK_ACTION_DIST_INPUTS),
        )

    def after_update(self) -> None:
        """Also let the target policy become a copy of the policy, now and then."""
        super().after_update()
        if self.updates % self.config.target_network_update_freq == 0:
            self.population.target_actor.load_state_dict(self.population.actor.state_dict())


def configure_appo(run: Run, settings: APPOHyperparameters) -> AlgorithmConfig:
    """RLlib's configuration of a run."""
    episodes = run.steps_per_learner // run.steps
    if settings.minibatch > episodes:
        raise ValueError(
            f"minibatch: got {settings.minibatch}; allowed: 1 to {episodes}, the episodes that a learner gets in an "
            "iteration; take more episodes_per_iteration or a smaller minibatch"
        )
    if run.num_learners > 1 and (not run.num_env_runners or run.num_env_runners % run.num_learners):
        raise ValueError(
            f"num_env_runners: got {run.num_env_runners}; allowed: a multiple of num_learners = {run.num_learners}, "
            "since APPO hands what a runner sampled to one learner as it is"
        )
    config = configure(APPOConfig(algo_class=PopulationAPPO), run, TargetPopulationModule, PopulationAPPOLearner)
    config.training(
        **surrogate(settings),
        minibatch_size=settings.minibatch * run.steps,
        target_network_update_freq=settings.target_update,
        broadcast_interval=0,  # new weights go out after each update; 1 would mean after every other
        timeout_s_sampler_manager=0.01,  # seconds between two looks for samples; RLlib's 0 keeps a core busy
    )
    config.reporting(  # an iteration is never over before there are samples and an update to report
        min_sample_timesteps_per_iteration=run.episodes_per_iteration * run.steps, min_train_timesteps_per_iteration=1
    )
    return config
