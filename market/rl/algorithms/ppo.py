"""PPO of a population: RLlib's algorithm, and its loss with an agent axis."""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.ppo import PPO, PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing
from torch import Tensor

from market.rl.algorithms.run import Run, configure, surrogate
from market.rl.hyperparameters import PPOHyperparameters
from market.rl.learning.advantages import estimate_advantages
from market.rl.learning.batches import agent_major, stack_episodes
from market.rl.learning.learners import MAX_LOG_RATIO, SurrogateLearner
from market.rl.networks.modules import PopulationModule
from market.rl.rllib import RLlibAlgorithm
from market.rl.sampling.policy import Rollout


class PopulationPPO(RLlibAlgorithm, PPO):
    """RLlib's PPO."""


class PopulationPPOLearner(SurrogateLearner):
    """PPO's clipped surrogate with a probability ratio per agent and V values per step (1 or N, by mode)."""

    @torch.no_grad()
    def columns_of(self, module: PopulationModule, episodes: list[Rollout]) -> dict[str, Tensor]:
        """E episodes of T steps as rows [E (T + 1), ...]; the last of each, for the value after its end, is masked."""
        config, mode = self.config, module.mode
        outputs = (Columns.ACTION_LOGP, *([Columns.ACTION_DIST_INPUTS] if config.use_kl_loss else []))
        stacked = stack_episodes(episodes, mode, self.device, *outputs)
        observations, rewards = stacked.pop(Columns.OBS), stacked.pop(Columns.REWARDS)
        terminated = stacked.pop(Columns.TERMINATEDS)
        mask = torch.ones(observations.shape[:2], dtype=torch.bool, device=self.device)
        mask[:, -1] = False
        values = module.values(observations.flatten(0, 1)).reshape(*mask.shape, -1)
        advantages, targets = estimate_advantages(values, rewards, terminated, config.gamma, config.lambda_)
        steps = {
            Columns.OBS: observations,
            Columns.LOSS_MASK: mask,
            **{name: torch.cat((x, x[:, -1:]), dim=1) for name, x in stacked.items()},
            Postprocessing.ADVANTAGES: advantages,
            Postprocessing.VALUE_TARGETS: targets,
        }
        rows = {name: x.flatten(0, 1) for name, x in steps.items()}
        if mode.joint_actor:
            return rows
        return {name: agent_major(x) if x.dim() > 1 else x for name, x in rows.items()}

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Tensor], fwd_out: dict[str, Tensor]
    ) -> Tensor:
        mask = batch[Columns.LOSS_MASK].float()
        weight = mask / mask.sum().clamp(min=1.0)

        def mean(x: Tensor) -> Tensor:
            """Mean over the rows that count: [B, N or V] -> [N or V]."""
            return weight @ x

        distribution = self.population.action_dist_cls
        current = distribution.from_logits(fwd_out[Columns.ACTION_DIST_INPUTS])
        log_ratio = current.logp(batch[Columns.ACTIONS]) - batch[Columns.ACTION_LOGP]
        ratio = torch.exp(log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO))
        value_error = fwd_out[Columns.VF_PREDS] - batch[Postprocessing.VALUE_TARGETS]
        divergence = None
        if config.use_kl_loss:
            divergence = mean(distribution.from_logits(batch[Columns.ACTION_DIST_INPUTS]).kl(current))
        return self.total(
            -mean(self.clipped(batch[Postprocessing.ADVANTAGES], ratio)),
            mean(value_error.square()),
            mean(current.entropy()),
            divergence,
        )


def configure_ppo(run: Run, settings: PPOHyperparameters) -> AlgorithmConfig:
    """RLlib's configuration of a run."""
    if settings.minibatch > run.steps_per_learner:
        raise ValueError(
            f"minibatch: got {settings.minibatch}; allowed: 1 to {run.steps_per_learner}, the env-steps that a learner "
            "gets in an iteration; take more episodes_per_iteration or a smaller minibatch"
        )
    config = configure(PPOConfig(algo_class=PopulationPPO), run, PopulationModule, PopulationPPOLearner)
    config.training(lambda_=settings.lambda_, **surrogate(settings), minibatch_size=settings.minibatch)
    return config
