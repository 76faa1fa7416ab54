"""A small task with the market environment's interface: each agent has to hit a target that its observation shows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import gymnasium as gym
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space
from numpy.typing import NDArray

from market.rl import MODES, APPOHyperparameters, Hyperparameters, PPOHyperparameters, SACHyperparameters
from market.rl.algorithms.registry import ALGORITHMS
from market.rl.checkpoint import CLASSES
from market.rl.hyperparameters import RLAlgorithm
from market.rl.modes import TrainingMode
from market.rl.networks.modules import PopulationModule
from market.rl.rllib import quiet_rllib
from market.rl.scopes import Stream, seeded
from market.rl.trainer import RLTrainer

ACTIONS = 4
AGENTS, OBS, ACT, ROWS = 4, 5, 2, 6
"""Of modules that `make_module` makes, and of what they are tried on."""

SMALL: dict[RLAlgorithm, Hyperparameters] = {
    RLAlgorithm.PPO: PPOHyperparameters(hidden=(8, 8), minibatch=16, epochs=2, kl_coeff=0.2),
    RLAlgorithm.APPO: APPOHyperparameters(hidden=(8, 8), minibatch=2, epochs=2, kl_coeff=0.2, target_update=2),
    RLAlgorithm.SAC: SACHyperparameters(hidden=(8, 8), activation="tanh", minibatch=16, updates=3),
}
"""Settings for short runs of four episodes or more; a new algorithm needs a row."""

_QUICK: dict[str, Any] = {"lr": 1e-2, "gamma": 0.0, "hidden": (16,), "activation": "relu"}
LEARNING: dict[RLAlgorithm, Hyperparameters] = {
    RLAlgorithm.PPO: PPOHyperparameters(**_QUICK, minibatch=120),
    RLAlgorithm.APPO: APPOHyperparameters(**_QUICK, minibatch=20),
    RLAlgorithm.SAC: SACHyperparameters(
        **{**_QUICK, "lr": 3e-3}, critic_lr=5e-3, temperature_lr=1e-2, tau=0.02, minibatch=120, updates=80
    ),
}
"""Settings that learn the target task, where each step stands alone, within twelve iterations of 40 episodes."""

EVERY_ALGORITHM = pytest.mark.parametrize("algorithm", ALGORITHMS)
EVERY_MODE = pytest.mark.parametrize("mode", MODES)


def make_module(mode: TrainingMode, agents: int = AGENTS, activation: str = "tanh") -> PopulationModule:
    with quiet_rllib(), seeded(3, Stream.BUILD):
        return PopulationModule(
            observation_space=spaces.Box(-10, 10, (agents, OBS)),
            action_space=spaces.Box(-1, 1, (agents, ACT)),
            inference_only=False,
            model_config={"mode": mode.value, "hidden": (8, 7), "activation": activation, "initial_std": 1.0},
        )


@dataclass(frozen=True)
class Targets:
    """The stand-in for a Scenario: agent i's target is its own point, moved a little by what it observes."""

    num_agents: int = 3
    max_steps: int = 6
    num_observations: int = 7
    bad_agent: int = -1
    """This agent's observation is NaN."""

    @property
    def unseen(self) -> Targets:
        """It has no days to hold out."""
        return self

    def targets(self, observation: NDArray[np.float32]) -> NDArray[np.float32]:
        """Observations [E, N, num_observations] -> targets [E, N, 4]."""
        points = np.random.default_rng(7).uniform(-0.7, 0.7, (self.num_agents, ACTIONS)).astype(np.float32)
        return points + 0.2 * observation[..., :ACTIONS]


CLASSES["Targets"] = Targets


class TargetEnv(VectorEnv[Any, Any, Any]):
    """Own reward: 1 minus the mean squared distance to the own target; team reward: the mean over agents."""

    metadata: ClassVar[dict[str, Any]] = {"autoreset_mode": AutoresetMode.NEXT_STEP}

    def __init__(self, task: Targets, num_envs: int) -> None:
        self.task, self.num_envs = task, num_envs
        shape = (task.num_agents, task.num_observations)
        self.single_observation_space = gym.spaces.Box(-10.0, 10.0, shape, np.float32)
        self.single_action_space = gym.spaces.Box(-1.0, 1.0, (task.num_agents, ACTIONS), np.float32)
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)
        self._random = np.random.default_rng(0)

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[NDArray[np.float32], dict[str, Any]]:
        if seed is not None:
            self._random = np.random.default_rng(seed)
        self._step = 0
        self._hit = np.zeros(self.num_envs)
        return self._observe(), {}

    def step(self, actions: NDArray[np.float32]) -> Any:
        assert np.all(np.abs(np.nan_to_num(actions)) <= 1.0)
        rewards = 1.0 - np.square(np.nan_to_num(actions) - self.task.targets(self._clean)).mean(-1)
        self._step += 1
        self._hit += rewards.mean(1) / self.task.max_steps
        over = np.full(self.num_envs, self._step == self.task.max_steps)
        return self._observe(), rewards.mean(1), over, np.zeros_like(over), {"agent_rewards": rewards}

    def kpis(self) -> dict[str, NDArray[np.float64]]:
        return {"hit": self._hit}

    def _observe(self) -> NDArray[np.float32]:
        self._clean = self._random.uniform(-1, 1, self.observation_space.shape).astype(np.float32)
        seen = self._clean.copy()
        if self.task.bad_agent >= 0:
            seen[:, self.task.bad_agent] = np.nan
        return seen


class TargetTrainer(RLTrainer):
    """RLTrainer on the target task."""

    @staticmethod
    def _make_scenario(env_config: Any) -> Any:
        return env_config

    @staticmethod
    def _make_env(scenario: Any, num_envs: int) -> TargetEnv:
        return TargetEnv(scenario, num_envs)


TASK = Targets(num_agents=3, max_steps=4)


def make_trainer(
    mode: TrainingMode | str = "dtde",
    task: Targets = TASK,
    algorithm: RLAlgorithm = RLAlgorithm.PPO,
    **arguments: Any,
) -> TargetTrainer:
    """A trainer of a task with small settings."""
    settings = {"iters": 2, "episodes_per_iteration": 4, "hyperparameters": SMALL[algorithm]} | arguments
    return TargetTrainer(task, algorithm, mode, **settings)
