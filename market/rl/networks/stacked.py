"""Layers and networks of a whole population, and what plays with them. Nothing here needs RLlib.

Shapes: B rows (a step of an episode each), N agents, V owners of critics (1 or N), `in`/`out` features, A numbers per
action.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, NamedTuple, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from market.rl.networks.compiled import RELU, TANH, Shape, StackFunction, compilable, forward
from market.rl.networks.distributions import AgentGaussian, SquashedGaussian

Widths = Sequence[int]
NOTHING = torch.empty(0, 0, 0)
ACTIVATIONS: dict[str, tuple[int, Callable[[Tensor], Tensor]]] = {
    "tanh": (TANH, torch.tanh),
    "relu": (RELU, torch.relu),
}
"""Activation functions, compiled and torch's, by the names that hyperparameters use."""


class Stack(nn.Module):
    """R networks of one shape, each on inputs of its own: [X, B, in] -> [R, B, out]; network r reads inputs r modulo X.

    flat: the parameters, a row for each network: weight [in, out] and bias [out] of each layer in turn, [R, P].
    compiled: on a CPU, in single precision, take the kernels of `compiled.py`, which are several times as fast.
    """

    compiled = True

    def __init__(self, flat: Tensor, widths: Widths, activation: str) -> None:
        super().__init__()
        self.widths, self.activation = tuple(widths), activation
        self.shape = Shape(np.array(widths, np.int64), sum(widths[1:-1]), widths[-1], ACTIVATIONS[activation][0])
        self.flat = nn.Parameter(flat)

    @classmethod
    def drawn(cls, count: int, widths: Widths, activation: str) -> Self:
        """`count` networks, initialised as nn.Linear does it."""
        stack = cls(torch.empty(count, sum((n + 1) * m for n, m in pairwise(widths))), widths, activation)
        with torch.no_grad():
            for weight, bias in stack.layers():
                bound = weight.shape[1] ** -0.5
                for values in (weight, bias):
                    values.copy_(torch.empty(values.shape).uniform_(-bound, bound))
        return stack

    def layers(self) -> list[tuple[Tensor, Tensor]]:
        """Weight [R, in, out] and bias [R, 1, out] of each layer: views of `flat`."""
        shapes = list(pairwise(self.widths))
        parts = iter(torch.split(self.flat, [size for n, m in shapes for size in (n * m, m)], dim=1))
        return [(next(parts).view(-1, n, m), next(parts).unsqueeze(1)) for n, m in shapes]

    def forward(self, x: Tensor, more: Tensor = NOTHING) -> Tensor:
        """more: further inputs [X, B, ..] behind those of x, whose own gradient then takes the slower way of torch."""
        alone = len(self.flat) == 1 and torch.get_num_threads() > 1  # then torch's threads share out each product
        both = x.requires_grad and more.shape[2] > 0
        if alone or both or not self.compiled or not compilable(x, self.flat):
            return self.plain(x, more)
        if torch.is_grad_enabled():
            return StackFunction.apply(x, more, self.flat, self.shape)  # type: ignore[no-untyped-call]
        return forward(x, more, self.flat, self.shape)[0]

    def plain(self, x: Tensor, more: Tensor = NOTHING) -> Tensor:
        """The same in torch alone, for other devices."""
        copies = len(self.flat) // len(x)
        x, more = (part.expand(copies, *part.shape).flatten(0, 1) for part in (x, more))  # no copies where copies is 1
        *hidden, (weight, bias) = self.layers()
        if more.shape[2]:
            inner, shift = hidden[0]
            hidden[0] = inner[:, : x.shape[2]], torch.baddbmm(shift, more, inner[:, x.shape[2] :])
        for inner, shift in hidden:
            x = ACTIVATIONS[self.activation][1](torch.baddbmm(shift, x, inner))
        return torch.baddbmm(bias, x, weight)


class Stacked(nn.Module):
    """A layer whose parameters are stacked, [K N, ...]: N owners have K rows each, all first rows before all second."""

    def __init__(self, owners: int) -> None:
        super().__init__()
        self.owners = owners


