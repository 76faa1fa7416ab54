"""PPO's clipped surrogate of agents with Gaussian actions (Schulman et al. 2017, arXiv:1707.06347).

On a CPU, where all rows have the same standard deviations, it is one compiled pass over the actions, and another for
its gradients; elsewhere it is torch's, which is the slow twin of the tests.

Shapes: B rows, or E episodes of T steps for B, N agents, A numbers per action.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from market.rl.networks.compiled import FAST, by_rows, compilable
from market.rl.networks.distributions import AgentGaussian
from market.support.kernels import kernel

MAX_LOG_RATIO = 20.0
"""Log probability ratios are cut at this size, so that the ratio of actions that are far apart cannot overflow."""


def clipped_gain(policy: AgentGaussian, action: Tensor, old_logp: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """The surrogate of each action, [rows, N]: no gain from probability ratios that leave the band of 1 +- clip.

    min(A r, A clip(r)) is A r, with r cut above the band where A is a gain, and below it where A is a loss.

    policy: the one that learns.
    action: [B, N, A].
    old_logp: log-probabilities of the actions under the policy to compare with, [B, N].
    """
    low, high = math.log1p(-clip) if clip < 1.0 else -MAX_LOG_RATIO, math.log1p(clip)
    if policy.log_std.dim() == 2 and compilable(policy.mean, policy.log_std):
        rows = [x.reshape(-1, *x.shape[old_logp.dim() - 1 :]).transpose(0, 1) for x in (action, old_logp, advantage)]
        mean = policy.mean.reshape(-1, *policy.mean.shape[-2:]).transpose(0, 1)
        compiled: Tensor = _Gain.apply(mean, policy.log_std, *rows, low, high)  # type: ignore[no-untyped-call]
        return compiled.transpose(0, 1)
    gains = advantage >= 0.0
    least, most = torch.where(gains, -MAX_LOG_RATIO, low), torch.where(gains, high, MAX_LOG_RATIO)
    gain = advantage * (policy.logp(action) - old_logp).clamp(least, most).exp()
    return gain.reshape(-1, gain.shape[-1])


@kernel(**FAST)
def _gain(mean, log_std, action, old_logp, advantage, low, high, gain, slope, first, last):  # type: ignore[no-untyped-def]
    """gain [N, B]: the surrogate. slope [N, B]: its derivative by the log-probability. Of agents first to last - 1."""
    half, constant = np.float32(0.5), np.float32(0.5 * math.log(2.0 * math.pi)) * np.float32(action.shape[2])
    for n in range(first, last):
        for b in range(gain.shape[1]):
            ratio = -old_logp[n, b] - constant
            for a in range(action.shape[2]):
                z = (action[n, b, a] - mean[n, b, a]) * np.exp(-log_std[n, a])
                ratio -= half * z * z + log_std[n, a]
            wins = advantage[n, b] >= np.float32(0.0)
            least, most = np.float32(-MAX_LOG_RATIO) if wins else low, high if wins else np.float32(MAX_LOG_RATIO)
            inside = not (ratio < least or ratio > most)  # what is not a number stays so
            cut = ratio if inside else (least if ratio < least else most)
            gain[n, b] = advantage[n, b] * np.exp(cut)
            slope[n, b] = gain[n, b] if inside else np.float32(0.0)


@kernel(**FAST)
def _gradients(by_logp, mean, log_std, action, by_mean, by_log_std, first, last):  # type: ignore[no-untyped-def]
    """Of log-probabilities with gradient by_logp [N, B]: by_mean [N, B, A], and by_log_std [N, A], zeros before."""
    for n in range(first, last):
        for b in range(by_logp.shape[1]):
            for a in range(action.shape[2]):
                precision = np.exp(-log_std[n, a])
                z = (action[n, b, a] - mean[n, b, a]) * precision
                by_mean[n, b, a] = by_logp[n, b] * z * precision
                by_log_std[n, a] += by_logp[n, b] * (z * z - np.float32(1.0))


class _Gain(torch.autograd.Function):
    """Means [N, B, A], log standard deviations [N, A], actions, log-probabilities and advantages -> gains [N, B]."""

    @staticmethod
    def forward(ctx: Any, *given: Any) -> Tensor:
        *tensors, low, high = given
        mean, log_std, action, old_logp, advantage = (x.detach().contiguous() for x in tensors)
        gain, slope = torch.empty((2, *advantage.shape))
        known = (x.numpy() for x in (mean, log_std, action, old_logp, advantage))
        by_rows(_gain, len(mean), *known, np.float32(low), np.float32(high), gain.numpy(), slope.numpy())
        ctx.save_for_backward(mean, log_std, action, slope)
        return gain

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        mean, log_std, action, slope = ctx.saved_tensors
        by_mean, by_log_std = torch.empty_like(mean), torch.zeros_like(log_std)
        arrays = (x.numpy() for x in (gradients[0] * slope, mean, log_std, action, by_mean, by_log_std))
        by_rows(_gradients, len(mean), *arrays)
        return by_mean, by_log_std, *[None] * 5
