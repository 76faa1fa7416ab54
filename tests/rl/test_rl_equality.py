"""A stacked update is the update of separate RLlib learners, and the parts it is made of are what they claim to be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.algorithms.appo import APPOConfig
from ray.rllib.algorithms.appo.torch import appo_torch_learner
from ray.rllib.algorithms.impala.torch.vtrace_torch_v2 import vtrace_torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.connectors.learner.general_advantage_estimation import GeneralAdvantageEstimation
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner import Learner
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.env.utils.infinite_lookback_buffer import InfiniteLookbackBuffer
from ray.rllib.evaluation.postprocessing import Postprocessing
from ray.rllib.utils.metrics import NUM_ENV_STEPS_TRAINED_LIFETIME
from torch import nn

from market.rl import APPOHyperparameters, PPOHyperparameters
from market.rl.hyperparameters import ClippedSurrogate, RLAlgorithm
from market.rl.learning.learners import PopulationLearner
from market.rl.rllib import quiet_rllib, without_object_store
from market.rl.sampling.policy import Rollout
from market.rl.scopes import Stream, seeded
from rl_support import Targets, TargetTrainer

AGENTS, STEPS, EPISODES = 3, 8, 6
COMMON: dict[str, Any] = {
    "lr": 3e-3,
    "gamma": 0.9,
    "entropy_coeff": 0.01,
    "kl_coeff": 0.2,
    "kl_target": 0.003,
    "epochs": 10,
    "hidden": (32, 16),
}


class PlayedAdvantages(GeneralAdvantageEstimation):
    """RLlib's rows without those that it appended, and their advantages standardised once more."""

    def __call__(self, *, batch: dict[str, Any], **kwargs: Any) -> Any:
        super().__call__(batch=batch, **kwargs)
        for columns in batch.values():
            played = columns[Columns.LOSS_MASK]
            columns |= {name: x[played] for name, x in columns.items()}
            advantages = columns[Postprocessing.ADVANTAGES]
            columns[Postprocessing.ADVANTAGES] = (advantages - advantages.mean()) / advantages.std(correction=0)
        return batch


@dataclass(frozen=True)
class Stock:
    """RLlib's own algorithm for one agent, and how it is told to do what ours does.

    copied: settings taken over from our configuration, beside those of both algorithms. others: further settings.
    minibatch: rows of a gradient step. shuffle: rows are drawn anew in each epoch. fragment: rows of a V-trace.
    """

    settings: ClippedSurrogate
    config: type[AlgorithmConfig]
    copied: str
    others: dict[str, Any]
    minibatch: int
    shuffle: bool
    fragment: int = STEPS

    def learner(self, trainer: TargetTrainer) -> Any:
        """A learner with RLlib's own pipeline, model, Adam and clipping."""
        config = self.config()
        config.environment(
            observation_space=gym.spaces.Box(-10.0, 10.0, (trainer.scenario.num_observations,), np.float32),
            action_space=gym.spaces.Box(-1.0, 1.0, (4,), np.float32),
        )
        config.env_runners(rollout_fragment_length=self.fragment)
        config.rl_module(
            model_config={
                "fcnet_hiddens": list(self.settings.hidden),
                "head_fcnet_hiddens": [],
                "fcnet_activation": "tanh",
                "vf_share_layers": False,
                "free_log_std": True,
            }
        )
        ours = trainer._algorithm.config
        common = "lr gamma clip_param grad_clip use_kl_loss kl_coeff kl_target entropy_coeff vf_loss_coeff num_epochs"
        copied = {name: getattr(ours, name) for name in f"{common} {self.copied}".split()}
        config.training(**copied, **self.others)
        learner = config.build_learner(spaces={DEFAULT_MODULE_ID: (config.observation_space, config.action_space)})
        for part in learner._learner_connector.connectors:
            if isinstance(part, GeneralAdvantageEstimation):
                part.__class__ = PlayedAdvantages
        for _, adam in learner.get_optimizers_for_module(DEFAULT_MODULE_ID):
            adam.param_groups[0]["eps"] = PopulationLearner.adam_epsilon
        return learner

    def update(self, learner: Any, episodes: list[SingleAgentEpisode], updates: int, trainer: TargetTrainer) -> None:
        """What RLlib's algorithm has its learner do with a batch. updates: how many there were, this one included."""
        trained = updates * trainer._run.steps_per_learner
        Learner.update(  # not the learner's own, which leaves it to a thread
            learner,
            episodes=episodes,
            timesteps={NUM_ENV_STEPS_TRAINED_LIFETIME: trained},
            num_epochs=self.settings.epochs,
            minibatch_size=self.minibatch,
            shuffle_batch_per_epoch=self.shuffle,
        )


