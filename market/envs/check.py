"""The contract of every market environment as one call: interface, conservation, the same seed the same episode.

It plays two episodes with random actions and compares each step with the pure simulation, to the last bit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import gymnasium as gym
import numpy as np
from numpy.typing import NDArray

from market.clearing.orders import Floats
from market.envs.vector import AGENT_REWARDS, EPISODES_OF_A_SEED, MarketVectorEnv
from market.records.audit import violations
from market.simulation.dynamics import ACTION_SIZE, initial, observe, step
from market.simulation.observation import observation_size


def check_market_env(env: Any, seed: int = 7) -> None:
    """AssertionError saying what is wrong with `env` and how to mend it; None when all is well.

    env: a MarketVectorEnv, MarketEnv, MarketParallelEnv or MarketMultiAgentEnv, one derived from them, or a wrapper of
    one that changes neither observations nor rewards. Its episodes are played, so it is in the middle of nothing after.
    """
    view = View(env)
    actions = view.sample(seed)
    seen, rewards = _play(view, seed, actions)
    again, same = _play(view, seed, actions)
    _expect(
        np.array_equal(seen, again) and np.array_equal(rewards, same),
        "determinism: the same seed and actions gave two different episodes; pass reset's seed on to the market, and "
        "draw what is random in the adapter from self.np_random",
    )
    other = view.observations(view.reset(seed + 1))
    _expect(
        not np.array_equal(other, seen[0]),
        f"seeds: reset(seed={seed}) and reset(seed={seed + 1}) gave the same observations; pass reset's seed on to the "
        "market",
    )
    following = view.observations(view.reset(None))
    _expect(
        not np.array_equal(following, other),
        "episodes: reset() without a seed began the last episode once more; let the market count its episodes on",
    )
    _conserves(view, seed, actions)


def _play(view: View, seed: int, actions: NDArray[np.float32]) -> tuple[Floats, Floats]:
    """One episode, each step beside the simulation: observations [T + 1, E, N, size] and own rewards [T, E, N]."""
    params = view.market.params
    state = initial(params, seed * EPISODES_OF_A_SEED + np.arange(view.episodes))
    raw = view.reset(seed)
    seen, kept, rewards = [view.observations(raw)], [raw], []
    for number, action in enumerate(actions):
        _same(seen[-1], observe(params, state).astype(np.float32), f"observations of step {number}")
        raw, reward, over = view.step(action)
        state, expected, _ = step(params, state, action.astype(np.float64))
        _same(reward, expected, f"rewards of step {number}")
        _expect(
            over == (number + 1 == params.max_steps),
            f"length: the episode was {'' if over else 'not '}over after step {number}; it ends, terminated and for "
            f"all at once, after max_steps = {params.max_steps}",
        )
        kept.append(raw)
        seen.append(view.observations(raw))
        rewards.append(reward)
    _same(seen[-1], observe(params, state).astype(np.float32), "observations after the last step")
    for number, (raw, copy) in enumerate(zip(kept, seen, strict=True)):
        _expect(
            np.array_equal(view.observations(raw), copy),
            f"buffers: what step {number} returned was overwritten later; return a new array from each step",
        )
    return np.stack(seen), np.stack(rewards)


def _conserves(view: View, seed: int, actions: NDArray[np.float32]) -> None:
    """Energy and money of one more episode add up in the environment's own records."""
    view.reset(seed)
    for action in actions:
        view.step(action)
    history = view.market.history()
    _expect(
        len(history.cost) == len(actions),
        f"history: {len(history.cost)} records of {len(actions)} steps; step the market once in each step",
    )
    for problem in violations(history, view.market.params.fleet):
        _expect(False, f"conservation: {problem}; leave the records as market.simulation.dynamics.step made them")


