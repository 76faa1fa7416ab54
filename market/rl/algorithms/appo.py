"""APPO of a population: RLlib's asynchronous algorithm, and its loss with an agent axis."""

from __future__ import annotations

from typing import Any

import ray
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.appo import APPO, APPOConfig
from ray.rllib.algorithms.appo.torch.appo_torch_learner import APPOTorchLearner
from ray.rllib.connectors.learner import LearnerConnectorPipeline
from ray.rllib.core import COMPONENT_LEARNER, COMPONENT_RL_MODULE, DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import TARGET_NETWORK_ACTION_DIST_INPUTS
from ray.rllib.utils.metrics import NUM_ENV_STEPS_TRAINED_LIFETIME
from torch import Tensor

from market.rl.algorithms.run import InProcess, Run, configure, surrogate
from market.rl.hyperparameters import APPOHyperparameters
from market.rl.learning.learners import MAX_LOG_RATIO, SurrogateLearner
from market.rl.learning.vtrace import DISCOUNTS, OLD_LOGP, EpisodeBatch, vtrace
from market.rl.networks.modules import PopulationModule, TargetPopulationModule

MODULE_STATE = "_rl_module_state_after_update"
"""Where RLlib looks for new weights among an update's results."""

MAX_TARGET_RATIO = 2.0
"""The ratio of the policy that sampled to the target policy is cut here, as in RLlib (IMPACT, arXiv:1912.00167)."""

SECONDS_BETWEEN_LOOKS = 0.01
"""How long the driver waits for samples before it looks again; RLlib's default, 0, keeps a core busy with looking."""


class PopulationAPPO(InProcess, APPO):
    """RLlib's APPO. With runner actors it samples while it learns; in-process it takes turns."""

    def training_step(self) -> None:
        """RLlib's, but with one update under way at most: RLlib drops samples that learners are too busy to take."""
        if self.config.num_learners:
            self.learner_group.foreach_learner(lambda learner: None)
        super().training_step()

    def newest_actor(self) -> PopulationModule:
        """With actors an update may still be under way, and RLlib gives weights to runner actors alone: fetch them."""
        if self.config.num_env_runners or self.config.num_learners:
            state = self.learner_group.get_state(f"{COMPONENT_LEARNER}/{COMPONENT_RL_MODULE}", inference_only=True)
            self.env_runner.set_state(state[COMPONENT_LEARNER])
        return super().newest_actor()


class PopulationAPPOLearner(SurrogateLearner, APPOTorchLearner):
    """APPO's clipped surrogate on V-trace, with R probability ratios and V values per step (R, V: 1 or N, by mode)."""

    def build(self) -> None:
        super().build()
        self.shutdown()  # the thread that RLlib has ready: `update` does the work itself, in the same order
        module, config = self.population, self.config
        module.make_target_networks()  # RLlib leaves this out where learners are several
        self._learner_connector = LearnerConnectorPipeline(
            connectors=[
                EpisodeBatch(mode=module.mode, gamma=config.gamma, device=self._device, keep_logits=config.use_kl_loss)
            ]
        )

    def update(self, *args: Any, minibatch_size: int, return_state: bool = False, **kwargs: Any) -> Any:
        """minibatch_size: env-steps, in whole episodes. return_state: the result holds the actor's new weights."""
        minibatch = minibatch_size // self.config.get_rollout_fragment_length()
        result = super().update(*args, minibatch_size=minibatch, **kwargs)
        if return_state:
            state = self.get_state(COMPONENT_RL_MODULE, inference_only=True)
            if ray.is_initialized():
                state[COMPONENT_RL_MODULE] = ray.put(state[COMPONENT_RL_MODULE])
            result[MODULE_STATE] = state
        return result

    def compute_loss_for_module(
        self, *, module_id: str, config: Any, batch: dict[str, Tensor], fwd_out: dict[str, Tensor]
    ) -> Tensor:
        mode = self.population.mode

        def mean(x: Tensor) -> Tensor:
            """Mean over episodes and steps: [E, T, R or V] -> [R or V]."""
            return x.mean((0, 1))

        distribution = self.population.get_train_action_dist_cls()
        current = distribution.from_logits(fwd_out[Columns.ACTION_DIST_INPUTS][:, :-1])
        values = mode.per_value(fwd_out[Columns.VF_PREDS])
        sampled, old = batch[Columns.ACTION_LOGP], batch[OLD_LOGP]
        log_rhos = (old - sampled).clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO)
        targets, advantage = vtrace(
            values.detach(), batch[Columns.REWARDS], batch[DISCOUNTS], log_rhos, mode.central_critic
        )
        log_ratio = mode.per_ratio(current.logp(batch[Columns.ACTIONS])) - sampled
        ratio = log_ratio.clamp(-MAX_LOG_RATIO, MAX_LOG_RATIO).exp() * (-log_rhos).exp().clamp(max=MAX_TARGET_RATIO)
        divergence = None
        if config.use_kl_loss:
            previous = distribution.from_logits(batch[TARGET_NETWORK_ACTION_DIST_INPUTS])
            divergence = mean(mode.per_ratio(previous.kl(current)))
        return self._total(
            -mean(self._clipped(advantage, ratio)),
            0.5 * mean((values[:, :-1] - targets).square()),
            mean(mode.per_ratio(current.entropy())),
            divergence,
        )

    def after_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        """RLlib's, but the target policy's age is counted in updates of this learner, which checkpoints hold."""
        trained = self._weights_seq_no * self.config.train_batch_size_per_learner
        super().after_gradient_based_update(timesteps={**timesteps, NUM_ENV_STEPS_TRAINED_LIFETIME: trained})

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Also when the target policy was last updated, which RLlib forgets."""
        state = super().get_state(*args, **kwargs)
        state["target_updated"] = self._last_update_ts_by_mid[DEFAULT_MODULE_ID]
        return state

    def set_state(self, state: dict[str, Any]) -> None:
        super().set_state(state)
        if "target_updated" in state:
            self._last_update_ts_by_mid[DEFAULT_MODULE_ID] = state["target_updated"]


def configure_appo(run: Run) -> AlgorithmConfig:
    """RLlib's configuration of a run."""
    settings = run.hyperparameters
    assert isinstance(settings, APPOHyperparameters)
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
    config = configure(
        APPOConfig(algo_class=PopulationAPPO),
        run,
        TargetPopulationModule,
        PopulationAPPOLearner,
        initial_std=settings.initial_std,
    )
    config.training(
        **surrogate(settings),
        minibatch_size=settings.minibatch * run.steps,
        target_network_update_freq=settings.target_update,  # x (1 x 1 x the env-steps of an iteration), see below
        use_circular_buffer=False,  # its thread looks for work ten thousand times a second
        circular_buffer_num_batches=1,
        circular_buffer_iterations_per_batch=1,
        num_gpu_loader_threads=0,  # batches are built on the device
        broadcast_interval=0,  # new weights go out after each update; 1 would mean after every other
        timeout_s_sampler_manager=SECONDS_BETWEEN_LOOKS,
    )
    config.reporting(  # an iteration is never over before there are samples and an update to report
        min_sample_timesteps_per_iteration=run.episodes_per_iteration * run.steps, min_train_timesteps_per_iteration=1
    )
    return config
