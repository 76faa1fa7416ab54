"""Gradient clipping by norm with an agent axis, and what happens to gradients that are not finite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from market.rl.networks import StackedLinear


@dataclass(frozen=True)
class Group:
    """Parameters that are clipped together: stacked ones [N, ...] for each agent apart, central ones as a whole."""

    parameters: tuple[nn.Parameter, ...]
    stacked: bool

    def norms(self) -> Tensor:
        """Norm over all gradients of the group, [N] if stacked, else [1]."""
        gradients = [p.grad for p in self.parameters if p.grad is not None]
        norms = [torch.linalg.vector_norm(g, dim=tuple(range(1 if self.stacked else 0, g.dim()))) for g in gradients]
        return torch.stack(norms).square().sum(0).sqrt().reshape(-1)


def _over(values: Tensor, x: Tensor) -> Tensor:
    """`values` [N] or [1] shaped to broadcast over x [N, ...] or [...]."""
    return values.view(-1, *[1] * (x.dim() - 1))


class GradientClipper:
    """Clips the gradients of a module by norm: per agent in its `StackedLinear` layers, jointly in all others.

    An agent (or the central networks) whose gradient is not finite sits the step out: its gradient is zeroed, and
    inside `guard` its parameters and Adam's moments stay as they were.
    """

    def __init__(self, module: nn.Module, limit: float) -> None:
        layers = [layer for layer in module.modules() if isinstance(layer, StackedLinear)]
        stacked = [p for layer in layers for p in layer.parameters()]
        taken = {id(p) for p in stacked}
        central = [p for p in module.parameters() if id(p) not in taken]
        self.groups = [Group(tuple(ps), own) for ps, own in ((stacked, True), (central, False)) if ps]
        self.limit = limit
        self._broken: list[tuple[Group, Tensor]] = []

    @torch.no_grad()
    def clip(self) -> int:
        """Clip in place. Returns how many agents (or central networks) have a gradient that is not finite."""
        self._broken = []
        for group in self.groups:
            norms = group.norms()
            finite = norms.isfinite()
            scale = self.limit / (norms + 1e-6).clamp(min=self.limit)
            if not finite.all():
                self._broken.append((group, ~finite))
                scale[~finite] = 1.0
            for p in group.parameters:
                if p.grad is not None:
                    if not finite.all():
                        p.grad.masked_fill_(_over(~finite, p.grad), 0.0)
                    p.grad.mul_(_over(scale, p.grad))
        return sum(int(broken.sum()) for _, broken in self._broken)

    @contextmanager
    def guard(self, optimizer: torch.optim.Optimizer) -> Iterator[None]:
        """Around the optimiser's step: what has no finite gradient does not move."""
        kept = []
        for group, broken in self._broken:
            for p in group.parameters:
                moments = [m for m in optimizer.state[p].values() if m.shape == p.shape] if p in optimizer.state else []
                kept += [(x, _over(broken, x), x.clone()) for x in (p.data, *moments)]
        yield
        for x, broken, before in kept:
            x.copy_(torch.where(broken, before, x))
