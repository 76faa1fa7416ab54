"""Adam's steps on gradients that are clipped by norm, with an agent axis; gradients that are not finite are left out.

Clipping and step are one pass over a row of parameters and moments: on a CPU compiled, elsewhere torch's.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from market.rl.networks.compiled import FAST
from market.rl.networks.stacked import Stacked
from market.support.kernels import kernel
from market.support.threads import in_parts


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


@dataclass(frozen=True)
class Group:
    """Parameters that are clipped together: stacked ones [K N, ...] for each row apart, others as a whole.

    owners: number of agents N whose rows these are, K times over (twins follow each other), or 1: the community.
    rows: K N, or 1: the whole.
    """

    parameters: tuple[nn.Parameter, ...]
    owners: int
    rows: int

    def learned(self) -> Iterator[nn.Parameter]:
        """Parameters that have a gradient."""
        return (p for p in self.parameters if p.grad is not None)

    def flat(self, x: Any) -> Tensor:
        """A parameter, or what has its shape, as [rows, numbers]."""
        return x.detach().reshape(self.rows, -1)


class ClippedAdam:
    """Adam (Kingma and Ba 2015, arXiv:1412.6980) on the gradients of `parts`, clipped by norm before.

    Rows of `Stacked` layers are clipped apart, all others of a part as a whole. An agent (or the central networks)
    whose gradient is not finite sits the step out, in all parts: parameters and moments stay as they were.
    State and settings are those of torch's optimisers, one for each part.

    limit: largest norm.
    """

    compiled = True

    def __init__(self, *parts: tuple[nn.Module, torch.optim.Adam], limit: float) -> None:
        self.limit = limit
        self.groups: list[tuple[Group, torch.optim.Adam]] = []
        for part, optimizer in parts:
            layers = [layer for layer in part.modules() if isinstance(layer, Stacked)]
            stacked = tuple(p for layer in layers for p in layer.parameters())
            taken = {id(p) for p in stacked}
            central = tuple(p for p in part.parameters() if id(p) not in taken)
            if stacked:
                self.groups.append((Group(stacked, layers[0].owners, len(stacked[0])), optimizer))
            if central:
                self.groups.append((Group(central, 1, 1), optimizer))

    @torch.no_grad()
    def step(self) -> int:
        """Returns how many agents (or central networks) have a gradient that is not finite."""
        norms = [self._norms(group) for group, _ in self.groups]
        finite: dict[int, NDArray[np.bool_]] = {}
        for (group, _), norm in zip(self.groups, norms, strict=True):
            rows = np.isfinite(norm).reshape(-1, group.owners).all(0)
            finite[group.owners] = np.logical_and(rows, finite.get(group.owners, True))
        for (group, optimizer), norm in zip(self.groups, norms, strict=True):
            scale = self.limit / np.maximum(norm + np.float32(1e-6), np.float32(self.limit))
            if not finite[group.owners].all():
                scale[np.tile(~finite[group.owners], group.rows // group.owners)] = np.nan
            self._move(group, optimizer, scale)
        return sum(int((~rows).sum()) for rows in finite.values())

    def _norms(self, group: Group) -> NDArray[np.float32]:
        """Norm over all gradients of a group, [rows]."""
        squares = np.zeros(group.rows, np.float32)
        for p in group.learned():
            gradients = group.flat(p.grad)
            if self.compiled and gradients.device.type == "cpu":
                _by_rows(_add_squares, gradients.numpy(), squares)
            else:
                squares += gradients.square().sum(1).cpu().numpy()
        return np.sqrt(squares)

    def _move(self, group: Group, optimizer: torch.optim.Adam, scale: NDArray[np.float32]) -> None:
        """One step on gradients times `scale`, [rows]; rows whose scale is not a number stay."""
        settings = optimizer.param_groups[0]
        decays, epsilon = settings["betas"], settings["eps"]
        for p in group.learned():
            state: Any = optimizer.state[p]
            if not state:
                state |= {"step": torch.zeros(()), "exp_avg": torch.zeros_like(p), "exp_avg_sq": torch.zeros_like(p)}
            state["step"] += 1.0
            first, second = (1.0 - decay ** float(state["step"]) for decay in decays)
            numbers = (*decays, settings["lr"] / first, second**-0.5, epsilon)
            rows = [group.flat(x) for x in (p, p.grad, state["exp_avg"], state["exp_avg_sq"])]
            if self.compiled and p.device.type == "cpu":
                _by_rows(_adam, *(x.numpy() for x in rows), scale, *map(np.float32, numbers))
            else:
                _adam_in_torch(rows, torch.from_numpy(scale).to(p.device)[:, None], *numbers)


def _by_rows(compiled: Any, rows: NDArray[np.float32], *others: Any) -> None:
    """Call a kernel for all rows, on torch's number of threads."""
    in_parts(lambda part: compiled(rows, *others, part.start, part.stop), len(rows), torch.get_num_threads())


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
