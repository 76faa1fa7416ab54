"""Networks of a whole population, and the distributions of its actions.

Shapes: B rows (a step of an episode each), N agents, `in`/`out` features, A numbers per action.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Self

import gymnasium as gym
import torch
from ray.rllib.core.distribution.distribution import Distribution
from torch import Tensor, nn

from market.rl.networks.activations import ACTIVATIONS

LOG_STD_RANGE = (-5.0, 2.0)
"""Bounds of the logarithm of a standard deviation: outside, densities overflow long before a policy profits."""


class Stacked(nn.Module):
    """A layer whose parameters are stacked, [K N, ...]: N owners have K rows each, all first rows before all second."""

    def __init__(self, owners: int) -> None:
        super().__init__()
        self.owners = owners


class StackedLinear(Stacked):
    """N separate `nn.Linear` layers in one batched product: [N, B, in] -> [N, B, out]."""

    def __init__(self, num_agents: int, fan_in: int, fan_out: int, copies: int = 1) -> None:
        super().__init__(num_agents)
        num_agents *= copies
        bound = fan_in**-0.5  # as nn.Linear initialises
        self.weight = nn.Parameter(torch.empty(num_agents, fan_in, fan_out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(num_agents, 1, fan_out).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        return torch.baddbmm(self.bias, x, self.weight)


class StackedMLP(nn.Module):
    """N separate networks, each on its own agent's features: [B, N, in] -> [B, N, out]."""

    def __init__(self, num_agents: int, widths: Sequence[int], activation: str) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(widths):
            layers += [StackedLinear(num_agents, fan_in, fan_out), ACTIVATIONS[activation]()]
        self.layers = nn.Sequential(*layers[:-1])

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x.transpose(0, 1)).transpose(0, 1)
        return out


class CentralMLP(nn.Module):
    """One network on the features of all agents: [B, N, in] -> [B, heads, out]."""

    def __init__(self, num_agents: int, widths: Sequence[int], activation: str, heads: int) -> None:
        super().__init__()
        sizes = [num_agents * widths[0], *widths[1:-1], heads * widths[-1]]
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(sizes):
            layers += [nn.Linear(fan_in, fan_out), ACTIVATIONS[activation]()]
        self.layers = nn.Sequential(*layers[:-1])
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layers(x.flatten(1)).unflatten(1, (self.heads, -1))
        return out


class AgentGaussian(Distribution):
    """Independent Gaussian actions of the N agents: logits [B, N, 2A] hold means, then log standard deviations.

    Log-probabilities, entropies and divergences are per agent, [B, N].
    """

    def __init__(self, mean: Tensor, log_std: Tensor) -> None:
        self.mean, self.log_std = mean, log_std

    @classmethod
    def from_logits(cls, logits: Tensor, **kwargs: Any) -> Self:
        mean, log_std = logits.chunk(2, dim=-1)
        return cls(mean, log_std.clamp(*LOG_STD_RANGE))

    @staticmethod
    def required_input_dim(space: gym.Space[Any], **kwargs: Any) -> int:
        assert space.shape is not None
        return 2 * math.prod(space.shape)

    def logp(self, value: Tensor, **kwargs: Any) -> Tensor:
        scaled = (value - self.mean) * torch.exp(-self.log_std)
        constant = 0.5 * math.log(2.0 * math.pi) * value.shape[-1]
        return self._over_agents((-0.5 * scaled.square() - self.log_std).sum(-1) - constant)

    def most_likely(self) -> Tensor:
        """The action that is played without exploration, [B, N, A]."""
        return self.mean

    def entropy(self, **kwargs: Any) -> Tensor:
        constant = 0.5 * math.log(2.0 * math.pi * math.e) * self.mean.shape[-1]
        return self._over_agents(self.log_std.sum(-1) + constant)

    def kl(self, other: Distribution, **kwargs: Any) -> Tensor:
        """KL divergence from self to other."""
        assert isinstance(other, AgentGaussian)
        precision = torch.exp(-2.0 * other.log_std)
        spread = torch.exp(2.0 * self.log_std) + (self.mean - other.mean).square()
        return self._over_agents((other.log_std - self.log_std + 0.5 * (spread * precision - 1.0)).sum(-1))

    def rsample(self, *, sample_shape: Any = None, return_logp: bool = False, **kwargs: Any) -> Any:
        noise = torch.randn(*(sample_shape or ()), *self.mean.shape, device=self.mean.device)
        value = self.mean + self.log_std.exp() * noise
        return (value, self.logp(value)) if return_logp else value

    def sample(self, *, sample_shape: Any = None, return_logp: bool = False, **kwargs: Any) -> Any:
        with torch.no_grad():
            return self.rsample(sample_shape=sample_shape, return_logp=return_logp)

    def _over_agents(self, x: Tensor) -> Tensor:
        return x


class JointGaussian(AgentGaussian):
    """The same actions seen as one joint action: log-probabilities, entropies and divergences are [B]."""

    def _over_agents(self, x: Tensor) -> Tensor:
        return x.sum(-1)
