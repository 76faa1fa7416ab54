"""Adam's steps on gradients that are clipped by norm, with an agent axis; gradients that are not finite are left out.

Clipping and step are one pass over a row of parameters and moments: on a CPU compiled, elsewhere torch's.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from market.rl.networks.compiled import FAST, by_rows, compilable
from market.rl.networks.stacked import Stacked
from market.support.kernels import kernel

DECAYS = (0.9, 0.999)
"""Of Adam's moments, per step (its authors')."""


@kernel
def _add_squares(gradients, sums, first, last):  # type: ignore[no-untyped-def]
    """Add each row's sum of squares, [R, P] -> [R]; of rows first to last - 1."""
    for r in range(first, last):
        sums[r] += np.dot(gradients[r], gradients[r])


@kernel(**FAST)
def _adam(  # type: ignore[no-untyped-def]
    parameters, gradients, mean, square, scale, keep, keep_square, rate, correction, epsilon, first, last
):
    """Adam's step on rows first to last - 1 of [R, P]. scale [R]: of the gradients; rows without a number stay."""
    one = np.float32(1.0)
    for r in range(first, last):
        if scale[r] != scale[r]:
            continue
        for i in range(parameters.shape[1]):
            g = gradients[r, i] * scale[r]
            m = keep * mean[r, i] + (one - keep) * g
            v = keep_square * square[r, i] + (one - keep_square) * g * g
            mean[r, i], square[r, i] = m, v
            parameters[r, i] -= rate * m / (np.sqrt(v) * correction + epsilon)


class Group:
    """Parameters that are clipped together: stacked ones [K N, ...] for each row apart, others as a whole.

    rate: learning rate.
    owners: number of agents N whose rows these are, K times over (twins follow each other), or 1: the community.
    rows: K N, or 1: the whole.
    moments: Adam's mean of each parameter's gradients, and of their squares, [2, ...].
    changed: of each parameter what a step changes, it and its moments, as views [rows, numbers].
    """

    def __init__(self, parameters: list[nn.Parameter], rate: float, owners: int = 1, rows: int = 1) -> None:
        self.parameters, self.rate, self.owners, self.rows = parameters, rate, owners, rows
        self.moments = [p.detach().new_zeros(2, *p.shape) for p in parameters]
        together = zip(parameters, self.moments, strict=True)
        self.changed = [[self.flat(x) for x in (p, *moments)] for p, moments in together]

    def flat(self, x: Any) -> Tensor:
        """A parameter, or what has its shape, as [rows, numbers]."""
        return x.detach().reshape(self.rows, -1)


class ClippedAdam:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980) on the gradients of `parts`, clipped by norm before.

    Rows of `Stacked` layers are clipped apart, all others of a part as a whole. An agent (or the central networks)
    whose gradient is not finite sits the step out, in all parts: parameters and moments stay as they were.

    parts: modules, each with its learning rate.
    limit: largest norm.
    epsilon: of Adam.
    """

    compiled = True

    def __init__(self, *parts: tuple[nn.Module, float], limit: float, epsilon: float) -> None:
        self.limit, self.epsilon = limit, epsilon
        self.taken = torch.zeros((), dtype=torch.int64)  # steps so far
        self.groups: list[Group] = []
        for part, rate in parts:
            layers = [layer for layer in part.modules() if isinstance(layer, Stacked)]
            stacked = [p for layer in layers for p in layer.parameters() if p.requires_grad]
            apart = {id(p) for p in stacked}
            central = [p for p in part.parameters() if p.requires_grad and id(p) not in apart]
            if stacked:
                self.groups.append(Group(stacked, rate, layers[0].owners, len(stacked[0])))
            if central:
                self.groups.append(Group(central, rate))

    def state(self) -> dict[str, Tensor]:
        """What a step changes beside the parameters, by name; to be read, or written to."""
        moments = (x for group in self.groups for x in group.moments)
        return {"adam/steps": self.taken, **{f"adam/{i}": x for i, x in enumerate(moments)}}

    @torch.no_grad()
    def step(self) -> int:
        """Returns how many agents (or central networks) have a gradient that is not finite."""
        gradients = [[group.flat(p.grad) for p in group.parameters] for group in self.groups]
        norms = [self._norms(group, own) for group, own in zip(self.groups, gradients, strict=True)]
        finite: dict[int, NDArray[np.bool_]] = {}
        for group, norm in zip(self.groups, norms, strict=True):
            rows = np.isfinite(norm).reshape(-1, group.owners).all(0)
            finite[group.owners] = np.logical_and(rows, finite.get(group.owners, True))
        self.taken += 1
        corrections = [1.0 - decay ** float(self.taken) for decay in DECAYS]
        for group, own, norm in zip(self.groups, gradients, norms, strict=True):
            scale = self.limit / np.maximum(norm + np.float32(1e-6), np.float32(self.limit))
            if not finite[group.owners].all():
                scale[np.tile(~finite[group.owners], group.rows // group.owners)] = np.nan
            numbers = (*DECAYS, group.rate / corrections[0], corrections[1] ** -0.5, self.epsilon)
            self._move(group, own, scale, *numbers)
        return sum(int((~rows).sum()) for rows in finite.values())

    def _norms(self, group: Group, gradients: list[Tensor]) -> NDArray[np.float32]:
        """Norm over all gradients of a group, [rows]."""
        squares = np.zeros(group.rows, np.float32)
        for gradient in gradients:
            if self.compiled and compilable(gradient):
                by_rows(_add_squares, group.rows, gradient.numpy(), squares)
            else:
                squares += gradient.square().sum(1).cpu().numpy()
        return np.sqrt(squares)

    def _move(self, group: Group, gradients: list[Tensor], scale: NDArray[np.float32], *numbers: float) -> None:
        """One step on gradients times `scale`, [rows]; rows whose scale is not a number stay; numbers are `_adam`'s."""
        for (parameter, *moments), gradient in zip(group.changed, gradients, strict=True):
            rows = [parameter, gradient, *moments]
            if self.compiled and compilable(parameter):
                by_rows(_adam, group.rows, *(x.numpy() for x in rows), scale, *map(np.float32, numbers))
            else:
                _adam_in_torch(rows, torch.from_numpy(scale).to(parameter.device)[:, None], *numbers)


def _adam_in_torch(rows: list[Tensor], scale: Tensor, *numbers: float) -> None:
    """The same as `_adam`, with scale [R, 1]."""
    parameters, gradients, mean, square = rows
    keep, keep_square, rate, correction, epsilon = numbers
    g = gradients * scale
    m = mean.lerp(g, 1.0 - keep)
    v = keep_square * square + (1.0 - keep_square) * g.square()
    moved = parameters - rate * m / (v.sqrt() * correction + epsilon)
    for x, new in ((parameters, moved), (mean, m), (square, v)):
        x.copy_(torch.where(scale.isnan(), x, new))
