"""One community: as a plain gymnasium Env, and as dictionaries by agent id, which PettingZoo and RLlib share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from market.community.scenario import Scenario
from market.constants import AGENT_REWARDS
from market.envs.vector import MarketVectorEnv
from market.simulation.dynamics import ACTION_SIZE
from market.simulation.observation import LIMIT
from market.support import check

_MASKED = {np.ma.MaskedArray, type(np.ma.masked)}
Observations = dict[str, NDArray[np.float32]]


class MarketEnv(gym.Env[NDArray[np.float32], NDArray[np.float32]]):
    """One community of N agents. Observations [N, size] and actions [N, 4] are float32, actions in [-1, 1].

    scenario, study: as `Scenario.of` takes them.

    The reward is the team's; `info["agent_rewards"]` holds each agent's own [N]. Episodes last max_steps and
    end `terminated`. reset(seed=s) starts episode 0 of the seed; reset() the next one. `market` is the vector
    environment of this one community, with its KPIs and ledger.
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
        observation, _ = self.market.reset(seed=seed)
        super().reset(seed=None if seed is None else int(seed))
        self._over = False
        return observation[0], {}

    def step(self, action: NDArray[np.float32]) -> tuple[NDArray[np.float32], float, bool, bool, dict[str, Any]]:
        """One step of the community."""
        if self._over:
            raise ValueError("step: got a call before reset or after the last step; allowed: after reset()")
        checked = check.array("action", action, (self.market.params.num_agents, ACTION_SIZE))
        observation, reward, terminated, _, info = self.market.step(checked[None])
        self._over = bool(terminated[0])
        return observation[0], float(reward[0]), self._over, False, {AGENT_REWARDS: info[AGENT_REWARDS][0]}


class Community:
    """Episodes of one community, everything by agent id, in the order of the scenario's agents.

    scenario, study: as `Scenario.of` takes them.
    """

    def __init__(self, scenario: Scenario | Mapping[str, Any] | None = None, **study: Any) -> None:
        self.env = MarketEnv(scenario, **study)
        self.market = self.env.market
        self.ids = [agent.id for agent in self.market.scenario.agents]
        size = self.market.single_observation_space.shape[1]  # type: ignore[index]
        self.observation_spaces: dict[str, gym.Space[Any]] = {
            agent: gym.spaces.Box(-LIMIT, LIMIT, (size,), np.float32) for agent in self.ids
        }
        self.action_spaces: dict[str, gym.Space[Any]] = {
            agent: gym.spaces.Box(-1.0, 1.0, (ACTION_SIZE,), np.float32) for agent in self.ids
        }

    def reset(self, seed: int | None = None) -> Observations:
        """The first observations [size] of a new episode."""
        return dict(zip(self.ids, self.env.reset(seed=seed)[0], strict=True))

    def step(self, actions: Mapping[str, Any]) -> tuple[Observations, dict[str, float], bool]:
        """Observations [size] and own rewards after all agents' actions [4] in [-1, 1], and whether all is over."""
        check.instance("actions", actions, Mapping, allowed="a dictionary with the action of every agent")
        if actions.keys() != self.action_spaces.keys():
            for agent in actions:
                if agent not in self.action_spaces:
                    hint = check.nearest(agent, self.ids)
                    raise ValueError(
                        f"actions: got one of {check.shown(agent)}; allowed: agents of this environment{hint}"
                    )
            missing = next(agent for agent in self.ids if agent not in actions)
            raise ValueError(f"actions: got none of {missing!r}; allowed: one [{ACTION_SIZE}] of every agent")
        stacked = [actions[agent] for agent in self.ids]
        try:
            masked = not _MASKED.isdisjoint(map(type, stacked))  # numpy would stack them without their masks
            action = check.array("actions", None if masked else stacked, (len(self.ids), ACTION_SIZE))
        except ValueError:
            for agent, own in zip(self.ids, stacked, strict=True):
                check.array(f"actions of {agent!r}", own, (ACTION_SIZE,))
            raise
        observation, _, over, _, info = self.env.step(action)
        rewards = dict(zip(self.ids, info[AGENT_REWARDS].tolist(), strict=True))
        return dict(zip(self.ids, observation, strict=True)), rewards, over
