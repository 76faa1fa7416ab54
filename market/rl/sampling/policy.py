"""Running a trained population: actions from observations, without RLlib around it.

Shapes: E episodes, N agents, obs and act numbers per agent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from ray.rllib.core.columns import Columns
from torch.nn import functional

from market.rl.learning.connectors import AGENT_REWARDS
from market.rl.networks.modules import PopulationActor
from market.rl.networks.stacked import StackedLinear
from market.support.phases import phase

FloatArray = NDArray[np.float32]
Policy = Callable[[FloatArray], FloatArray]


class PopulationEnv(Protocol):
    """What training needs of an environment: E episodes in lockstep, ended together, as `MarketVectorEnv` has them.

    step's info holds the own rewards [E, N] under "agent_rewards". kpis: name -> [E], of the last episodes.
    """

    num_envs: int
    single_observation_space: Any
    single_action_space: Any

    def reset(self, *, seed: int | None = None) -> tuple[Any, dict[str, Any]]: ...
    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]: ...
    def kpis(self) -> dict[str, NDArray[np.float64]]: ...
    def close(self) -> None: ...


def population_policy(module: PopulationActor) -> Policy:
    """Observations [E, N, obs] -> the most likely actions [E, N, act]."""

    @torch.no_grad()
    def policy(observation: FloatArray) -> FloatArray:
        logits = _logits(module, observation)
        actions: FloatArray = module.action_dist_cls.from_logits(logits).most_likely().cpu().numpy()
        return actions

    return policy


def agent_policy(module: PopulationActor, agent: int) -> Policy:
    """One agent's own observations [E, obs] -> its most likely actions [E, act]: decentralised execution.

    The function holds copies of this agent's weights and nothing of the others.
    """
    if module.mode.joint_actor:
        raise ValueError(f"agent_policy: got agent {agent} of a joint actor; allowed: modes with an actor per agent")
    count = module.observation_space.shape[0]
    if not 0 <= agent < count:
        raise ValueError(f"agent: got {agent!r}; allowed: 0 to {count - 1}")
    steps: list[Callable[[torch.Tensor], torch.Tensor]] = []
    for layer in module.actor.layers:
        if isinstance(layer, StackedLinear):
            weight, bias = layer.weight[agent].detach().T.clone(), layer.bias[agent, 0].detach().clone()
            steps.append(partial(functional.linear, weight=weight, bias=bias))
        else:
            steps.append(layer)

    @torch.no_grad()
    def policy(observation: FloatArray) -> FloatArray:
        x = torch.as_tensor(observation)
        for step in steps:
            x = step(x)
        actions: FloatArray = module.action_dist_cls.from_logits(x).most_likely().numpy()
        return actions

    return policy


@dataclass(frozen=True)
class Rollout:
    """E whole episodes of T steps.

    observations [E, T + 1, N, obs], actions [E, T, N, act] as drawn (before clipping to the action space), team rewards
    [E, T], own rewards [E, T, N], terminated [E]; explored episodes also have log-probabilities [E, T] or [E, T, N] and
    logits [E, T, N, 2 act].
    """

    observations: FloatArray
    actions: FloatArray
    rewards: NDArray[np.float64]
    agent_rewards: NDArray[np.float64]
    terminated: NDArray[np.bool_]
    logp: FloatArray | None
    logits: FloatArray | None


@torch.no_grad()
def rollout(env: PopulationEnv, module: PopulationActor, *, seed: int, explore: bool) -> Rollout:
    """Play the E parallel episodes of `env` to their common end; Python's work per step does not grow with E or N."""
    low, high = env.single_action_space.low, env.single_action_space.high
    with phase("environment"):
        observation, _ = env.reset(seed=seed)
    observations, actions, rewards, agent_rewards, logps, all_logits = [observation], [], [], [], [], []
    done = np.zeros(env.num_envs, bool)
    while not done.any():
        with phase("policy"):
            logits = _logits(module, observation)
            distribution = module.action_dist_cls.from_logits(logits)
            if explore:
                drawn, logp = distribution.sample(return_logp=True)
                logps.append(logp.cpu().numpy())
                all_logits.append(logits.cpu().numpy())
            else:
                drawn = distribution.most_likely()
            action = drawn.cpu().numpy()
        with phase("environment"):
            observation, reward, terminated, truncated, info = env.step(np.clip(action, low, high))
        observations.append(observation)
        actions.append(action)
        rewards.append(reward)
        agent_rewards.append(info[AGENT_REWARDS])
        done = terminated | truncated
    if not done.all():
        raise ValueError(f"env: got {int(done.sum())} of {len(done)} episodes ended; allowed: all end at the same step")
    with phase("batch"):
        return Rollout(
            observations=np.stack(observations, 1, dtype=np.float32),
            actions=np.stack(actions, 1),
            rewards=np.stack(rewards, 1, dtype=np.float64),
            agent_rewards=np.stack(agent_rewards, 1, dtype=np.float64),
            terminated=np.array(terminated, bool),
            logp=np.stack(logps, 1) if explore else None,
            logits=np.stack(all_logits, 1) if explore else None,
        )


def _logits(module: PopulationActor, observation: FloatArray) -> torch.Tensor:
    """Observations [E, N, obs] -> the action distributions' parameters [E, N, 2 act], on the module's device."""
    device = next(module.parameters()).device
    batch = {Columns.OBS: torch.as_tensor(observation, dtype=torch.float32, device=device)}
    logits: torch.Tensor = module.forward_inference(batch)[Columns.ACTION_DIST_INPUTS]
    return logits
