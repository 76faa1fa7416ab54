"""`check_market_env` finds what is broken on purpose and says how to fix it; `audit` finds every tampered number."""

from __future__ import annotations

from dataclasses import fields, replace

import gymnasium as gym
import numpy as np
import pytest

from market import Scenario
from market.envs import MarketEnv, MarketParallelEnv, MarketVectorEnv, check_market_env
from market.envs.vector import AGENT_REWARDS
from market.records.audit import violations
from market.simulation.history import Flows
from market_support import at_random

SCENARIO = Scenario.study(3, max_steps=5)


class Truncates(MarketEnv):
    def step(self, action):
        observation, reward, over, _, info = super().step(action)
        return observation, reward, False, over, info


class NeverEnds(MarketEnv):
    def step(self, action):
        observation, reward, _, cut, info = super().step(action)
        return observation, reward, False, cut, info


class ScalesRewards(MarketEnv):
    def step(self, action):
        observation, reward, *rest, info = super().step(action)
        return observation, 2 * reward, *rest, {AGENT_REWARDS: 2 * info[AGENT_REWARDS]}


class TeamRewardIsASum(MarketEnv):
    def step(self, action):
        observation, _, *rest, info = super().step(action)
        return observation, info[AGENT_REWARDS].sum(), *rest, info


class NoOwnRewards(MarketEnv):
    def step(self, action):
        return *super().step(action)[:4], {}


class Noisy(MarketEnv):
    def reset(self, **arguments):
        observation, info = super().reset(**arguments)
        return observation + np.float32(1e-6) * np.random.default_rng().random(dtype=np.float32), info


class IgnoresSeeds(MarketEnv):
    def reset(self, *, seed=None, options=None):
        return super().reset(seed=0, options=options)


class OneEpisode(MarketParallelEnv):
    def reset(self, seed=None, options=None):
        self.seed = getattr(self, "seed", 0) if seed is None else seed
        return super().reset(self.seed, options)


class DoublePrecision(MarketEnv):
    def reset(self, **arguments):
        observation, info = super().reset(**arguments)
        return observation.astype(np.float64), info


class OverwritesObservations(MarketEnv):
    def step(self, action):
        observation, *rest = super().step(action)
        self.seen[:] = observation
        return self.seen, *rest

    def reset(self, **arguments):
        self.seen, info = super().reset(**arguments)
        return self.seen, info


class OnlyObservations(MarketEnv):
    def reset(self, **arguments):
        return super().reset(**arguments)[0]


class FourAnswers(MarketEnv):
    def step(self, action):
        return super().step(action)[:4]


class NewSpaces(MarketParallelEnv):
    def action_space(self, agent):
        return gym.spaces.Box(-1.0, 1.0, (4,), np.float32)


class WiderActions(MarketEnv):
    def __init__(self, scenario):
        super().__init__(scenario)
        self.action_space = gym.spaces.Box(-1.0, 1.0, (3, 5), np.float32)


class SwapsRewards(MarketParallelEnv):
    def step(self, actions):
        observations, rewards, *rest = super().step(actions)
        return observations, dict(reversed(rewards.items())), *rest


class LosesAnAgent(MarketParallelEnv):
    def step(self, actions):
        observations, *rest = super().step(actions)
        del observations["agent_0001"]
        return observations, *rest


class RenamesAgents(MarketParallelEnv):
    def __init__(self, scenario):
        super().__init__(scenario)
        self.possible_agents = ["a", "b", "c"]


class LeaksEnergy(MarketVectorEnv):
    def step(self, actions):
        answer = super().step(actions)
        self._records[-1] = replace(self._records[-1], charged=self._records[-1].charged + 0.01)
        return answer


class LeaksMoney(MarketVectorEnv):
    def step(self, actions):
        answer = super().step(actions)
        self._records[-1] = replace(self._records[-1], cost=self._records[-1].cost - 0.01)
        return answer


class LosesRecords(MarketVectorEnv):
    def step(self, actions):
        answer = super().step(actions)
        del self._records[1:]
        return answer


class NoMarket(gym.Env):
    def __init__(self, scenario):
        pass


