"""Gradient clipping by norm with an agent axis, and what happens to gradients that are not finite."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from market.rl.networks.stacked import Stacked


@dataclass(frozen=True)
class Group:
    """Parameters that are clipped together: stacked ones [K N, ...] for each row apart, others as a whole.

    owners: number of agents N whose rows these are, K times over (twins follow each other), or 1: the community.
    """

    parameters: tuple[nn.Parameter, ...]
    stacked: bool
    owners: int

    def gradients(self) -> list[Tensor]:
        return [p.grad for p in self.parameters if p.grad is not None]

    def norms(self) -> Tensor:
        """Norm over all gradients of the group, [K N] if stacked, else [1]."""
        first = 1 if self.stacked else 0
        norms = [torch.linalg.vector_norm(g, dim=tuple(range(first, g.dim()))) for g in self.gradients()]
        return torch.stack(norms).square().sum(0).sqrt().reshape(-1)


def _over(values: Tensor, x: Tensor) -> Tensor:
    """`values` [rows] or [1] shaped to broadcast over x [rows, ...] or [...]."""
    return values.view(-1, *[1] * (x.dim() - 1))


class GradientClipper:
    """Clips the gradients of each of `parts` by norm: per row in its `Stacked` layers, jointly in all others.

    An agent (or the central networks) whose gradient is not finite sits the step out: its gradient is zeroed, and
    inside `guard` its parameters and Adam's moments stay as they were.
    """

    def __init__(self, *parts: nn.Module, limit: float) -> None:
        self.groups: list[Group] = []
        for part in parts:
            layers = [layer for layer in part.modules() if isinstance(layer, Stacked)]
            stacked = [p for layer in layers for p in layer.parameters()]
            taken = {id(p) for p in stacked}
            central = [p for p in part.parameters() if id(p) not in taken]
            owners = layers[0].owners if layers else 1
            self.groups += [
                Group(tuple(ps), own, n) for ps, own, n in ((stacked, True, owners), (central, False, 1)) if ps
            ]
        self.limit = limit
        self._broken: list[tuple[Group, Tensor]] = []

    @torch.no_grad()
    def clip(self) -> int:
        """Clip in place. Returns how many agents (or central networks) have a gradient that is not finite."""
        self._broken = []
        norms = [group.norms() for group in self.groups]
        finite: dict[int, Tensor] = {}
        for group, norm in zip(self.groups, norms, strict=True):
            rows = norm.isfinite().view(-1, group.owners).all(0)
            finite[group.owners] = rows & finite[group.owners] if group.owners in finite else rows
        for group, norm in zip(self.groups, norms, strict=True):
            scale = self.limit / (norm + 1e-6).clamp(min=self.limit)
            broken = ~finite[group.owners]
            if broken.any():
                broken = broken.repeat(len(norm) // group.owners)
                self._broken.append((group, broken))
                scale[broken] = 1.0
                for g in group.gradients():
                    g.masked_fill_(_over(broken, g), 0.0)
            for g in group.gradients():
                g.mul_(_over(scale, g))
        return sum(int((~rows).sum()) for rows in finite.values())

    @contextmanager
    def guard(self, *optimizers: torch.optim.Optimizer) -> Iterator[None]:
        """Around the optimisers' steps: what has no finite gradient does not move."""
        kept = []
        for group, broken in self._broken:
            for p in group.parameters:
                states = [optimizer.state[p] for optimizer in optimizers if p in optimizer.state]
                moments = [m for state in states for m in state.values() if m.shape == p.shape]
                kept += [(x, _over(broken, x), x.clone()) for x in (p.data, *moments)]
        yield
        for x, broken, before in kept:
            x.copy_(torch.where(broken, before, x))
