"""A stacked update is the update of separate RLlib learners, and the parts it is made of are what they claim to be."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.env.utils.infinite_lookback_buffer import InfiniteLookbackBuffer
from torch import nn

from market.rl import PPOHyperparameters
from market.rl.connectors import AGENT_REWARDS
from market.rl.networks import StackedLinear
from market.rl.scopes import Stream, quiet_rllib, seeded
from market.rl.session import without_object_store
from rl_support import Targets, TargetTrainer

AGENTS = 3
SETTINGS = PPOHyperparameters(
    lr=3e-3,
    gamma=0.9,
    lambda_=0.8,
    entropy_coeff=0.01,
    kl_coeff=0.2,
    kl_target=0.003,
    minibatch=24,
    epochs=10,
    hidden=(32, 16),
)


def stock_learner(task: Targets, trainer: TargetTrainer) -> Any:
    """RLlib's own PPO learner of one agent, with its own pipeline, model, Adam and clipping."""
    config = PPOConfig()
    config.environment(
        observation_space=gym.spaces.Box(-10.0, 10.0, (task.num_observations,), np.float32),
        action_space=gym.spaces.Box(-1.0, 1.0, (4,), np.float32),
    )
    config.rl_module(
        model_config={
            "fcnet_hiddens": list(SETTINGS.hidden),
            "head_fcnet_hiddens": [],
            "fcnet_activation": "tanh",
            "vf_share_layers": False,
        }
    )
    ours = trainer._algorithm.config
    names = (
        "lr gamma lambda_ clip_param grad_clip use_kl_loss kl_coeff kl_target entropy_coeff vf_loss_coeff num_epochs"
    )
    config.training(**{name: getattr(ours, name) for name in names.split()}, vf_clip_param=1e9)
    return config.build_learner(spaces={DEFAULT_MODULE_ID: (config.observation_space, config.action_space)})


def paired_layers(stock: Any, ours: Any) -> Iterator[tuple[nn.Linear, Any]]:
    encoder = stock.encoder
    for network, parts in (
        (ours.actor, (encoder.actor_encoder, stock.pi)),
        (ours.critic, (encoder.critic_encoder, stock.vf)),
    ):
        theirs = [layer for part in parts for layer in part.modules() if isinstance(layer, nn.Linear)]
        mine = [layer for layer in network.layers if isinstance(layer, StackedLinear | nn.Linear)]
        yield from zip(theirs, mine, strict=True)


def of_agent(layer: Any, agent: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Weight and bias as nn.Linear holds them."""
    if isinstance(layer, StackedLinear):
        return layer.weight[agent].detach().T, layer.bias[agent, 0].detach()
    return layer.weight.detach(), layer.bias.detach()


def own_episode(episode: SingleAgentEpisode, agent: int) -> SingleAgentEpisode:
    """What agent `agent` alone saw, did and earned."""

    def mine(values: Any) -> InfiniteLookbackBuffer:
        return InfiniteLookbackBuffer(np.asarray(values)[:, agent].copy())

    logp = episode.get_extra_model_outputs(Columns.ACTION_LOGP)
    logits = episode.get_extra_model_outputs(Columns.ACTION_DIST_INPUTS)
    return SingleAgentEpisode(
        observations=mine(episode.get_observations()),
        actions=mine(episode.get_actions()),
        rewards=mine(episode.get_extra_model_outputs(AGENT_REWARDS)),
        infos=[{}] * (len(episode) + 1),
        terminated=episode.is_terminated,
        truncated=episode.is_truncated,
        t_started=0,
        len_lookback_buffer=0,
        extra_model_outputs={
            Columns.ACTION_LOGP: mine(logp if logp.ndim == 2 else logp[:, None]),
            Columns.ACTION_DIST_INPUTS: mine(logits),
        },
    )


@pytest.mark.parametrize(("mode", "agents", "grad_clip"), [("dtde", AGENTS, 0.5), ("ctce", 1, 0.5), ("ctde", 1, 1e6)])
def test_stacked_update_equals_stock_learners(mode: str, agents: int, grad_clip: float) -> None:
    """DTDE at any N, and every mode at N = 1, where all are single-agent PPO, on the same data and minibatches.

    (CTDE clips its actors and its critic apart, so it is compared without clipping.)
    """
    task = Targets(agents, max_steps=8)
    settings = replace(SETTINGS, grad_clip=grad_clip)
    with TargetTrainer(task, "ppo", mode, 1, episodes_per_iteration=6, hyperparameters=settings) as trainer:
        learner = trainer._algorithm.learner_group._learner
        ours = learner.population
        with quiet_rllib(), without_object_store():
            stocks = [stock_learner(task, trainer) for _ in range(agents)]
        before = [
            of_agent(layer, 0)[0].clone() for _, layer in paired_layers(stocks[0].module[DEFAULT_MODULE_ID], ours)
        ]
        for agent, stock in enumerate(stocks):
            for theirs, mine in paired_layers(stock.module[DEFAULT_MODULE_ID], ours):
                weight, bias = of_agent(mine, agent)
                theirs.weight.data.copy_(weight)
                theirs.bias.data.copy_(bias)
        coefficients = []
        for _ in range(3):  # three iterations, so that adapted KL coefficients and Adam's moments matter
            episodes = trainer._algorithm.env_runner.sample()
            own = [[own_episode(episode, agent) for episode in episodes] for agent in range(agents)]
            plan = {
                "num_epochs": SETTINGS.epochs,
                "minibatch_size": SETTINGS.minibatch,
                "shuffle_batch_per_epoch": True,
            }
            version = learner._weights_seq_no
            learner.update(episodes=episodes, timesteps={}, **plan)
            for agent, stock in enumerate(stocks):
                with seeded(42, Stream.LEARN, version, 0):
                    stock.update(episodes=own[agent], timesteps={}, **plan)
            coefficients.append(learner.curr_kl_coeffs_per_module[DEFAULT_MODULE_ID].tolist())
            assert coefficients[-1] == pytest.approx(
                [s.curr_kl_coeffs_per_module[DEFAULT_MODULE_ID].item() for s in stocks]
            )
            trainer._algorithm.env_runner.set_state(
                {"rl_module": learner.module.get_state(inference_only=True), "weights_seq_no": learner._weights_seq_no}
            )
        assert len({tuple(c) for c in coefficients}) > 1, "the KL coefficients never moved: the test shows too little"
        moved = difference = 0.0
        for agent, stock in enumerate(stocks):
            pairs = list(paired_layers(stock.module[DEFAULT_MODULE_ID], ours))
            for k, (theirs, mine) in enumerate(pairs):
                weight, bias = of_agent(mine, agent)
                for a, b in ((theirs.weight.detach(), weight), (theirs.bias.detach(), bias)):
                    difference = max(difference, float((a - b).abs().max()))
                if agent == 0:
                    moved = max(moved, float((weight - before[k]).abs().max()))
        assert moved > 1e-2
        assert difference <= 1e-5, (difference, moved)
