"""The population as PettingZoo's ParallelEnv; needs the extra `pettingzoo`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray
from pettingzoo import ParallelEnv

from market.community.scenario import Scenario
from market.envs.single import Community, Observations


class MarketParallelEnv(ParallelEnv[str, NDArray[np.float32], NDArray[np.float32]]):
    """One community: observations [size] and actions [4] in [-1, 1], float32, own rewards, by agent id.

    scenario, study: as `Scenario.of` takes them.

    All agents act in every step and stop together, `terminated`, after max_steps. reset(seed=s) starts episode 0 of the
    seed; reset() the next one.
    """

    metadata = {"name": "LocalEnergyMarket-v0", "render_modes": [], "is_parallelizable": True}  # noqa: RUF012

    def __init__(self, scenario: Scenario | Mapping[str, Any] | None = None, **study: Any) -> None:
        self.community = Community(scenario, **study)
        self.market = self.community.market
        self.possible_agents = list(self.community.ids)
        self.agents: list[str] = []
        self.render_mode = None

    def observation_space(self, agent: str) -> gym.Space[Any]:
        """What `agent` sees; always the same object."""
        return self.community.observation_spaces[agent]

    def action_space(self, agent: str) -> gym.Space[Any]:
        """What `agent` may do; always the same object."""
        return self.community.action_spaces[agent]

    def reset(
        self, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, dict[str, Any]]]:
        """The first observations of a new episode."""
        observations = self.community.reset(seed)
        self.agents = list(self.possible_agents)
        return observations, {agent: {} for agent in self.agents}

    def step(
        self, actions: dict[str, NDArray[np.float32]]
    ) -> tuple[Observations, dict[str, float], dict[str, bool], dict[str, bool], dict[str, dict[str, Any]]]:
        """Observations and own rewards after the actions of all agents."""
        observations, rewards, over = self.community.step(actions)
        ends, cuts = dict.fromkeys(rewards, over), dict.fromkeys(rewards, False)
        if over:
            self.agents = []
        return observations, rewards, ends, cuts, {agent: {} for agent in rewards}
