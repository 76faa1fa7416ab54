"""The population as one native gymnasium VectorEnv: E communities stepped by one call, in lockstep."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from market.community.scenario import Scenario
from market.constants import AGENT_REWARDS
from market.evaluation.kpis import evaluate
from market.evaluation.policies import check_actions
from market.records.export import export
from market.records.ledger import Ledger
from market.simulation.dynamics import ACTION_SIZE, initial, observe, step, team_reward
from market.simulation.history import History, State, StepRecord
from market.simulation.observation import LIMIT, observation_size
from market.support import check
from market.support.allocator import keep_freed_memory
from market.support.arrays import Floats

EPISODES_OF_A_SEED = 2**20
"""Episodes until one seed reaches those of the next."""
MAX_SEED = 2**43 - 1


class MarketVectorEnv(VectorEnv[NDArray[np.float32], NDArray[np.float32], NDArray[Any]]):
    """E communities of N agents. Observations [E, N, size] and actions [E, N, 4] are float32, actions in [-1, 1].

    scenario, study: as `Scenario.of` takes them.
    num_envs: E.

    The reward of a community is its saving [E], see `market.simulation.dynamics.team_reward`; `info["agent_rewards"]`
    holds each agent's own [E, N].
    All episodes last max_steps and end together, `terminated`: the time of day is observed, so the task has a finite
    horizon and nothing to bootstrap. The call after that starts the next episodes and ignores its action (NEXT_STEP).
    reset(seed=s) starts at the episode s x 2^20, for any E; reset() goes on with the next numbers, and the first one
    draws a seed, as everywhere in gymnasium.
    """

    metadata = {"autoreset_mode": AutoresetMode.NEXT_STEP, "render_modes": []}  # noqa: RUF012 (gymnasium's own name)

    def __init__(self, scenario: Scenario | Mapping[str, Any] | None = None, num_envs: int = 1, **study: Any) -> None:
        keep_freed_memory()
        self.scenario = Scenario.of(scenario, **study)
        self.num_envs = check.whole("num_envs", num_envs)
        self.params = self.scenario.params
        agents = self.params.num_agents
        size = observation_size(self.params)
        self.single_observation_space = gym.spaces.Box(-LIMIT, LIMIT, (agents, size), np.float32)
        self.single_action_space = gym.spaces.Box(-1.0, 1.0, (agents, ACTION_SIZE), np.float32)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self._first_episode: int | None = None
        self._state: State | None = None
        self._start: State | None = None
        self._records: list[StepRecord] = []

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[NDArray[np.float32], dict[str, Any]]:
        """The first observations of new episodes."""
        if seed is None and self._first_episode is None:
            seed = int(self.np_random.integers(2**31))
        if seed is not None:
            seed = check.whole("seed", seed, 0, MAX_SEED)
            super().reset(seed=seed)
            self._first_episode = seed * EPISODES_OF_A_SEED
        assert self._first_episode is not None
        episode = self._first_episode + np.arange(self.num_envs, dtype=np.int64)
        self._first_episode += self.num_envs
        self._state = self._start = initial(self.params, episode)
        self._records = []
        return observe(self.params, self._state).astype(np.float32), {}

    def step(
        self, actions: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], Floats, NDArray[np.bool_], NDArray[np.bool_], dict[str, Any]]:
        """One step of all communities, or their next episodes when they are over."""
        if self._state is None:
            raise ValueError("step: got a call before reset; allowed: after reset()")
        if self._state.step == self.params.max_steps:
            observation, _ = self.reset()
            team, own = np.zeros(self.num_envs), np.zeros((self.num_envs, self.params.num_agents))
        else:
            self._state, own, record = step(self.params, self._state, check_actions(self._state, actions))
            team = team_reward(self.params, record)
            self._records.append(record)
            observation = observe(self.params, self._state).astype(np.float32)
        over = np.full(self.num_envs, self._state.step == self.params.max_steps)
        return observation, team, over, np.zeros_like(over), {AGENT_REWARDS: own}

    @property
    def market(self) -> MarketVectorEnv:
        """Itself: every adapter names its vector environment `market`."""
        return self

    @property
    def start(self) -> State:
        """How the present episodes began: their tariffs and numbers."""
        if self._start is None:
            raise ValueError("start: got a call before reset; allowed: after reset()")
        return self._start

    def history(self) -> History:
        """All steps of the present episodes so far, [T, E, ...]."""
        if not self._records:
            raise ValueError("history: got a call before the first step; allowed: after step()")
        return History.of(self._records)

    def ledger(self, episode: int = 0) -> Ledger:
        """The trades of one of the present episodes so far, a block per step; made anew by each call.

        episode: its place among them, 0..E-1.
        """
        place = check.whole("episode", episode, 0, self.num_envs - 1)
        ledger = Ledger(self.params.config.blockchain_difficulty)
        for number, record in enumerate(self._records):
            ledger.append(record.trades(place), number)
        return ledger

    def export(self, folder: str | Path) -> dict[str, str]:
        """Write every trade and state of the present episodes so far; see `market.records.export.export`."""
        return export(folder, self.scenario, self.start.episode, self._records)

    def kpis(self) -> dict[str, Floats]:
        """Every KPI of the present episodes so far, name -> [E]."""
        return evaluate(self.history())
