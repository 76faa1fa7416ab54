"""Env runner for populations: whole episodes in lockstep, no connector between two steps."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED, NUM_ENV_STEPS_SAMPLED_LIFETIME

from market.rl.results import MARKET, mean_of_numbers
from market.rl.sampling.policy import Rollout, rollout
from market.rl.scopes import Stream, recorded_phases, seeded
from market.support.phases import phase


class PopulationEnvRunner(SingleAgentEnvRunner):
    """RLlib's runner with its inner loop replaced; rollouts, weights and metrics travel as episodes do in RLlib.

    A rollout has a length in env-steps, and RLlib shares it out to learners by `part[:n]` and `part.slice(slice(n))`.

    env_config: {"make_env": (scenario, num_envs) -> environment, "scenario": ..., "seed": ...}.
    The random numbers of a sample depend on the seed, the version of the weights and this runner's number alone, so
    that a restored run goes on as the first one would have, and one remote runner samples what a local one would.
    """

    def make_env(self) -> None:
        settings = self.config.env_config
        self.env = settings["make_env"](settings["scenario"], self.config.num_envs_per_env_runner)
        self.num_envs = self.env.num_envs
        self._last_version, self._repeats = -1, 0

    def sample(self, *, num_timesteps: int | None = None, num_episodes: int | None = None, **_: Any) -> list[Rollout]:
        """So many env-steps and whole episodes at least; of RLlib's metrics, the two by which its algorithms count."""
        version, steps, episodes = int(self._weights_seq_no), num_timesteps or 0, num_episodes or 0
        start = time.perf_counter()
        rollouts: list[Rollout] = []
        kpis: list[dict[str, NDArray[np.float64]]] = []
        sampled = 0
        with recorded_phases(next(self.module.parameters()).device) as phases:
            while not rollouts or sampled < steps or len(rollouts) * self.num_envs < episodes:
                self._repeats = self._repeats + 1 if version == self._last_version else 0
                self._last_version = version
                position = (version, self._repeats, max(1, self.worker_index or 1))
                with seeded(self.config.env_config["seed"], Stream.SAMPLE, *position) as number:
                    rollouts.append(rollout(self.env, self.module.player, seed=number, explore=True))
                with phase("environment"):
                    kpis.append(self.env.kpis())
                sampled += len(rollouts[-1])
        measured = {
            "return_mean": float(np.mean([rolled.rewards.sum(1).mean() for rolled in rollouts])),
            "kpis": {name: mean_of_numbers(np.concatenate([kpi[name] for kpi in kpis])) for name in kpis[0]},
            "env_steps": sampled,
            "phases": dict(phases),
            "sampling_seconds": time.perf_counter() - start,
        }
        self.metrics.log_value(NUM_ENV_STEPS_SAMPLED, sampled, reduce="sum")
        self.metrics.log_value(NUM_ENV_STEPS_SAMPLED_LIFETIME, sampled, reduce="lifetime_sum")
        self.metrics.log_value(MARKET, measured, reduce="item_series")  # one entry: each costs as much as a step
        return rollouts