STOCKS = {
    RLAlgorithm.PPO: Stock(
        settings=PPOHyperparameters(**COMMON, lambda_=0.8, minibatch=24),
        config=PPOConfig,
        copied="lambda_",
        others={"vf_clip_param": 1e9},
        minibatch=24,
        shuffle=True,
    ),
    RLAlgorithm.APPO: Stock(
        settings=APPOHyperparameters(**COMMON, minibatch=3, target_update=2),
        config=APPOConfig,
        copied="target_network_update_freq train_batch_size_per_learner",
        others={  # one batch, once, as ours
            "use_circular_buffer": False,
            "circular_buffer_num_batches": 1,
            "circular_buffer_iterations_per_batch": 1,
        },
        minibatch=3 * (STEPS + 1),
        shuffle=False,
        fragment=STEPS + 1,  # a row of V-trace holds a whole episode, with the row that RLlib appends
    ),
}


def paired_layers(stock: Any, ours: Any) -> Iterator[tuple[nn.Linear, Any]]:
    """Their layers, and weight and bias [N, in, out] and [N, 1, out] of ours."""
    encoder = stock.encoder
    networks = [(ours.actor, (encoder.actor_encoder, stock.pi)), (ours.critic, (encoder.critic_encoder, stock.vf))]
    if hasattr(ours, "target_actor"):
        networks.append((ours.target_actor, (stock._old_encoder.actor_encoder, stock._old_pi)))
    for network, parts in networks:
        theirs = [layer for part in parts for layer in part.modules() if isinstance(layer, nn.Linear)]
        yield from zip(theirs, getattr(network, "network", network).stack.layers(), strict=True)


def paired_spreads(stock: Any, ours: Any) -> Iterator[tuple[nn.Parameter, nn.Parameter]]:
    """Logarithms of standard deviations: theirs [A] and ours [N, A]."""
    yield stock.pi.log_std, ours.actor.spread.log_std
    if hasattr(ours, "target_actor"):
        yield stock._old_pi.log_std, ours.target_actor.spread.log_std


