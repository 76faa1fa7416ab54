"""Playing a trained population: actions from observations. It needs numpy and torch, and no RLlib.

Shapes: E episodes, T steps, N agents, obs and act numbers per agent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from market.rl.networks.stacked import Actor, StackedMLP
from market.support.phases import phase

FloatArray = NDArray[np.float32]
Policy = Callable[[FloatArray], FloatArray]

AGENT_REWARDS = "agent_rewards"
"""Where a step's info holds the own rewards [E, N], beside the team rewards [E] that the step returns."""


def population_policy(actor: Actor) -> Policy:
    """Observations [E, N, obs] -> the most likely actions [E, N, act]."""

    @torch.no_grad()
    def policy(observation: FloatArray) -> FloatArray:
        return actor.distribution.from_logits(actor.logits(observation)).most_likely().cpu().numpy()

    return policy


def agent_policy(actor: Actor, agent: int) -> Policy:
    """One agent's own observations [E, obs] -> its most likely actions [E, act]: decentralised execution.

    The function holds copies of this agent's weights and nothing of the others.
    """
    means: Any = getattr(actor.network, "network", actor.network)
    if not isinstance(means, StackedMLP):
        raise ValueError(f"agent_policy: got agent {agent} of a joint actor; allowed: modes with an actor per agent")
    if not 0 <= agent < means.owners:
        raise ValueError(f"agent: got {agent!r}; allowed: 0 to {means.owners - 1}")
    network: Any = actor.network
    own = population_policy(Actor(network.agent(agent), actor.distribution))
    return lambda observation: own(observation[:, None])[:, 0]


@dataclass(frozen=True)
class Rollout:
    """E whole episodes of T steps.

    observations: [E, T + 1, N, obs].
    actions: as drawn, before they are clipped to the action space, [E, T, N, act].
    rewards, agent_rewards: of the team [E, T], and each agent's own [E, T, N].
    terminated: whether an episode ended for good, [E].
    logp: log-probabilities of the actions, [E, T, N].
    logits: parameters of the actions' distributions, [E, T, N, 2 act].
    """

    observations: FloatArray
    actions: FloatArray
    rewards: NDArray[np.float64]
    agent_rewards: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    logp: FloatArray
    logits: FloatArray


@torch.no_grad()
def rollout(env: Any, actor: Actor, *, seed: int, explore: bool) -> Rollout:
    """Play E parallel episodes to their common end; Python's work per step does not grow with E or N.

    env: a `MarketVectorEnv` of E episodes, or what has its `reset`, `step`, `kpis`, `close` and single spaces.
    seed: of the episodes.
    explore: draw actions, instead of playing the most likely ones.
    """
    low, high = env.single_action_space.low, env.single_action_space.high
    with phase("environment"):
        observation, _ = env.reset(seed=seed)
    observations, steps = [observation], []
    done = np.zeros(env.num_envs, bool)
    while not done.any():
        with phase("policy"):
            logits = actor.logits(observation)
            distribution = actor.distribution.from_logits(logits)
            if explore:
                drawn, logp = distribution.sample()
            else:
                drawn = distribution.most_likely()
                logp = distribution.logp(drawn)
            action = drawn.cpu().numpy()
        with phase("environment"):
            observation, reward, terminated, truncated, info = env.step(np.clip(action, low, high))
        observations.append(observation)
        steps.append((action, reward, info[AGENT_REWARDS], logp.cpu().numpy(), logits.cpu().numpy()))
        done = terminated | truncated
    if not done.all():
        raise ValueError(f"env: got {int(done.sum())} of {len(done)} episodes ended; allowed: all end at the same step")
    with phase("batch"):
        actions, rewards, agent_rewards, logps, all_logits = zip(*steps, strict=True)
        return Rollout(
            observations=np.stack(observations, 1, dtype=np.float32),
            actions=np.stack(actions, 1),
            rewards=np.stack(rewards, 1, dtype=np.float64),
            agent_rewards=np.stack(agent_rewards, 1, dtype=np.float64),
            terminated=np.array(terminated, bool),
            logp=np.stack(logps, 1),
            logits=np.stack(all_logits, 1),
        )
