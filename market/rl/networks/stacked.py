"""Layers and networks of a whole population, and what plays with them. Nothing here needs RLlib.

Shapes: B rows (a step of an episode each), N agents, V owners of critics (1 or N), `in`/`out` features, A numbers per
action.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial
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
ODD = tuple(map(np.float32, (
    -2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08,
    1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03,
)))  # fmt: skip
EVEN = tuple(map(np.float32, (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)))
"""tanh x is nearly x P(x^2) / Q(x^2): the minimax coefficients of P and Q, highest power first, that Eigen uses
(Eigen/src/Core/MathFunctionsImpl.h, generic_fast_tanh_float)."""


@kernel(error_model="numpy", fastmath={"contract", "arcp"})
def _tanh(x):  # type: ignore[no-untyped-def]
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
        return torch.ops.aten.tanh_backward(gradients[0], y)


class Tanh(nn.Module):
    """tanh, written over its input: use it on the output of a layer."""

    def forward(self, x: Tensor) -> Tensor:
        return _Tanh.apply(x)  # type: ignore[no-untyped-call]


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

    def linear(self, agent: int) -> nn.Linear:
        """A copy of one agent's layer."""
        _, fan_in, fan_out = self.weight.shape
        layer = nn.Linear(fan_in, fan_out, device="meta")
        layer.weight = nn.Parameter(self.weight[agent].detach().T.clone())
        layer.bias = nn.Parameter(self.bias[agent, 0].detach().clone())
        return layer


def chain(linear: Callable[[int, int], nn.Module], widths: Sequence[int], activation: str) -> nn.Sequential:
    """Linear layers from width to width, with an activation between two of them."""
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        layers += [linear(fan_in, fan_out), ACTIVATIONS[activation]()]
    return nn.Sequential(*layers[:-1])


class StackedMLP(nn.Module):
    """N separate networks, each on its own agent's features: [B, N, in] -> [B, N, out]."""

    def __init__(self, num_agents: int, widths: Sequence[int], activation: str) -> None:
        super().__init__()
        self.num_agents = num_agents
        self.layers = chain(partial(StackedLinear, num_agents), widths, activation)

    def agent(self, agent: int) -> nn.Sequential:
        """A copy of one agent's network: [B, in] -> [B, out]."""
        own = (layer.linear(agent) if isinstance(layer, StackedLinear) else layer for layer in self.layers)
        return nn.Sequential(*own)

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.transpose(0, 1)).transpose(0, 1)


class CentralMLP(nn.Module):
    """One network on the features of all agents: [B, N, in] -> [B, heads, out]."""

    def __init__(self, num_agents: int, widths: Sequence[int], activation: str, heads: int) -> None:
        super().__init__()
        self.layers = chain(nn.Linear, (num_agents * widths[0], *widths[1:-1], heads * widths[-1]), activation)
        self.heads = heads

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x.flatten(1)).unflatten(1, (self.heads, -1))


@torch.no_grad()
def orthogonal_(layers: nn.Sequential, last_gain: float) -> None:
    """Orthogonal weights and zero biases, in place; gain sqrt 2, and `last_gain` in the last layer.

    Each owner has matrices of its own. Saxe et al. 2014, arXiv:1312.6120; gains of Andrychowicz et al. 2021,
    arXiv:2006.05990.
    """
    linear = [layer for layer in layers if isinstance(layer, StackedLinear | nn.Linear)]
    for layer in linear:
        weight = layer.weight
        drawn = torch.randn(*weight.shape[:-2], max(weight.shape[-2:]), min(weight.shape[-2:]), device=weight.device)
        q, r = torch.linalg.qr(drawn)
        q = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)  # uniform over all orthogonal matrices
        gain = last_gain if layer is linear[-1] else math.sqrt(2.0)
        weight.copy_(gain * (q if q.shape == weight.shape else q.transpose(-2, -1)))
        layer.bias.zero_()


class LogStd(Stacked):
    """Logarithms of the standard deviations of N separate actors, [N, A], which no observation moves."""

    def __init__(self, log_std: Tensor) -> None:
        super().__init__(len(log_std))
        self.log_std = nn.Parameter(log_std)