def of_agent(layer: Any, agent: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias as nn.Linear holds them."""
    weight, bias = layer
    return weight[agent].detach().T, bias[agent, 0].detach()


def own_episodes(played: Rollout, agent: int) -> list[SingleAgentEpisode]:
    """What agent `agent` alone saw, did and earned in each episode, as RLlib's own runners give it."""

    def mine(values: Any, e: int) -> InfiniteLookbackBuffer:
        return InfiniteLookbackBuffer(values[e, :, agent].astype(np.float32))

    return [
        SingleAgentEpisode(
            observations=mine(played.observations, e),
            actions=mine(played.actions, e),
            rewards=mine(played.agent_rewards, e),
            infos=[{}] * (played.length + 1),
            terminated=bool(played.terminated[e]),
            truncated=not played.terminated[e],
            t_started=0,
            len_lookback_buffer=0,
            extra_model_outputs={
                Columns.ACTION_LOGP: mine(played.action_logp, e),
                Columns.ACTION_DIST_INPUTS: mine(played.action_dist_inputs, e),
            },
        )
        for e in range(len(played.terminated))
    ]


def played_vtrace(**columns: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """RLlib's V-trace [T + 1, E], its advantages standardised over the steps that were played."""
    targets, advantages = vtrace_torch(**columns)
    counted = advantages[:-1]
    return targets, (advantages - counted.mean()) / counted.std(correction=0)


@pytest.mark.parametrize(("mode", "agents", "grad_clip"), [("dtde", AGENTS, 0.5), ("ctce", 1, 0.5), ("ctde", 1, 1e6)])
@pytest.mark.parametrize("algorithm", STOCKS)
def test_stacked_update_equals_stock_learners(
    algorithm: RLAlgorithm, mode: str, agents: int, grad_clip: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DTDE at any N, and every mode at N = 1, where all are single-agent RLlib, on the same data and minibatches.

    (CTDE clips its actors and its critic apart, so it is compared without clipping.)
    """
    monkeypatch.setattr(appo_torch_learner, "vtrace_torch", played_vtrace)
    task, stock = Targets(agents, max_steps=STEPS), STOCKS[algorithm]
    settings = replace(stock.settings, grad_clip=grad_clip)
    with (
        TargetTrainer(task, algorithm, mode, 1, episodes_per_iteration=EPISODES, hyperparameters=settings) as trainer,
        quiet_rllib(),
        without_object_store(),
    ):
        learner = trainer._algorithm.learner_group._learner
        ours, config = learner.population, trainer._algorithm.config
        singles = [stock.learner(trainer) for _ in range(agents)]
        pairs = [list(paired_layers(single.module[DEFAULT_MODULE_ID], ours)) for single in singles]
        before = [of_agent(layer, 0)[0].clone() for _, layer in pairs[0]]
        for agent in range(agents):
            for theirs, mine in pairs[agent]:
                weight, bias = of_agent(mine, agent)
                theirs.weight.data.copy_(weight)
                theirs.bias.data.copy_(bias)
            for theirs, mine in paired_spreads(singles[agent].module[DEFAULT_MODULE_ID], ours):
                theirs.data.copy_(mine.data[agent])
        first_spread = ours.actor.spread.log_std.detach().clone()
        coefficients = []
        for version in range(3):  # iterations enough for KL coefficients, target networks and Adam's moments to matter
            episodes = trainer._algorithm.env_runner.sample()
            own = [own_episodes(episodes[0], agent) for agent in range(agents)]
            learner.update(
                episodes=episodes,
                timesteps={},
                num_epochs=config.num_epochs,
                minibatch_size=config.minibatch_size,
                shuffle_batch_per_epoch=config.shuffle_batch_per_epoch,
            )
            for single, played in zip(singles, own, strict=True):
                with seeded(42, Stream.LEARN, version, 0):
                    stock.update(single, played, version + 1, trainer)
            coefficients.append(learner.kl_coefficients.tolist())
            assert coefficients[-1] == pytest.approx(
                [single.curr_kl_coeffs_per_module[DEFAULT_MODULE_ID].item() for single in singles]
            )
            trainer._algorithm.env_runner.set_state(
                {"rl_module": learner.module.get_state(inference_only=True), "weights_seq_no": learner._weights_seq_no}
            )
        for single in singles:
            single.shutdown()
    assert len({tuple(c) for c in coefficients}) > 1, "the KL coefficients never moved: the test shows too little"
    moved = [float((of_agent(mine, 0)[0] - b).abs().max()) for (_, mine), b in zip(pairs[0], before, strict=True)]
    assert min(moved) > 1e-3
    assert float((ours.actor.spread.log_std.detach() - first_spread).abs().max()) > 1e-3
    for agent, single in enumerate(singles):
        for theirs, mine in paired_spreads(single.module[DEFAULT_MODULE_ID], ours):
            torch.testing.assert_close(theirs, mine[agent], atol=1e-5, rtol=0)
    difference = max(
        float((a - b).abs().max())
        for agent in range(agents)
        for theirs, mine in pairs[agent]
        for a, b in zip((theirs.weight.detach(), theirs.bias.detach()), of_agent(mine, agent), strict=True)
    )
    assert difference <= 1e-5, (difference, moved)
