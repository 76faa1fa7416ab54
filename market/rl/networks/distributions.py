"""Distributions of a population's actions: Gaussian, and Gaussian squashed by tanh. Nothing here needs RLlib.

Shapes: B rows, N agents, A numbers per action. Log-probabilities, entropies and divergences are [B, N], one per agent.
"""

from __future__ import annotations

import math
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

LOG_STD_RANGE = (-5.0, 2.0)
"""Bounds of the logarithm of a standard deviation: outside, densities overflow long before a policy profits."""

LARGEST_ACTION = 1.0 - 1e-6
"""Actions are cut at this size before tanh is undone, since float32 rounds tanh(9) to 1."""


class AgentGaussian:
    """Independent Gaussian actions of the N agents.

    mean: [B, N, A].
    log_std: logarithms of the standard deviations, [B, N, A], or [N, A] for all rows.
    """

    def __init__(self, mean: Tensor, log_std: Tensor) -> None:
        self.mean, self.log_std = mean, log_std

    @classmethod
    def from_logits(cls, logits: Tensor) -> Self:
        """From means and then log standard deviations, [B, N, 2 A]."""
        return cls.bounded(*logits.chunk(2, dim=-1))

    @classmethod
    def bounded(cls, mean: Tensor, log_std: Tensor) -> Self:
        """With log standard deviations that are cut to `LOG_STD_RANGE`."""
        return cls(mean, log_std.clamp(*LOG_STD_RANGE))

    def most_likely(self) -> Tensor:
        """The action that is played without exploration, [B, N, A]."""
        return self.mean

    def draw(self) -> Tensor:
        """Actions [B, N, A]."""
        return self.mean + self.log_std.exp() * torch.randn(*self.mean.shape, device=self.mean.device)

    def logp(self, value: Tensor) -> Tensor:
        """Log-probabilities of actions [B, N, A]."""
        scaled = (value - self.mean) * torch.exp(-self.log_std)
        constant = 0.5 * math.log(2.0 * math.pi) * value.shape[-1]
        return -0.5 * scaled.square().sum(-1) - (self.log_std.sum(-1) + constant)

    def entropy(self) -> Tensor:
        """[B, N], or [N] where all rows have the same standard deviations."""
        constant = 0.5 * math.log(2.0 * math.pi * math.e) * self.mean.shape[-1]
        return self.log_std.sum(-1) + constant

    def kl(self, other: AgentGaussian) -> Tensor:
        """KL divergence from self to other."""
        precision = torch.exp(-2.0 * other.log_std)
        spread = torch.exp(2.0 * self.log_std) + (self.mean - other.mean).square()
        return (other.log_std - self.log_std + 0.5 * (spread * precision - 1.0)).sum(-1)


class SquashedGaussian(AgentGaussian):
    """tanh of independent Gaussian actions: the policies of SAC (Haarnoja et al. 2018, arXiv:1812.05905, app. C).

    mean, log_std: of the Gaussian, before tanh. Divergences are those of the Gaussians too: tanh is a bijection.
    """

    def most_likely(self) -> Tensor:
        """tanh(mean), the median: what SAC plays when it does not explore."""
        return torch.tanh(self.mean)

    def draw(self) -> Tensor:
        return torch.tanh(super().draw())

    def sample(self) -> tuple[Tensor, Tensor]:
        """Actions [B, N, A], through which gradients flow, and their log-probabilities [B, N].

        The latter are computed before tanh, and finite however large the sample is.
        """
        noise = torch.randn(self.mean.shape, device=self.mean.device)
        value = self.mean + self.log_std.exp() * noise
        return torch.tanh(value), self._squashed(-0.5 * noise.square() - self.log_std, value)

    def logp(self, value: Tensor) -> Tensor:
        value = torch.atanh(value.clamp(-LARGEST_ACTION, LARGEST_ACTION))
        scaled = (value - self.mean) * torch.exp(-self.log_std)
        return self._squashed(-0.5 * scaled.square() - self.log_std, value)

    def entropy(self) -> Tensor:
        raise ValueError("entropy: got a squashed Gaussian, without a closed form; allowed: -logp of samples")

    def _squashed(self, exponent: Tensor, value: Tensor) -> Tensor:
        """log p(tanh(value)), with log(1 - tanh(x)^2) = 2 (log 2 - x - softplus(-2x)), which does not cancel.

        exponent: of the Gaussian's density, [B, N, A], without its constant.
        """
        constant = (0.5 * math.log(2.0 * math.pi) + 2.0 * math.log(2.0)) * value.shape[-1]
        return (exponent + 2.0 * (value + functional.softplus(-2.0 * value))).sum(-1) - constant
