"""Gaussian actions squashed into [-1, 1] by tanh: the policies of SAC (Haarnoja et al. 2018, arXiv:1812.05905, app. C).

Shapes: B rows, N agents, A numbers per action.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from market.rl.networks.stacked import AgentGaussian, JointGaussian

LARGEST_ACTION = 1.0 - 1e-6
"""Actions are cut at this size before tanh is undone, since float32 rounds tanh(9) to 1."""


class SquashedGaussian(AgentGaussian):
    """tanh of independent Gaussian actions; log-probabilities are per agent, [B, N].

    `mean` and `log_std` are those of the Gaussian, before tanh. Divergences are those of the Gaussians too, since tanh
    is a bijection.
    """

    def most_likely(self) -> Tensor:
        """tanh(mean), the median: what SAC plays when it does not explore."""
        return torch.tanh(self.mean)

    def logp(self, value: Tensor, **kwargs: Any) -> Tensor:
        return self._logp_before_tanh(torch.atanh(value.clamp(-LARGEST_ACTION, LARGEST_ACTION)))

    def entropy(self, **kwargs: Any) -> Tensor:
        raise ValueError(
            "entropy: got a squashed Gaussian, whose entropy has no closed form; allowed: -logp of samples"
        )

    def rsample(self, *, sample_shape: Any = None, return_logp: bool = False, **kwargs: Any) -> Any:
        """Log-probabilities are those of the sample before tanh, and finite however large it is."""
        value = super().rsample(sample_shape=sample_shape)
        return (torch.tanh(value), self._logp_before_tanh(value)) if return_logp else torch.tanh(value)

    def _logp_before_tanh(self, value: Tensor) -> Tensor:
        """log p(tanh(value)), with log(1 - tanh(x)^2) = 2 (log 2 - x - softplus(-2x)), which does not cancel."""
        slope = 2.0 * (math.log(2.0) - value - functional.softplus(-2.0 * value))
        return super().logp(value) - self._over_agents(slope.sum(-1))


class JointSquashedGaussian(SquashedGaussian, JointGaussian):
    """The same actions seen as one joint action: log-probabilities are [B]."""
