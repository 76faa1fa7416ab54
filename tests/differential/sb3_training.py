"""Trains a community as one agent with Stable-Baselines3: JSON from stdin to stdout, in the environment .venv-sb3.

In: {"algorithm": "ppo" or "sac", "agents", "seeds", "steps", "episodes"}. Out: for each seed the mean position of the
deterministic policy on the held-out episodes that `RLTrainer.evaluate` plays, after so many env-steps.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import torch
from stable_baselines3 import PPO, SAC
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.vec_env import VecEnv

sys.path.insert(0, str(Path(__file__).parents[2]))

from benches.workloads.references import evaluated
from market.community.scenario import Scenario
from market.envs import MarketVectorEnv
from market.evaluation.optimum import attainable
from market.evaluation.policies import play
from market.simulation.dynamics import observe

COMMUNITIES = 8
ALGORITHMS = {"ppo": (PPO, {"n_steps": 240}), "sac": (SAC, {})}
"""With the fields that are not SB3's defaults: 8 x 240 env-steps for an update of PPO are about its usual 1 x 2048, in
whole episodes. SAC takes a gradient step for each step of all communities, by default."""


class Communities(VecEnv):
    """The market's vector environment as SB3 wants one: the step that ends the episodes begins the next ones."""

    def __init__(self, scenario: Scenario) -> None:
        self.market = MarketVectorEnv(scenario, COMMUNITIES)
        super().__init__(COMMUNITIES, self.market.single_observation_space, self.market.single_action_space)

    def reset(self):
        observation, _ = self.market.reset(seed=self._seeds[0])
        self._reset_seeds()
        return observation

    def step_async(self, actions):
        self._actions = actions

    def step_wait(self):
        observation, reward, over, _, _ = self.market.step(self._actions)
        infos = [{} for _ in over]
        if over[0]:
            infos = [{"terminal_observation": last} for last in observation]
            observation, _ = self.market.reset()
        return observation, reward, over, infos

    def get_attr(self, attr_name, indices=None):
        return [getattr(self.market, attr_name)] * self.num_envs

    def set_attr(self, attr_name, value, indices=None):
        raise NotImplementedError

    def env_method(self, method_name, *method_args, indices=None, **method_kwargs):
        raise NotImplementedError

    def env_is_wrapped(self, wrapper_class, indices=None):
        return [False] * self.num_envs

    def close(self):
        self.market.close()


def trained(algorithm: str, agents: int, seed: int, steps: int, episodes: int) -> float:
    """Mean position after one training."""
    scenario = Scenario.study(agents, seed)
    learner, own = ALGORITHMS[algorithm]
    model = learner("MlpPolicy", Communities(scenario), seed=seed, device="cpu", **own)
    model.set_logger(Logger(None, []))  # SB3's own makes a folder in /tmp for each model
    model.learn(steps)
    assert model.num_timesteps == steps

    def policy(params, state):
        return model.predict(observe(params, state).astype(np.float32), deterministic=True)[0]

    params, start = evaluated(scenario.unseen, seed, episodes)
    saved = play(params, start.episode, policy)[1].saving.sum((0, 2))
    return float(np.nanmean(saved / attainable(params, start)))


if __name__ == "__main__":
    torch.set_num_threads(1)
    asked = json.load(sys.stdin)
    seeds = asked.pop("seeds")
    json.dump([trained(seed=seed, **asked) for seed in seeds], sys.stdout)