BROKEN = {
    Truncates: r"truncated: got True; .* episodes terminate",
    NeverEnds: r"length: the episode was not over after step 4; .*max_steps = 5",
    ScalesRewards: r"rewards of step 0 differ .*hand them on as they are",
    TeamRewardIsASum: r"team rewards of step 0 differ",
    NoOwnRewards: r"infos: no 'agent_rewards'; put the reward of each agent there",
    Noisy: r"observations of step 0 differ",
    IgnoresSeeds: r"observations of step 0 differ",
    OneEpisode: r"episodes: reset\(\) without a seed .*count its episodes on",
    DoublePrecision: r"reset: observations of float64 .*return float32 arrays",
    OverwritesObservations: r"buffers: .*return a new array from each step",
    OnlyObservations: r"reset: got ndarray; it returns \(observations, infos\)",
    FourAnswers: r"step: it returns \(observations, rewards, terminated, truncated, infos\)",
    NewSpaces: r"action_space: a new object each time for 'agent_0000'; keep one per agent",
    WiderActions: r"action_space: got .*; it is a float32 Box of shape \(3, 4\)",
    SwapsRewards: r"rewards: not one for each agent, in the agents' order",
    LosesAnAgent: r"step: observations are a dictionary with every agent",
    RenamesAgents: r"possible_agents: not the ids of the scenario's agents",
    LeaksEnergy: r"conservation: balance: .* allowed: .* kWh, since nothing may get lost; leave the records",
    LeaksMoney: r"conservation: money: paid by the agents: got .* at step",
    LosesRecords: r"history: 1 records of 5 steps",
    NoMarket: r"market: NoMarket has no attribute `market`",
}


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_what_is_broken_is_found_and_the_remedy_named(kind):
    with pytest.raises(AssertionError, match=BROKEN[kind]):
        check_market_env(kind(SCENARIO))


@pytest.fixture(scope="module")
def episode():
    env = at_random(MarketVectorEnv(Scenario.study(6), num_envs=2), steps=24, seed=0)
    assert env.history().bought_p2p.any()
    return env.history(), env.params.fleet


def audit(history, fleet):
    for problem in violations(history, fleet):
        raise ValueError(problem)


def test_an_episode_passes_the_audit(episode):
    audit(*episode)


UNBOUND = {  # what no law of conservation speaks of
    "ordered", "is_buy", "alone_cost", "saving", "clearing_price", "social_welfare", "loss", "congestion_mean",
    "congestion_max", "overloaded_hours", "voltage_deviation",
}  # fmt: skip


@pytest.mark.parametrize("field", [f.name for f in fields(Flows) if f.name not in UNBOUND])
def test_one_number_changed_anywhere_is_found(episode, field):
    history, fleet = episode
    values = getattr(history, field).copy()
    values[(3, 1, 2)[: values.ndim]] += 0.01
    with pytest.raises(ValueError, match=r"got .* at step \d+, episode 1.*; allowed: .*, since nothing may get lost"):
        audit(replace(history, **{field: values}), fleet)


@pytest.mark.parametrize("field", ["charged", "bought_dso", "sold_p2p"])
def test_amounts_are_not_negative(episode, field):
    history, fleet = episode
    values = getattr(history, field).copy()
    values[0, 0, 0] = -1.0
    with pytest.raises(ValueError, match="allowed"):
        audit(replace(history, **{field: values}), fleet)


def test_a_battery_keeps_its_power_and_does_one_thing_at_a_time(episode):
    history, fleet = episode
    moved = np.maximum(history.charged, history.discharged).max()
    assert moved > 1.0
    audit(history, replace(fleet, step_limit=np.full(6, moved)))
    with pytest.raises(ValueError, match=r"battery: charged or discharged within its power: got .* at step"):
        audit(history, replace(fleet, step_limit=np.full(6, moved - 0.01)))
    extra = history.discharged == 0  # a little more of both, so that nothing else is amiss
    charged = history.charged + np.where(extra, 1.0, 0.0)
    discharged = history.discharged + np.where(extra, fleet.charge_efficiency * fleet.discharge_efficiency, 0.0)
    changed = {"charged": charged, "discharged": discharged}
    changed |= {"exported": history.exported + discharged - history.discharged}
    changed |= {"imported": history.imported + charged - history.charged}
    found = violations(replace(history, **changed), fleet)
    assert any(line.startswith("battery: discharged while charged: got ") for line in found)
    assert not any(line.startswith("balance") or "efficiency" in line for line in found)


def test_not_a_number_is_found(episode):
    history, fleet = episode
    cost = history.cost.copy()
    cost[2, 0, 1] = np.nan
    with pytest.raises(ValueError, match="money: paid by the agents: got nan at step 2, episode 0"):
        audit(replace(history, cost=cost), fleet)
