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

from market.rl.learning.minibatches import agent_major
from market.rl.modes import Mode
from market.rl.networks.modules import columns

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


def stack_episodes(
    episodes: list[SingleAgentEpisode], mode: Mode, device: torch.device, keep_logits: bool
) -> dict[str, Tensor]:
    """E episodes of equal length as tensors: observations [E, T + 1, ...], all else [E, T, ...], terminated [E].

    Rewards are [E, T, V], of the team or own by mode. keep_logits: the loss needs the action distributions that
    sampled.
    """
    lengths = {len(episode) for episode in episodes}
    if len(lengths) != 1:
        raise ValueError(f"episodes: got lengths {sorted(lengths)}; allowed: one length for all (fixed horizon)")

    def tensor(parts: list[NDArray[Any]]) -> Tensor:
        return torch.from_numpy(np.stack(parts, dtype=np.float32)).to(device)

    def extra(key: str) -> Tensor:
        return tensor([episode.get_extra_model_outputs(key) for episode in episodes])

    stacked = {
        Columns.OBS: tensor([episode.get_observations() for episode in episodes]),
        Columns.ACTIONS: tensor([episode.get_actions() for episode in episodes]),
        Columns.ACTION_LOGP: extra(Columns.ACTION_LOGP),
        Columns.TERMINATEDS: torch.tensor([float(episode.is_terminated) for episode in episodes], device=device),
    }
    if mode.team_reward:
        stacked[Columns.REWARDS] = tensor([episode.get_rewards() for episode in episodes]).unsqueeze(-1)
    else:
        stacked[Columns.REWARDS] = extra(AGENT_REWARDS)
    if keep_logits:
        stacked[Columns.ACTION_DIST_INPUTS] = extra(Columns.ACTION_DIST_INPUTS)
    return stacked


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
        stacked = stack_episodes(episodes, self.mode, self.device, self.keep_logits)
        observations, rewards = stacked.pop(Columns.OBS), stacked.pop(Columns.REWARDS)
        terminated = stacked.pop(Columns.TERMINATEDS)
        shape = observations.shape[:2]
        mask = torch.ones(shape, dtype=torch.bool, device=self.device)
        mask[:, -1] = False
        out = {Columns.OBS: observations.flatten(0, 1), Columns.LOSS_MASK: mask.flatten()}
        for name, x in stacked.items():  # the row after the end repeats the last (it weighs nothing)
            out[name] = torch.cat((x, x[:, -1:]), dim=1).flatten(0, 1)
        with torch.no_grad():
            values = columns(rl_module[DEFAULT_MODULE_ID].unwrapped().compute_values(out))
            advantages, targets = estimate_advantages(
                values.reshape(*shape, -1), rewards, terminated, self.gamma, self.lambda_
            )
        out[Postprocessing.ADVANTAGES] = advantages.flatten(0, 1)
        out[Postprocessing.VALUE_TARGETS] = targets.flatten(0, 1)
        if not self.mode.joint_actor:
            out = {name: agent_major(x) if x.dim() > 1 else x for name, x in out.items()}
        return {DEFAULT_MODULE_ID: out}
