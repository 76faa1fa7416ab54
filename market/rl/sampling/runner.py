"""Env runner for populations: whole episodes in lockstep, no connector between two steps."""

from __future__ import annotations

import time

import numpy as np
from numpy.typing import NDArray
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_env_runner import SingleAgentEnvRunner
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.env.utils.infinite_lookback_buffer import InfiniteLookbackBuffer

from market.rl.learning.connectors import AGENT_REWARDS
from market.rl.results import mean_of_numbers
from market.rl.sampling.policy import Rollout, rollout
from market.rl.scopes import Stream, recorded_phases, seeded
from market.support.phases import phase

KPIS, RETURN_MEAN, SAMPLING_SECONDS, SAMPLED_STEPS = "kpis", "return_mean", "sampling_seconds", "sampled_steps"
SAMPLING_PHASES = "sampling_phases"
"""What a runner reports of a sample, under `MARKET`, beside RLlib's own results."""
MARKET = "market"


class PopulationEnvRunner(SingleAgentEnvRunner):
    """RLlib's runner with its inner loop replaced; episodes, weights and metrics travel as they do in RLlib.

    env_config: {"make_env": (scenario, num_envs) -> PopulationEnv, "scenario": ..., "seed": ...}.
    The random numbers of a sample depend on the seed, the version of the weights and this runner's number alone, so
    that a restored run goes on as the first one would have, and one remote runner samples what a local one would.
    """

    def make_env(self) -> None:
        settings = self.config.env_config
        self.env = settings["make_env"](settings["scenario"], self.config.num_envs_per_env_runner)
        self.num_envs = self.env.num_envs
        self._last_version, self._repeats = -1, 0

    def _sample(
        self,
        *,
        num_timesteps: int | None = None,
        num_episodes: int | None = None,
        explore: bool,
        random_actions: bool = False,
        force_reset: bool = False,
    ) -> list[SingleAgentEpisode]:
        if random_actions:
            raise ValueError("random_actions: got True; allowed: False (explore with the policy)")
        start = time.perf_counter()
        rollouts: list[Rollout] = []
        kpis: list[dict[str, NDArray[np.float64]]] = []
        steps = 0
        with recorded_phases(next(self.module.parameters()).device) as phases:
            while steps < (num_timesteps or 0) or len(rollouts) * self.num_envs < (num_episodes or 0):
                self._repeats = self._repeats + 1 if self._weights_seq_no == self._last_version else 0
                self._last_version = self._weights_seq_no
                position = (self._weights_seq_no, self._repeats, max(1, self.worker_index or 1))
                with seeded(self.config.env_config["seed"], Stream.SAMPLE, *position) as number:
                    rollouts.append(rollout(self.env, self.module, seed=number, explore=explore))
                with phase("environment"):
                    kpis.append(self.env.kpis())
                steps += rollouts[-1].rewards.size
            with phase("batch"):
                episodes = [self._episode(played, e) for played in rollouts for e in range(self.num_envs)]
        self._done_episodes_for_metrics.extend(episodes)
        self._log_env_steps(metric=self._metrics_num_env_steps_sampled, num_steps=steps)
        self._increase_sampled_metrics(steps, len(episodes))
        returns = [played.rewards.sum(1).mean() for played in rollouts]
        self.metrics.log_value((MARKET, RETURN_MEAN), float(np.mean(returns)), reduce="mean", window=1)
        for name in kpis[0]:
            mean = mean_of_numbers(np.concatenate([kpi[name] for kpi in kpis]))
            self.metrics.log_value((MARKET, KPIS, name), mean, reduce="mean", window=1)
        self.metrics.log_value((MARKET, SAMPLED_STEPS), steps, reduce="sum")
        for name, seconds in phases.items():
            self.metrics.log_value((MARKET, SAMPLING_PHASES, name), seconds, reduce="sum")
        self.metrics.log_value((MARKET, SAMPLING_SECONDS), time.perf_counter() - start, reduce="max", window=1)
        return episodes

    def _episode(self, played: Rollout, e: int) -> SingleAgentEpisode:
        """Episode e of a rollout as RLlib ships it: the whole population is one agent to RLlib."""
        outputs = {AGENT_REWARDS: played.agent_rewards[e].astype(np.float32)}
        if played.logp is not None and played.logits is not None:
            outputs |= {Columns.ACTION_LOGP: played.logp[e], Columns.ACTION_DIST_INPUTS: played.logits[e]}
        return SingleAgentEpisode(
            observations=InfiniteLookbackBuffer(played.observations[e]),
            observation_space=self.env.single_observation_space,
            actions=InfiniteLookbackBuffer(played.actions[e]),
            action_space=self.env.single_action_space,
            rewards=InfiniteLookbackBuffer(played.rewards[e].astype(np.float32)),
            infos=[{}] * played.observations.shape[1],
            terminated=bool(played.terminated[e]),
            truncated=not played.terminated[e],
            t_started=0,
            extra_model_outputs={key: InfiniteLookbackBuffer(value) for key, value in outputs.items()},
            len_lookback_buffer=0,
        )
