"""The contract of every market environment as one call: interface, conservation, the same seed the same episode.

It plays episodes with random actions and compares each step with the pure simulation, to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from market.constants import AGENT_REWARDS
from market.envs.vector import EPISODES_OF_A_SEED, MarketVectorEnv
from market.records.audit import violations
from market.simulation.dynamics import ACTION_SIZE, initial, observe, step, team_reward
from market.support.arrays import Floats


def check_market_env(env: Any, seed: int = 7) -> None:
    """AssertionError saying what is wrong with `env` and how to fix it; None when all is well.

    env: a MarketVectorEnv, MarketEnv, MarketParallelEnv or MarketMultiAgentEnv, one derived from them, or a wrapper of
        one that changes neither observations nor rewards. Its episodes are played, so reset it afterwards.
    seed: of the episodes and the actions.
    """
    if not __debug__:
        raise RuntimeError("check_market_env: got python -O; allowed: without -O, which drops its assertions")
    view = View(env)
    shape = (view.market.params.max_steps, view.episodes, len(view.agents), ACTION_SIZE)
    actions = np.random.default_rng(seed).uniform(-1.0, 1.0, shape).astype(np.float32)
    for number in (seed, seed + 1, seed):
        first = _play(view, number, actions)
    history = view.market.history()
    records = len(history.cost)
    assert records == len(actions), f"history: {records} records of {len(actions)} steps; step the market once in each"
    for problem in violations(history, view.market.params.fleet):
        raise AssertionError(f"conservation: {problem}; leave the records as market.simulation.dynamics.step made them")
    once_more = np.array_equal(view.observations(view.reset(None)), first)
    assert not once_more, "episodes: reset() without a seed played one again; let the market count its episodes on"


def _play(view: View, seed: int, actions: NDArray[np.float32]) -> NDArray[np.float32]:
    """One episode, each step beside the simulation: its first observations [E, N, size], scaled."""
    params = view.market.params
    state = initial(params, seed * EPISODES_OF_A_SEED + np.arange(view.episodes))
    kept = [view.reset(seed)]
    seen = [view.observations(kept[0])]
    for number, action in enumerate(actions):
        _same(seen[-1], observe(params, state).astype(np.float32), f"observations of step {number}")
        raw, own, team, over = view.step(action)
        state, expected, record = step(params, state, action.astype(np.float64))
        _same(own, expected, f"rewards of step {number}")
        if team is not None:
            _same(team, team_reward(params, record), f"team rewards of step {number}")
        ended = f"the episode was {'' if over else 'not '}over after step {number}"
        assert over == (number + 1 == params.max_steps), f"length: {ended}; it lasts max_steps = {params.max_steps}"
        kept.append(raw)
        seen.append(view.observations(raw))
    _same(seen[-1], observe(params, state).astype(np.float32), "observations after the last step")
    overwritten = not np.array_equal([view.observations(raw) for raw in kept], seen)
    assert not overwritten, "buffers: what a step returned was overwritten later; return a new array from each step"
    return seen[0]


class View:
    """Any of the adapters as arrays: observations [E, N, size], actions [E, N, 4], own rewards [E, N], all scaled."""

    def __init__(self, env: Any) -> None:
        market: Any = getattr(getattr(env, "unwrapped", env), "market", None)
        lacks = f"{type(env).__name__} has no attribute `market` that is a MarketVectorEnv"
        assert isinstance(market, MarketVectorEnv), f"market: {lacks}; wrap one, and leave the economics to it"
        self.env, self.market = env, market
        self.episodes: int = market.num_envs
        self.agents = [agent.id for agent in market.scenario.agents]
        self.by_agent = hasattr(env, "possible_agents")  # observations, actions and rewards are dictionaries
        named = not self.by_agent or list(env.possible_agents) == self.agents
        assert named, "possible_agents: not the ids of the scenario's agents, in their order; take them from there"
        self.observation_spaces = self._spaces("observation")
        self._spaces("action")

    def _spaces(self, kind: str) -> list[Any]:
        """The checked spaces of this kind: one for all, or one per agent, always the same object: it keeps a seed."""
        batched = not self.by_agent and isinstance(self.env.unwrapped, gym.vector.VectorEnv)
        shape = getattr(self.market, f"{kind}_space" if batched else f"single_{kind}_space").shape
        spaces: list[Any] = [getattr(self.env, f"{kind}_space", None)]
        if self.by_agent:
            shape, known = shape[1:], getattr(self.env, f"{kind}_spaces", None)
            of = known.get if known else spaces[0]
            for agent in self.agents:
                assert of(agent) is of(agent), f"{kind}_space: a new object each time for {agent!r}; keep one per agent"
            spaces = [of(agent) for agent in self.agents]
        for space in spaces:
            fits = isinstance(space, gym.spaces.Box) and space.shape == shape and space.dtype == np.float32
            assert fits, f"{kind}_space: got {space}; it is a float32 Box of shape {shape}"
        return spaces

    def reset(self, seed: int | None) -> Any:
        """The first observations, as the environment gives them."""
        answer = self.env.reset(seed=seed)
        pair = isinstance(answer, tuple) and len(answer) == 2
        assert pair, f"reset: got {type(answer).__name__}; it returns (observations, infos)"
        return self._valid(answer[0], "reset")

    def step(self, action: NDArray[np.float32]) -> tuple[Any, Floats, Floats | None, bool]:
        """Observations as the environment gives them, own rewards [E, N], team rewards [E] or None, the end."""
        by_name = self.by_agent and dict(zip(self.agents, action[0], strict=True))
        answer = self.env.step(by_name or action.reshape(self.env.action_space.shape))
        whole = isinstance(answer, tuple) and len(answer) == 5
        assert whole, "step: it returns (observations, rewards, terminated, truncated, infos)"
        raw, reward, terminated, truncated, info = answer
        if self.by_agent:
            assert list(reward) == self.agents, "rewards: not one for each agent, in the agents' order; give each one"
            own, team = np.array([list(reward.values())]), None
            terminated, truncated = list(terminated.values()), list(truncated.values())
        else:
            assert AGENT_REWARDS in info, f"infos: no {AGENT_REWARDS!r}; put the reward of each agent there"
            own, team = np.reshape(info[AGENT_REWARDS], (self.episodes, -1)), np.reshape(reward, -1)
        assert len(np.unique(terminated)) == 1, "terminated: some are over and others not; all end at once"
        assert not np.any(truncated), "truncated: got True; the horizon is fixed and observed, so episodes terminate"
        return self._valid(raw, "step"), own, team, bool(np.all(terminated))

    def _valid(self, raw: Any, call: str) -> Any:
        """`raw` when it fits the observation space."""
        if self.by_agent:
            names = isinstance(raw, Mapping) and list(raw)
            assert names == self.agents, f"{call}: observations are a dictionary with every agent, in the agents' order"
        for seen, space in zip(self._parts(raw), self.observation_spaces, strict=True):
            got = f"observations of {getattr(seen, 'dtype', type(seen).__name__)} {np.shape(seen)}"
            assert space.contains(seen), f"{call}: {got} do not fit {space}; return float32 arrays that do"
        return raw

    def _parts(self, raw: Any) -> list[Any]:
        return [raw[agent] for agent in self.agents] if self.by_agent else [raw]

    def observations(self, raw: Any) -> NDArray[np.float32]:
        """A copy of what the environment returned, [E, N, size]."""
        return np.stack(self._parts(raw)).reshape(self.episodes, len(self.agents), -1)


def _same(got: Any, expected: Any, what: str) -> None:
    """AssertionError unless both are equal to the last bit."""
    hint = "hand them on as they are, and reset's seed to the market"
    assert np.array_equal(got, expected), f"{what} differ from market.simulation's for the seed and actions; {hint}"
