"""PPO of a population: RLlib's algorithm, and its loss with an agent axis."""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.ppo import PPO, PPOConfig
from ray.rllib.algorithms.ppo.ppo import LEARNER_RESULTS_KL_KEY
from ray.rllib.algorithms.ppo.torch.ppo_torch_learner import PPOTorchLearner
from ray.rllib.connectors.learner import LearnerConnectorPipeline
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.learner import ENTROPY_KEY, POLICY_LOSS_KEY, VF_LOSS_KEY
from ray.rllib.evaluation.postprocessing import Postprocessing
from torch import Tensor

from market.rl.connectors import PopulationBatch
from market.rl.hyperparameters import PPOHyperparameters
from market.rl.learners import LOSSES, MAX_LOG_RATIO, AdaptiveKL
from market.rl.modules import PopulationModule, columns
from market.rl.run import InProcess, Run, configure


class PopulationPPO(InProcess, PPO):
    """RLlib's PPO."""


class PopulationPPOLearner(AdaptiveKL, PPOTorchLearner):
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
        clipped = ratio.clamp(1.0 - config.clip_param, 1.0 + config.clip_param)
        policy_loss = -mean(torch.min(advantage * ratio, advantage * clipped))
        value_error = columns(fwd_out[Columns.VF_PREDS]) - batch[Postprocessing.VALUE_TARGETS]
        value_loss = mean(value_error.square())
        entropy = mean(columns(current.entropy()))
        loss = policy_loss.sum() + config.vf_loss_coeff * value_loss.sum() - config.entropy_coeff * entropy.sum()
        self._losses = {POLICY_LOSS_KEY: policy_loss, VF_LOSS_KEY: value_loss, ENTROPY_KEY: entropy}
        if config.use_kl_loss:
            previous = distribution.from_logits(batch[Columns.ACTION_DIST_INPUTS])
            divergence = mean(columns(previous.kl(current)))
            loss = loss + (self.curr_kl_coeffs_per_module[module_id] * divergence).sum()
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
        clip_param=settings.clip,
        vf_loss_coeff=settings.value_coeff,
        entropy_coeff=settings.entropy_coeff,
        use_kl_loss=settings.kl_coeff > 0.0,
        kl_coeff=settings.kl_coeff,
        kl_target=settings.kl_target,
        num_epochs=settings.epochs,
        minibatch_size=settings.minibatch,
    )
    return config
