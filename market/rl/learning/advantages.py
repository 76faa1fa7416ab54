"""From values and rewards to advantages and value targets: generalised advantage estimation, and V-trace.

Shapes: E episodes of T steps, N agents, V values per step (1 or N, by mode).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from market.support.kernels import kernel

SMALLEST_DEVIATION = 1e-4
"""Smallest standard deviation by which advantages are divided (RLlib's)."""


@kernel
def _discounted_sums(values, decays, sums):  # type: ignore[no-untyped-def]
    """sums[:, t] becomes values[:, t] + decays[:, t] x sums[:, t + 1], all [E, T, V]."""
    for e in range(values.shape[0]):
        for v in range(values.shape[2]):
            running = np.float32(0.0)
            for t in range(values.shape[1] - 1, -1, -1):
                running = values[e, t, v] + decays[e, t, v] * running
                sums[e, t, v] = running


def discounted_sums(values: Tensor, decays: Tensor) -> Tensor:
    """Of each step, its value and those that follow, [E, T, V], each decayed by all steps before it; no gradients."""
    values = values.detach().contiguous()
    on_cpu = [x.cpu().contiguous() for x in (values, decays.detach())]
    sums = torch.empty_like(on_cpu[0])
    _discounted_sums(*(x.numpy() for x in (*on_cpu, sums)))
    return sums.to(values.device)


def estimate_advantages(
    values: Tensor, rewards: Tensor, terminated: Tensor, gamma: float, lambda_: float
) -> tuple[Tensor, Tensor]:
    """Standardised advantages and value targets [E, T, V] (generalised advantage estimation, arXiv:1506.02438).

    Each column of V is standardised over the steps that were played, so that an average action has the advantage 0.
    RLlib appends a row to each episode, lets its advantage reach into the next episode of the batch, and counts it in
    mean, deviation and minibatches; here there is none.

    values: [E, T + 1, V].
    rewards: [E, T, V].
    terminated: 1 where an episode ended for good, 0 where it was cut and goes on with the last value, [E].
    """
    following = values[:, 1:].clone()
    following[:, -1] *= (1.0 - terminated)[:, None]
    residuals = rewards + gamma * following - values[:, :-1]
    advantages = discounted_sums(residuals, torch.full_like(residuals, gamma * lambda_))
    return standardised(advantages), advantages + values[:, :-1]


def standardised(advantages: Tensor) -> Tensor:
    """Each column of [E, T, V] less its mean, over its deviation: an average action has the advantage 0."""
    deviation = advantages.std((0, 1), correction=0).clamp(min=SMALLEST_DEVIATION)
    return (advantages - advantages.mean((0, 1))) / deviation


def importance(log_rhos: Tensor, central_critic: bool) -> tuple[Tensor, Tensor]:
    """Importance weights of advantages [E, T, N] and of value targets [E, T, V], cut at 1.

    The value of a community depends on all agents' actions, so a central critic's targets are weighted by the ratio of
    the joint action, the product over agents (MA-Trace: Zawalski et al. 2021, arXiv:2111.11229). An agent's advantage
    is weighted by its own ratio, the one that its surrogate clips.

    log_rhos: log ratio of the policy to be judged to the one that sampled, [E, T, N].
    """
    weights = log_rhos.exp().clamp(max=1.0)
    return weights, log_rhos.sum(-1, keepdim=True).exp().clamp(max=1.0) if central_critic else weights


def vtrace(
    values: Tensor, rewards: Tensor, discounts: Tensor, weights: Tensor, traces: Tensor
) -> tuple[Tensor, Tensor]:
    """Value targets [E, T, V] and advantages [E, T, N] (Espeholt et al. 2018, arXiv:1802.01561, both clips at 1).

    values: [E, T + 1, V].
    rewards: [E, T, V].
    discounts: [E, T, 1], 0 where an episode ended for good.
    weights, traces: as `importance` gives them.
    """
    residuals = traces * (rewards + discounts * values[:, 1:] - values[:, :-1])
    targets = values.clone()
    targets[:, :-1] += discounted_sums(residuals, discounts * traces)
    return targets[:, :-1], weights * (rewards + discounts * targets[:, 1:] - values[:, :-1])
