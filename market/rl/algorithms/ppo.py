"""PPO of a population: RLlib's algorithm, and its loss with an agent axis."""

from __future__ import annotations

import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.ppo import PPO, PPOConfig
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing
from torch import Tensor
from torch.nn import functional

from market.rl.algorithms.run import Run, configure, surrogate
from market.rl.hyperparameters import PPOHyperparameters
from market.rl.learning.advantages import estimate_advantages
from market.rl.learning.batches import agent_major, stack_episodes
from market.rl.learning.learners import SurrogateLearner
from market.rl.networks.modules import PopulationModule
from market.rl.rllib import RLlibAlgorithm
from market.rl.sampling.policy import Rollout


class PopulationPPO(RLlibAlgorithm, PPO):
    """RLlib's PPO."""


class PopulationPPOLearner(SurrogateLearner):
    """PPO's clipped surrogate with a probability ratio per agent and V values per step (1 or N, by mode)."""

    @torch.no_grad()
    def columns_of(self, module: PopulationModule, episodes: list[Rollout]) -> dict[str, Tensor]:
        """E episodes of T steps as rows [E T, ...]. The value after the last step is used, and not learned."""
        config, mode = self.config, module.mode
        outputs = (Columns.ACTION_LOGP, *([Columns.ACTION_DIST_INPUTS] if config.use_kl_loss else []))
        steps = stack_episodes(episodes, mode, self.device, *outputs)
        observations, rewards = steps.pop(Columns.OBS), steps.pop(Columns.REWARDS)
        values = module.values(observations.flatten(0, 1)).reshape(*observations.shape[:2], -1)
        advantages, targets = estimate_advantages(
            values, rewards, steps.pop(Columns.TERMINATEDS), config.gamma, config.lambda_
        )
        steps |= {
            Columns.OBS: observations[:, :-1],
            Postprocessing.ADVANTAGES: advantages,
            Postprocessing.VALUE_TARGETS: targets,
        }
        rows = {name: x.flatten(0, 1) for name, x in steps.items()}
        return rows if mode.joint_actor else {name: agent_major(x) for name, x in rows.items()}

    def compute_loss_for_module(self, batch: dict[str, Tensor], fwd_out: dict[str, Tensor]) -> Tensor:
        """Sums over agents of means over the minibatch."""
        targets, logp = batch[Postprocessing.VALUE_TARGETS], batch[Columns.ACTION_LOGP]
        return self.surrogate_loss(
            batch,
            fwd_out,
            functional.mse_loss(fwd_out[Columns.VF_PREDS], targets, reduction="none"),
            logp,
            batch[Postprocessing.ADVANTAGES].expand_as(logp),  # a team's is that of each agent
            batch.get(Columns.ACTION_DIST_INPUTS),
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