class GaussianActor(nn.Module):
    """Means from a network, and standard deviations that do not depend on what is observed.

    [B, N, in] -> means, then log standard deviations [B, N, 2 A]. log_std: at the start, [N, A].
    """

    def __init__(self, network: nn.Module, log_std: Tensor) -> None:
        super().__init__()
        self.network = network
        separate = isinstance(network, StackedMLP)
        self.spread: Any = LogStd(log_std) if separate else nn.ParameterDict({"log_std": log_std})

    def agent(self, agent: int) -> GaussianActor:
        """A copy of one of separate actors: [B, in] -> [B, 2 A]."""
        return GaussianActor(self.network.agent(agent), self.spread.log_std[agent].detach().clone())  # type: ignore[operator]

    def forward(self, x: Tensor) -> Tensor:
        mean: Tensor = self.network(x)
        return torch.cat((mean, self.spread.log_std.expand_as(mean)), -1)


class SplitLinear(Stacked):
    """Twin `nn.Linear` layers on an observation and an action side by side, with the weights of the two kept apart.

    What an observation adds is then computed once for several actions.
    """

    def __init__(self, owners: int, obs: int, act: int, out: int) -> None:
        super().__init__(owners)
        count = 2 * owners
        bound = (obs + act) ** -0.5  # as nn.Linear initialises
        self.observation_weight = nn.Parameter(torch.empty(count, obs, out).uniform_(-bound, bound))
        self.action_weight = nn.Parameter(torch.empty(count, act, out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(count, 1, out).uniform_(-bound, bound))

    def observe(self, observation: Tensor) -> Tensor:
        """[N, B, obs] -> [N, B, out], without the action's part."""
        return torch.baddbmm(self.bias, observation, self.observation_weight)

    def act(self, observed: Tensor, action: Tensor) -> Tensor:
        """What `observe` gave, and [N, B, act] -> [N, B, out]."""
        return torch.baddbmm(observed, action, self.action_weight)


class TwinCritic(nn.Module):
    """Two action values for each of V owners: of each agent from its own observation and action, or of the community.

    The twins are one stack of 2 V networks, the first twins before the second. shape: agents, numbers per observation
    and per action.
    """

    def __init__(self, shape: tuple[int, int, int], hidden: tuple[int, ...], activation: str, central: bool) -> None:
        super().__init__()
        agents, obs, act = shape
        self.owners = 1 if central else agents
        read = agents // self.owners
        self.first = SplitLinear(self.owners, read * obs, read * act, hidden[0])
        rest = chain(partial(StackedLinear, self.owners, copies=2), (*hidden, 1), activation)
        self.rest = nn.Sequential(ACTIVATIONS[activation](), *rest)

    def _for_twins(self, x: Tensor) -> Tensor:
        """[B, N, in] -> [2 V, B, N in / V]."""
        own = x.reshape(len(x), self.owners, -1).transpose(0, 1)
        return own.expand(2, *own.shape).reshape(-1, *own.shape[1:])

    def observe(self, observation: Tensor) -> Tensor:
        """[B, N, obs] -> the observations' part of the first layer, [2 V, B, hidden]."""
        return self.first.observe(self._for_twins(observation))

    def value(self, observed: Tensor, action: Tensor) -> Tensor:
        """What `observe` gave, and actions [B, N, act] -> action values [2, B, V]."""
        out: Tensor = self.rest(self.first.act(observed, self._for_twins(action)))
        return out.reshape(2, self.owners, -1).transpose(1, 2)

    def both(self, observation: Tensor, action: Tensor) -> Tensor:
        """Observations [B, N, obs] and actions [B, N, act] -> action values [2, B, V]."""
        return self.value(self.observe(observation), action)


class Temperature(Stacked):
    """The weights of the entropy in the objective, in logarithms: one row for each of N agents."""

    def __init__(self, count: int, initial: float) -> None:
        super().__init__(count)
        self.log_alpha = nn.Parameter(torch.full((count, 1), math.log(initial)))


class Actor(NamedTuple):
    """What plays a population: it needs torch alone, and can be pickled.

    network: observations [B, N, in] -> parameters of the agents' actions [B, N, 2 A].
    distribution: of the actions.
    """

    network: nn.Module
    distribution: type[AgentGaussian]

    def logits(self, observation: NDArray[np.float32]) -> Tensor:
        """Observations [B, N, in] -> the distribution's parameters [B, N, 2 A], on the network's device."""
        device = next(self.network.parameters()).device
        return self.network(torch.as_tensor(observation, dtype=torch.float32, device=device))
