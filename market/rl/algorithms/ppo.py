"""PPO of a population: RLlib's algorithm, and its loss with an agent axis."""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.ppo import PPO, PPOConfig
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.connectors.learner import LearnerConnectorPipeline
from ray.rllib.core.columns import Columns
from ray.rllib.evaluation.postprocessing import Postprocessing
from torch import Tensor

from market.rl.algorithms.run import InProcess, Run, configure, surrogate
from market.rl.hyperparameters import PPOHyperparameters
from market.rl.learning.connectors import PopulationBatch
from market.rl.learning.learners import MAX_LOG_RATIO, SurrogateLearner
from market.rl.networks.modules import PopulationModule, columns


class PopulationPPO(InProcess, PPO):
    """RLlib's PPO."""


class PopulationPPOLearner(SurrogateLearner, PPOTorchLearner):
    """PPO's clipped surrogate with R probability ratios and V values per step (R, V: 1 or N, by mode)."""

    def build(self) -> None:
        super().build()
        module, config = self.population, self.config
        self._learner_connector = LearnerConnectorPipeline(
            connectors=[
                PopulationBatch(
                    mode=module.mode,
                    gamma=config.gamma,
                    lambda_=config.lambda_,
                    device=self._device,
                    keep_logits=config.use_kl_loss,
                )
            ]
        )

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Tensor], fwd_out: dict[str, Tensor]
    ) -> Tensor:
        mask = batch[Columns.LOSS_MASK].float()
        weight = mask / mask.sum().clamp(min=1.0)

        def mean(x: Tensor) -> Tensor:
            """Mean over the rows that count: [B, R or V] -> [R or V]."""
            return weight @ x

        distribution = self.population.get_train_action_dist_cls()
        current = distribution.from_logits(fwd_out[Columns.ACTION_DIST_INPUTS])
        log_ratio = columns(current.logp(batch[Columns.ACTIONS]) - batch[Columns.ACTION_LOGP])
        ratio = torch.exp(log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO))
        advantage = batch[Postprocessing.ADVANTAGES]
        policy_loss = -mean(self._clipped(advantage, ratio))
        value_error = columns(fwd_out[Columns.VF_PREDS]) - batch[Postprocessing.VALUE_TARGETS]
        divergence = None
        if config.use_kl_loss:
            previous = distribution.from_logits(batch[Columns.ACTION_DIST_INPUTS])
            divergence = mean(columns(previous.kl(current)))
        return self._total(policy_loss, mean(value_error.square()), mean(columns(current.entropy())), divergence)


def configure_ppo(run: Run) -> AlgorithmConfig:
    """RLlib's configuration of a run."""
    settings = run.hyperparameters
    assert isinstance(settings, PPOHyperparameters)
    if settings.minibatch > run.steps_per_learner:
        raise ValueError(
            f"minibatch: got {settings.minibatch}; allowed: 1 to {run.steps_per_learner}, the env-steps that a learner "
            "gets in an iteration; take more episodes_per_iteration or a smaller minibatch"
        )
    config = configure(
        PPOConfig(algo_class=PopulationPPO),
        run,
        PopulationModule,
        PopulationPPOLearner,
        initial_std=settings.initial_std,
    )
    config.training(
        lambda_=settings.lambda_,
        **surrogate(settings),
        minibatch_size=settings.minibatch,
    )
    return config
