"""The population as RLlib's MultiAgentEnv, one policy or one per agent: RLlib's usual way, and slow for many agents.

Training at scale is `market.rl`, where the whole population is one environment and one module.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ray.rllib.env.multi_agent_env import MultiAgentEnv

from market.community.scenario import Scenario
from market.envs.single import Community, Observations


class MarketMultiAgentEnv(MultiAgentEnv):
    """One community: observations [size] and actions [4] in [-1, 1], float32, own rewards, by agent id.

    config: a Scenario, or the dictionary that `Scenario.of` reads, as in
        `PPOConfig().environment(MarketMultiAgentEnv, env_config={"num_agents": 5})`.

    Episodes last max_steps, `terminated` for all agents at once. reset(seed=s) starts episode 0 of the seed; reset()
    the next one.
    """

    def __init__(self, config: Scenario | Mapping[str, Any]) -> None:
        super().__init__()
        self.community = Community(config)
        self.market = self.community.market
        self.agents = self.possible_agents = self.community.ids
        self.observation_spaces = self.community.observation_spaces
        self.action_spaces = self.community.action_spaces

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Observations, dict[str, Any]]:
        """The first observations of a new episode."""
        return self.community.reset(seed), {}

    def step(
        self, action_dict: Mapping[str, Any]
    ) -> tuple[Observations, dict[str, float], dict[str, bool], dict[str, bool], dict[str, Any]]:
        """Observations and own rewards after the actions of all agents; `terminated["__all__"]` ends the episode."""
        observations, rewards, over = self.community.step(action_dict)
        return observations, rewards, {"__all__": over}, {"__all__": False}, {}
