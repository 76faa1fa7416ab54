"""Layers and networks of a whole population, and what plays with them. Nothing here needs RLlib.

Shapes: B rows (a step of an episode each), N agents, `in`/`out` features, A numbers per action.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from market.rl.networks.distributions import AgentGaussian
from market.support.kernels import kernel

TANH_LIMIT = np.float32(7.90531110763549805)
"""From here on tanh is one, in single precision."""
ODD = tuple(
    np.float32(c)
    for c in (
        -2.76076847742355e-16,
        2.00018790482477e-13,
        -8.60467152213735e-11,
        5.12229709037114e-08,
        1.48572235717979e-05,
        6.37261928875436e-04,
        4.89352455891786e-03,
    )
)
EVEN = tuple(
    np.float32(c) for c in (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)
)
"""tanh x is nearly x P(x^2) / Q(x^2): the minimax coefficients of P and Q, highest power first, that Eigen uses
(Eigen/src/Core/MathFunctionsImpl.h, generic_fast_tanh_float)."""


@kernel(error_model="numpy", fastmath={"contract", "arcp"})
def _tanh(x: NDArray[np.float32]) -> None:
    """x becomes tanh x, [n], within 3e-7; written so that the compiler can use vector instructions."""
    for i in range(x.size):
        v = min(max(x[i], -TANH_LIMIT), TANH_LIMIT)
        v = x[i] if x[i] != x[i] else v  # not a number stays so
        s = v * v
        p = (((((ODD[0] * s + ODD[1]) * s + ODD[2]) * s + ODD[3]) * s + ODD[4]) * s + ODD[5]) * s + ODD[6]
        q = ((EVEN[0] * s + EVEN[1]) * s + EVEN[2]) * s + EVEN[3]
        x[i] = v * p / q


def tanh_(x: Tensor) -> Tensor:
    """tanh in place; on a CPU, in single precision, at a fraction of the time of torch's."""
    if x.device.type == "cpu" and x.dtype == torch.float32 and x.is_contiguous():
        _tanh(x.detach().view(-1).numpy())
        return x
    return x.tanh_()


class _Tanh(torch.autograd.Function):
    """`tanh_` with its derivative, 1 - tanh^2."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.mark_dirty(x)
        tanh_(x)
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        derivative: Tensor = torch.ops.aten.tanh_backward(gradients[0], y)
        return derivative


class Tanh(nn.Module):
    """tanh, written over its input: use it on the output of a layer."""

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = _Tanh.apply(x)  # type: ignore[no-untyped-call]
        return out


ACTIVATIONS: dict[str, type[nn.Module]] = {"tanh": Tanh, "relu": nn.ReLU}
"""Activation functions, by the names that hyperparameters use."""


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


class Actor(NamedTuple):
    """What plays a population: it needs torch alone, and can be pickled.

    network: observations [B, N, in] -> parameters of the agents' actions [B, N, 2 A].
    distribution: of the actions.
    """

    network: StackedMLP | CentralMLP
    distribution: type[AgentGaussian]

    def logits(self, observation: NDArray[np.float32]) -> Tensor:
        """Observations [B, N, in] -> the distribution's parameters [B, N, 2 A], on the network's device."""
        device = next(self.network.parameters()).device
        out: Tensor = self.network(torch.as_tensor(observation, dtype=torch.float32, device=device))
        return out
