"""V-trace: from sampled episodes to value targets and advantages, for a policy other than the one that sampled them.

Shapes: E episodes of T steps, R probability ratios and V values per step (each 1 or N, by mode).
"""

from __future__ import annotations

from typing import Any

import torch
from ray.rllib.connectors.connector_v2 import ConnectorV2
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import TARGET_NETWORK_ACTION_DIST_INPUTS
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from torch import Tensor

from market.rl.learning.connectors import stack_episodes
from market.rl.modes import Mode

DISCOUNTS, OLD_LOGP = "discounts", "old_logp"
"""Columns of a batch: discount after each step [E, T, 1], the target policy's log-probabilities [E, T, R]."""


def vtrace(
    values: Tensor, rewards: Tensor, discounts: Tensor, log_rhos: Tensor, central_critic: bool
) -> tuple[Tensor, Tensor]:
    """Value targets [E, T, V] and advantages [E, T, R or V] (Espeholt et al. 2018, arXiv:1802.01561, both clips at 1).

    values: [E, T + 1, V]. rewards: [E, T, V]. discounts: [E, T, 1], 0 where an episode ended for good. log_rhos:
    [E, T, R], the log ratio of the policy to be judged to the one that sampled.
    A value of the community depends on what all agents do, so a central critic's targets are weighted by the ratio of
    the joint action, the product over agents (MA-Trace: Zawalski et al. 2021, arXiv:2111.11229); an agent's advantage
    is weighted by its own ratio, the one that its surrogate clips. With own critics, or one ratio, these are the same.
    """
    weights = log_rhos.exp().clamp(max=1.0)
    traces = log_rhos.sum(-1, keepdim=True).exp().clamp(max=1.0) if central_critic else weights
    residuals = traces * (rewards + discounts * values[:, 1:] - values[:, :-1])
    decays = discounts * traces
    targets = values.clone()
    corrections, running = torch.empty_like(residuals), torch.zeros_like(residuals[:, 0])
    for t in range(residuals.shape[1] - 1, -1, -1):
        running = torch.addcmul(residuals[:, t], decays[:, t], running)
        corrections[:, t] = running
    targets[:, :-1] += corrections
    return targets[:, :-1], weights * (rewards + discounts * targets[:, 1:] - values[:, :-1])


class EpisodeBatch(ConnectorV2):
    """The learner's whole pipeline: a row of its batch is an episode, so that minibatches hold whole ones.

    The target policy stands still during an update, so what it thinks of the actions is computed once.
    """

    def __init__(self, *, mode: Mode, gamma: float, device: torch.device, keep_logits: bool) -> None:
        """keep_logits: the loss needs the target policy's action distributions."""
        super().__init__()
        self.mode, self.gamma, self.device, self.keep_logits = mode, gamma, device, keep_logits

    @torch.no_grad()
    def __call__(
        self, *, rl_module: Any, batch: dict[str, Any], episodes: list[SingleAgentEpisode], **kwargs: Any
    ) -> dict[str, Any]:
        module = rl_module[DEFAULT_MODULE_ID].unwrapped()
        out = stack_episodes(episodes, self.mode, self.device, keep_logits=False)
        ends = out.pop(Columns.TERMINATEDS)
        out[DISCOUNTS] = torch.full((*out[Columns.REWARDS].shape[:2], 1), self.gamma, device=self.device)
        out[DISCOUNTS][:, -1, 0] *= 1.0 - ends
        steps = out[Columns.OBS][:, :-1]
        logits = module.forward_target({Columns.OBS: steps.flatten(0, 1)})[TARGET_NETWORK_ACTION_DIST_INPUTS]
        logits = logits.unflatten(0, steps.shape[:2])
        old = module.get_train_action_dist_cls().from_logits(logits)
        out[OLD_LOGP] = self.mode.per_ratio(old.logp(out[Columns.ACTIONS]))
        out[Columns.ACTION_LOGP] = self.mode.per_ratio(out[Columns.ACTION_LOGP])
        if self.keep_logits:
            out[TARGET_NETWORK_ACTION_DIST_INPUTS] = logits
        return {DEFAULT_MODULE_ID: out}