@dataclass(eq=False)
class View:
    """Any of the adapters as arrays: observations [E, N, size], actions [E, N, 4], own rewards [E, N], all scaled."""

    env: Any

    def __post_init__(self) -> None:
        market: Any = getattr(getattr(self.env, "unwrapped", self.env), "market", None)
        _expect(
            isinstance(market, MarketVectorEnv),
            f"market: {type(self.env).__name__} has no attribute `market` that is a MarketVectorEnv; wrap one, keep it "
            "there, and leave the economics to it",
        )
        self.market: MarketVectorEnv = market
        self.episodes: int = market.num_envs
        self.agents: list[str] = [agent.id for agent in market.scenario.agents]
        size = observation_size(market.params)
        if self.by_agent:
            _expect(
                list(self.env.possible_agents) == self.agents,
                "possible_agents: not the ids of the scenario's agents, in their order; take them from the scenario",
            )
            spaces = [(self._space("observation", agent), self._space("action", agent)) for agent in self.agents]
            shapes: tuple[tuple[int, ...], ...] = ((size,), (ACTION_SIZE,))
        else:
            spaces = [(self.env.observation_space, self.env.action_space)]
            batch = (self.episodes,) if isinstance(self.env.unwrapped, gym.vector.VectorEnv) else ()
            shapes = ((*batch, len(self.agents), size), (*batch, len(self.agents), ACTION_SIZE))
        for observation, action in spaces:
            for name, space, shape in zip(("observation", "action"), (observation, action), shapes, strict=True):
                _expect(
                    isinstance(space, gym.spaces.Box) and space.shape == shape and space.dtype == np.float32,
                    f"{name}_space: got {space}; it is a float32 Box of shape {shape}",
                )

    @property
    def by_agent(self) -> bool:
        """Whether observations, actions and rewards are dictionaries by agent."""
        return hasattr(self.env, "possible_agents")

    def _space(self, kind: str, agent: str) -> Any:
        """The `kind` of space of an agent, which must be the same object every time: seeds and samples live in it."""
        spaces = getattr(self.env, f"{kind}_spaces", None)
        first, second = (
            (spaces[agent], spaces[agent]) if spaces else [getattr(self.env, f"{kind}_space")(agent) for _ in range(2)]
        )
        _expect(first is second, f"{kind}_space: a new object each time for {agent!r}; keep one per agent")
        return first

    def sample(self, seed: int) -> NDArray[np.float32]:
        """Random actions for an episode, [T, E, N, 4], that every adapter can be given."""
        shape = (self.market.params.max_steps, self.episodes, len(self.agents), ACTION_SIZE)
        return np.random.default_rng(seed).uniform(-1.0, 1.0, shape).astype(np.float32)

    def reset(self, seed: int | None) -> Any:
        """The first observations, as the environment gives them."""
        answer = self.env.reset(seed=seed)
        _expect(
            isinstance(answer, tuple) and len(answer) == 2,
            f"reset: got {type(answer).__name__}; it returns (observations, infos)",
        )
        return self._valid(answer[0], "reset")

    def step(self, action: NDArray[np.float32]) -> tuple[Any, Floats, bool]:
        """Observations as the environment gives them, own rewards [E, N], whether all episodes are over."""
        given = (
            dict(zip(self.agents, action[0], strict=True))
            if self.by_agent
            else action.reshape(self.env.action_space.shape)
        )
        answer = self.env.step(given)
        _expect(
            isinstance(answer, tuple) and len(answer) == 5,
            "step: it returns (observations, rewards, terminated, truncated, infos)",
        )
        raw, reward, terminated, truncated, info = answer
        if self.by_agent:
            _expect(
                list(reward) == self.agents, "rewards: not one for each agent, in the agents' order; give each its own"
            )
            own = np.array([list(reward.values())])
            ends, cuts = set(terminated.values()), set(truncated.values())
        else:
            _expect(AGENT_REWARDS in info, f"infos: no {AGENT_REWARDS!r}; put the reward of each agent there")
            own = np.reshape(info[AGENT_REWARDS], (self.episodes, -1))
            _same(np.reshape(reward, -1), own.mean(1), "team rewards, the mean over the agents,")
            ends, cuts = set(np.ravel(terminated).tolist()), set(np.ravel(truncated).tolist())
        _expect(len(ends) == 1, "terminated: some are over and others not; all end at once")
        _expect(cuts == {False}, "truncated: got True; the horizon is fixed and observed, so episodes terminate")
        return self._valid(raw, "step"), own, ends == {True}

    def _valid(self, raw: Any, call: str) -> Any:
        """`raw` when it fits the observation space."""
        if self.by_agent:
            _expect(
                isinstance(raw, Mapping) and list(raw) == self.agents,
                f"{call}: observations are a dictionary with every agent, in the agents' order",
            )
        pairs = (
            [(raw[agent], self._space("observation", agent)) for agent in self.agents]
            if self.by_agent
            else [(raw, self.env.observation_space)]
        )
        for seen, space in pairs:
            _expect(
                space.contains(seen),
                f"{call}: observations of {getattr(seen, 'dtype', type(seen).__name__)} {np.shape(seen)} do not fit "
                f"{space}; return float32 arrays of this shape, within these limits",
            )
        return raw

    def observations(self, raw: Any) -> NDArray[np.float32]:
        """A copy of what the environment returned, [E, N, size]."""
        stacked = np.stack([raw[agent] for agent in self.agents]) if self.by_agent else np.array(raw)
        return stacked.reshape(self.episodes, len(self.agents), -1)


def _same(got: Any, expected: Any, what: str) -> None:
    """AssertionError unless both are equal to the last bit."""
    _expect(
        np.shape(got) == np.shape(expected) and bool(np.array_equal(got, expected)),
        f"{what} differ from market.simulation for the same seed and actions; hand them on as they are",
    )


def _expect(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(f"check_market_env: {message}")
