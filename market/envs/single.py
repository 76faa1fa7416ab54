"""One community as a plain gymnasium Env: the joint action of all agents in, their mean reward out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from market.community.scenario import Scenario
from market.envs.vector import AGENT_REWARDS, MarketVectorEnv


class MarketEnv(gym.Env[NDArray[np.float32], NDArray[np.float32]]):
    """One community of N agents. Observations [N, size] and actions [N, 4] are float32, actions in [-1, 1].

    The reward is the mean over the agents; `info["agent_rewards"]` holds each agent's [N]. Episodes last max_steps and
    end `terminated`. scenario, study: as `Scenario.of` takes them. reset(seed=s) starts episode 0 of the seed; reset()
    the one after the last. `market` is the vector environment of this one community, with its KPIs and ledger.
    """

    metadata = {"render_modes": []}  # noqa: RUF012 (gymnasium's own name)

    def __init__(self, scenario: Scenario | Mapping[str, Any] | None = None, **study: Any) -> None:
        self.market = MarketVectorEnv(scenario, num_envs=1, **study)
        self.observation_space = self.market.single_observation_space
        self.action_space = self.market.single_action_space
        self._over = True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """The first observation of a new episode."""
        super().reset(seed=seed)
        observation, _ = self.market.reset(seed=seed)
        self._over = False
        return observation[0], {}

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """One step of the community."""
        if self._over:
            raise ValueError("step: got a call before reset or after the last step; allowed: after reset()")
        observation, reward, terminated, _, info = self.market.step(np.asarray(action)[None])
        self._over = bool(terminated[0])
        return observation[0], float(reward[0]), self._over, False, {AGENT_REWARDS: info[AGENT_REWARDS][0]}