class StackedMLP(Stacked):
    """N separate networks, each on its own agent's features: [B, N, in] -> [B, N, out]."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(len(stack.flat))
        self.stack = stack

    def forward(self, x: Tensor) -> Tensor:
        return self.stack(x.transpose(0, 1)).transpose(0, 1)


class CentralMLP(nn.Module):
    """One network on the features of all agents: [B, N, in] -> [B, heads, out].

    stack: of one network, [1, B, N in] -> [1, B, heads out].
    """

    def __init__(self, stack: Stack, heads: int) -> None:
        super().__init__()
        self.stack, self.heads = stack, heads

    def forward(self, x: Tensor) -> Tensor:
        return self.stack(x.flatten(1).unsqueeze(0)).reshape(len(x), self.heads, -1)


def population_mlp(shape: Widths, out: int, hidden: Widths, activation: str, heads: int = 0) -> CentralMLP | StackedMLP:
    """On observations of `shape` [N, obs]: one network with so many heads, or, with 0, a network for each agent."""
    agents, obs = shape
    if heads:
        return CentralMLP(Stack.drawn(1, (agents * obs, *hidden, heads * out), activation), heads)
    return StackedMLP(Stack.drawn(agents, (obs, *hidden, out), activation))


@torch.no_grad()
def orthogonal_(stack: Stack, last_gain: float) -> None:
    """Orthogonal weights and zero biases, in place; gain sqrt 2, and `last_gain` in the last layer.

    Each network has matrices of its own. Saxe et al. 2014, arXiv:1312.6120; gains of Andrychowicz et al. 2021,
    arXiv:2006.05990.
    """
    *hidden, last = stack.layers()
    for (weight, bias), gain in (*((layer, math.sqrt(2.0)) for layer in hidden), (last, last_gain)):
        drawn = torch.randn(len(weight), max(weight.shape[1:]), min(weight.shape[1:]), device=weight.device)
        q, r = torch.linalg.qr(drawn)
        q = q * r.diagonal(dim1=-2, dim2=-1).sign().unsqueeze(-2)  # uniform over all orthogonal matrices
        weight.copy_(gain * (q if q.shape == weight.shape else q.transpose(-2, -1)))
        bias.zero_()


class Rows(Stacked):
    """A parameter by the name `name`, a row for each of N agents: standard deviations, temperatures."""

    def __init__(self, name: str, rows: Tensor) -> None:
        super().__init__(len(rows))
        self.register_parameter(name, nn.Parameter(rows))


class GaussianActor(nn.Module):
    """Means from a network, and standard deviations that do not depend on what is observed.

    [B, N, in] -> means, then log standard deviations [B, N, 2 A]. log_std: at the start, [N, A].
    """

    def __init__(self, network: StackedMLP | CentralMLP, log_std: Tensor) -> None:
        super().__init__()
        self.network = network
        separate = isinstance(network, StackedMLP)
        self.spread: Any = Rows("log_std", log_std) if separate else nn.ParameterDict({"log_std": log_std})

    def apart(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Means [B, N, A] and log standard deviations [N, A], to be taken for every row."""
        return self.network(x), self.spread.log_std

    def forward(self, x: Tensor) -> Tensor:
        mean, log_std = self.apart(x)
        return torch.cat((mean, log_std.expand_as(mean)), -1)


class TwinCritic(Stacked):
    """Two action values for each of V owners: of each agent from its own observation and action, or of the community.

    Observations [B, N, obs] and actions [B, N, act] -> action values [2, B, V]. The twins are one stack of 2 V
    networks, the first twins before the second. shape: agents, numbers per observation and per action.
    """

    def __init__(self, shape: tuple[int, int, int], hidden: tuple[int, ...], activation: str, central: bool) -> None:
        agents, obs, act = shape
        super().__init__(1 if central else agents)
        read = agents // self.owners
        self.twins = Stack.drawn(2 * self.owners, (read * (obs + act), *hidden, 1), activation)

    def forward(self, observation: Tensor, action: Tensor) -> Tensor:
        own = [x.reshape(len(x), self.owners, -1).transpose(0, 1) for x in (observation, action)]
        return self.twins(*own).view(2, self.owners, -1).transpose(1, 2)


class Actor(NamedTuple):
    """What plays a population: it needs torch alone, and can be pickled.

    network: observations [B, N, in] -> parameters of the agents' actions [B, N, 2 A].
    distribution: of the actions.
    """

    network: nn.Module
    distribution: type[AgentGaussian]

    @classmethod
    def drawn(
        cls, shape: Widths, joint: bool, hidden: Widths, activation: str, initial_std: float, squashed: bool
    ) -> Self:
        """A new one, initialised as Andrychowicz et al. 2021, arXiv:2006.05990, recommend.

        shape: agents, numbers per observation and per action.
        joint: one network for all agents, instead of one each.
        hidden, activation, initial_std: as in `market.rl.Hyperparameters`.
        squashed: actions are squashed by tanh, and standard deviations depend on the observation.
        """
        agents, obs, act = shape
        log_std = torch.full((agents, act), math.log(initial_std))
        network = population_mlp((agents, obs), (1 + squashed) * act, hidden, activation, agents if joint else 0)
        if squashed:
            network.stack.layers()[-1][1].data.view(agents, -1)[:, act:] += log_std
            return cls(network, SquashedGaussian)
        orthogonal_(network.stack, last_gain=0.01)
        return cls(GaussianActor(network, log_std), AgentGaussian)

    def logits(self, observation: NDArray[np.float32]) -> Tensor:
        """Observations [B, N, in] -> the distribution's parameters [B, N, 2 A], on the network's device."""
        device = next(self.network.parameters()).device
        return self.network(torch.as_tensor(observation, dtype=torch.float32, device=device))
