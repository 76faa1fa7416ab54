"""From sampled episodes to a training batch: rows in RLlib's order, and advantages with an agent axis.

Shapes: E episodes of T steps, N agents, V values per step (1 with a central critic, else N), L = E (T + 1) rows.
RLlib appends one row to each episode, for the value after its end; the loss leaves it out.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.evaluation.postprocessing import Postprocessing
from torch import Tensor

from market.rl.modes import Mode
from market.rl.modules import columns

AGENT_REWARDS = "agent_rewards"
"""Own rewards [T, N], carried beside the team reward [T] in an episode's extra model outputs."""

SMALLEST_DEVIATION = 1e-4
"""Advantages that spread less than this are not blown up to spread one (RLlib's floor)."""


def estimate_advantages(
    values: Tensor, rewards: Tensor, terminated: Tensor, gamma: float, lambda_: float
) -> tuple[Tensor, Tensor]:
    """Standardised advantages and value targets [E, T + 1, V] (generalised advantage estimation, arXiv:1506.02438).

    values: [E, T + 1, V]. rewards: [E, T, V]. terminated: [E], 1 where the episode ended for good, 0 where it was cut
    and goes on with the last value. Row by row the arithmetic of RLlib, including its habit that the appended rows,
    whose advantages reach into the next episode of the batch, count in the mean and deviation by which advantages are
    standardised (per column of V): a stacked update then equals N stock ones to the last digits.
    """
    steps = rewards.shape[1]
    following = values[:, 1:].clone()
    following[:, -1] *= (1.0 - terminated)[:, None]
    residuals = rewards + gamma * following - values[:, :-1]
    advantages = torch.empty_like(values)
    running = torch.zeros_like(values[:, 0])
    for t in range(steps - 1, -1, -1):
        running = residuals[:, t] + gamma * lambda_ * running
        advantages[:, t] = running
    ahead = gamma * (values[:, 0] + lambda_ * advantages[:, 0]).roll(-1, dims=0)
    ahead[-1] = 0.0
    advantages[:, -1] = ahead - values[:, -1]
    targets = advantages + values
    deviation = advantages.std((0, 1), correction=0).clamp(min=SMALLEST_DEVIATION)
    return (advantages - advantages.mean((0, 1))) / deviation, targets


def _with_last_repeated(parts: list[NDArray[Any]]) -> NDArray[np.float32]:
    """E arrays [T, ...] -> [E, T + 1, ...]; the row after the end repeats the last (it weighs nothing)."""
    stacked = np.stack(parts)
    return np.concatenate((stacked, stacked[:, -1:]), axis=1, dtype=np.float32)


class PopulationBatch(ConnectorV2):
    """The learner's whole pipeline: E episodes of equal length -> tensors of L rows on the module's device."""

    def __init__(self, *, mode: Mode, gamma: float, lambda_: float, device: torch.device, keep_logits: bool) -> None:
        """keep_logits: the loss needs the old action distributions."""
        super().__init__()
        self.mode, self.gamma, self.lambda_ = mode, gamma, lambda_
        self.device, self.keep_logits = device, keep_logits

    def __call__(
        self, *, rl_module: Any, batch: dict[str, Any], episodes: list[SingleAgentEpisode], **kwargs: Any
    ) -> dict[str, Any]:
        lengths = {len(episode) for episode in episodes}
        if len(lengths) != 1:
            raise ValueError(f"episodes: got lengths {sorted(lengths)}; allowed: one length for all (fixed horizon)")
        shape = (len(episodes), lengths.pop() + 1)

        def rows(x: NDArray[Any]) -> Tensor:
            """[E, T + 1, ...] -> [L, ...]."""
            return torch.from_numpy(x.reshape(-1, *x.shape[2:])).to(self.device)

        def extra(key: str) -> list[NDArray[Any]]:
            return [episode.get_extra_model_outputs(key) for episode in episodes]

        mask = np.ones(shape, bool)
        mask[:, -1] = False
        out = {
            Columns.OBS: rows(np.stack([episode.get_observations() for episode in episodes])),
            Columns.ACTIONS: rows(_with_last_repeated([episode.get_actions() for episode in episodes])),
            Columns.ACTION_LOGP: rows(_with_last_repeated(extra(Columns.ACTION_LOGP))),
            Columns.LOSS_MASK: rows(mask),
        }
        if self.keep_logits:
            out[Columns.ACTION_DIST_INPUTS] = rows(_with_last_repeated(extra(Columns.ACTION_DIST_INPUTS)))
        rewards = [e.get_rewards()[:, None] for e in episodes] if self.mode.team_reward else extra(AGENT_REWARDS)
        with torch.no_grad():
            values = columns(rl_module[DEFAULT_MODULE_ID].unwrapped().compute_values(out))
            advantages, targets = estimate_advantages(
                values.reshape(*shape, -1),
                torch.from_numpy(np.stack(rewards).astype(np.float32)).to(self.device),
                torch.tensor([float(episode.is_terminated) for episode in episodes], device=self.device),
                self.gamma,
                self.lambda_,
            )
        out[Postprocessing.ADVANTAGES] = advantages.flatten(0, 1)
        out[Postprocessing.VALUE_TARGETS] = targets.flatten(0, 1)
        return {DEFAULT_MODULE_ID: out}
