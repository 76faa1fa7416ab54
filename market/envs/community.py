"""One community for interfaces that know agents by name: dictionaries by agent id around the vector environment.

What PettingZoo and RLlib share; it imports neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from market.community.scenario import Scenario
from market.config import nearest
from market.envs.vector import AGENT_REWARDS, MarketVectorEnv
from market.simulation.dynamics import ACTION_SIZE
from market.simulation.observation import LIMIT

Observations = dict[str, NDArray[np.float32]]


class Community:
    """Episodes of one community, everything by agent id, in the order of the scenario's agents.

    reset(seed=s) starts episode 0 of the seed; reset() the one after the last. All agents take part in every
    step of an episode.
    """

    def __init__(self, scenario: Scenario | Mapping[str, Any] | None = None, **study: Any) -> None:
        self.market = MarketVectorEnv(scenario, num_envs=1, **study)
        self.ids = [agent.id for agent in self.market.scenario.agents]
        _, size = self.market.single_observation_space.shape  # type: ignore[misc]
        self.observation_spaces: dict[str, gym.Space[Any]] = {
            agent: gym.spaces.Box(-LIMIT, LIMIT, (size,), np.float32) for agent in self.ids
        }
        self.action_spaces: dict[str, gym.Space[Any]] = {
            agent: gym.spaces.Box(-1.0, 1.0, (ACTION_SIZE,), np.float32) for agent in self.ids
        }
        self.over = True
        """Whether the episode has ended, or none has begun."""

    def reset(self, seed: int | None = None) -> Observations:
        """The first observations [size] of a new episode."""
        observation, _ = self.market.reset(seed=seed)
        self.over = False
        return dict(zip(self.ids, observation[0], strict=True))

    def step(self, actions: Mapping[str, Any]) -> tuple[Observations, dict[str, float]]:
        """Observations [size] and own rewards after all agents' actions [4] in [-1, 1]."""
        if self.over:
            raise ValueError("step: got a call before reset or after the last step; allowed: after reset()")
        if actions.keys() != self.action_spaces.keys():
            self._refuse(actions)
        stacked = np.array([[actions[agent] for agent in self.ids]], np.float64)
        observation, _, terminated, _, info = self.market.step(stacked)  # type: ignore[arg-type]
        self.over = bool(terminated[0])
        rewards = dict(zip(self.ids, info[AGENT_REWARDS][0].tolist(), strict=True))
        return dict(zip(self.ids, observation[0], strict=True)), rewards

    def _refuse(self, actions: Mapping[str, Any]) -> None:
        for agent in actions:
            if agent not in self.action_spaces:
                hint = nearest(str(agent), self.ids)
                raise ValueError(f"actions: got one of {agent!r}; allowed: the agents of this environment{hint}")
        missing = next(agent for agent in self.ids if agent not in actions)
        raise ValueError(f"actions: got none of {missing!r}; allowed: one [{ACTION_SIZE}] of every agent")
