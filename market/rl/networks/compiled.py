"""Stacked networks as compiled code for CPUs: forward and backward passes, network by network.

What one network works on stays in the cache, and bias, activation and their derivatives are one pass over it; the
products are BLAS's. `Stack.plain` in `stacked.py` is the same in torch.

Shapes: R networks of L layers, X batches of inputs of B rows each; network r reads batch r modulo X. Inputs may come in
two parts, x and `more` (of which there may be none, [0, 0, 0]), so that nothing is copied to join them. Parameters of a
network are one row [P]: the weight [in, out] and the bias [out] of each layer in turn. What its hidden layers gave is
one row, too: [B, width] after [B, width].
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import scipy.linalg.cython_blas  # noqa: F401 - numba takes the products from here
import torch
from numpy.typing import NDArray
from torch import Tensor

from market.support.kernels import kernel
from market.support.threads import in_parts

TANH_LIMIT = np.float32(7.90531110763549805)
"""From here on tanh is one, in single precision."""
ODD = tuple(map(np.float32, (
    -2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08,
    1.48572235717979e-05, 6.37261928875436e-04, 4.89352455891786e-03,
)))  # fmt: skip
EVEN = tuple(map(np.float32, (1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03)))
"""tanh x is nearly x P(x^2) / Q(x^2): the minimax coefficients of P and Q, highest power first, that Eigen uses
(Eigen/src/Core/MathFunctionsImpl.h, generic_fast_tanh_float)."""

ZERO, ONE = np.float32(0.0), np.float32(1.0)
NONE, TANH, RELU = range(3)
"""Activations of a layer."""
FAST: dict[str, Any] = {"fastmath": {"contract", "arcp"}}
"""Options that let the compiler use vector instructions; what is not a number stays so."""


def compilable(*tensors: Tensor) -> bool:
    """Whether compiled code takes these tensors: on a CPU, in single precision."""
    return all(x.device.type == "cpu" and x.dtype == torch.float32 for x in tensors)


def by_rows(compiled: Any, rows: int, *arrays: Any) -> None:
    """Call a kernel for all rows, on torch's number of threads; its last arguments are the rows that it works on."""
    in_parts(lambda part: compiled(*arrays, part.start, part.stop), rows, torch.get_num_threads())


@kernel(inline="always", **FAST)
def _tanh(x):  # type: ignore[no-untyped-def]
    """tanh of a number, within 3e-7."""
    v = min(max(x, -TANH_LIMIT), TANH_LIMIT)
    v = x if x != x else v  # not a number stays so
    s = v * v
    p = (((((ODD[0] * s + ODD[1]) * s + ODD[2]) * s + ODD[3]) * s + ODD[4]) * s + ODD[5]) * s + ODD[6]
    q = ((EVEN[0] * s + EVEN[1]) * s + EVEN[2]) * s + EVEN[3]
    return v * p / q


@kernel(**FAST)
def _activate(x, bias, activation):  # type: ignore[no-untyped-def]
    """x [B, out] becomes the activation of x + bias."""
    for i in range(x.shape[0]):
        if activation == RELU:
            for j in range(x.shape[1]):
                v = x[i, j] + bias[j]
                x[i, j] = ZERO if v < ZERO else v  # noqa: FURB136 - max would lose what is not a number
        elif activation == TANH:
            for j in range(x.shape[1]):
                x[i, j] = _tanh(x[i, j] + bias[j])
        else:
            for j in range(x.shape[1]):
                x[i, j] += bias[j]


@kernel(**FAST)
def _derive(gradient, y, bias, activation):  # type: ignore[no-untyped-def]
    """The gradient by an activation's values y becomes that by its inputs, [B, out]; bias [out]: the sum over rows."""
    bias[:] = ZERO
    for i in range(y.shape[0]):
        if activation == RELU:
            for j in range(y.shape[1]):
                gradient[i, j] = ZERO if y[i, j] <= ZERO else gradient[i, j]
                bias[j] += gradient[i, j]
        elif activation == TANH:
            for j in range(y.shape[1]):
                gradient[i, j] *= ONE - y[i, j] * y[i, j]
                bias[j] += gradient[i, j]
        else:
            for j in range(y.shape[1]):
                bias[j] += gradient[i, j]


@kernel
def _propagate(x, more, flat, widths, activation, hidden, out, first, last):  # type: ignore[no-untyped-def]
    """Fill `hidden` and `out` [R, B, out] of the networks first to last - 1."""
    rows, top, split = x.shape[1], widths.size - 2, x.shape[2]
    second = np.empty((rows if split < widths[0] else 0, widths[1]), np.float32)
    for r in range(first, last):
        below, at, kept = x[r % x.shape[0]], 0, 0
        for layer in range(top + 1):
            n, m = widths[layer], widths[layer + 1]
            weight, bias = flat[r, at : at + n * m].reshape(n, m), flat[r, at + n * m : at + n * m + m]
            at += n * m + m
            above = out[r] if layer == top else hidden[r, kept : kept + rows * m].reshape(rows, m)
            np.dot(below, weight[: below.shape[1]], above)
            if layer == 0 and split < n:
                np.dot(more[r % x.shape[0]], weight[split:], second)
                above += second
            _activate(above, bias, NONE if layer == top else activation)
            below, kept = above, kept + rows * m


@kernel
def _propagate_back(  # type: ignore[no-untyped-def]
    gradient, x, more, flat, widths, activation, hidden, flat_gradient, x_gradient, first, last
):
    """Fill the gradients by the parameters [R, P] and by the inputs; those without rows are not asked for.

    x_gradient: by the last part of the inputs, [R, B, ..].

    gradient: by the outputs, [R, B, out].
    """
    rows, top, split, learns = x.shape[1], widths.size - 2, x.shape[2], len(flat_gradient) > 0
    space, widest = np.empty((2, rows * widths.max()), np.float32), widths.max()
    unread = np.empty(0 if learns else widest, np.float32)
    for r in range(first, last):
        by_above, at, kept = gradient[r], flat.shape[1], hidden.shape[1]
        if learns:
            _derive(by_above, by_above, flat_gradient[r, at - widths[top + 1] :], NONE)
        for layer in range(top, -1, -1):
            n, m = widths[layer], widths[layer + 1]
            at -= n * m + m
            weight = flat[r, at : at + n * m].reshape(n, m)
            if layer > 0:
                kept -= rows * n
                below = hidden[r, kept : kept + rows * n].reshape(rows, n)
            else:
                below = x[r % x.shape[0]]
            if learns:
                by_weight = flat_gradient[r, at : at + n * m].reshape(n, m)
                np.dot(below.T, by_above, by_weight[: below.shape[1]])
                if layer == 0 and split < n:
                    np.dot(more[r % x.shape[0]].T, by_above, by_weight[split:])
            if layer > 0:
                by_below = space[layer % 2, : rows * n].reshape(rows, n)
                np.dot(by_above, weight.T, by_below)
                _derive(by_below, below, flat_gradient[r, at - n : at] if learns else unread[:n], activation)
                by_above = by_below
            elif len(x_gradient) > 0:
                np.dot(by_above, weight[n - x_gradient.shape[2] :].T, x_gradient[r])


class Shape(NamedTuple):
    """Of a network.

    widths: of its layers, that of the inputs first.
    hidden, out: numbers that all hidden layers, and the last one, give for a row of inputs.
    activation: between two layers, TANH or RELU.
    """

    widths: NDArray[np.int64]
    hidden: int
    out: int
    activation: int


def forward(x: Tensor, more: Tensor, flat: Tensor, shape: Shape) -> tuple[Tensor, Tensor]:
    """Inputs [X, B, in] and parameters [R, P], R a multiple of X -> outputs [R, B, out], and those of hidden layers.

    Networks are shared out over torch's number of threads.
    """
    count, rows = len(flat), x.shape[1]
    hidden, out = torch.empty(count, rows * shape.hidden), torch.empty(count, rows, shape.out)
    inputs = (part.detach().contiguous().numpy() for part in (x, more))
    arrays = (*inputs, flat.detach().numpy(), shape.widths, shape.activation)
    found = (hidden.numpy(), out.numpy())
    by_rows(_propagate, count, *arrays, *found)
    return out, hidden


class StackFunction(torch.autograd.Function):
    """`forward` with its gradients, on a CPU in single precision; of two parts of inputs, only by the second."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, more: Tensor, flat: Tensor, shape: Shape) -> Tensor:
        x, more, flat, ctx.shape = x.contiguous(), more.contiguous(), flat.detach(), shape
        out, hidden = forward(x, more, flat, shape)
        ctx.save_for_backward(x, more, flat, hidden)
        return out

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, more, flat, hidden = ctx.saved_tensors
        by_x, by_more, by_flat = ctx.needs_input_grad[:3]
        count, shape, last = len(flat), ctx.shape, more if by_more else x
        flat_gradient = torch.empty(flat.shape if by_flat else (0, 0))
        x_gradient = torch.empty((count, *last.shape[1:]) if by_x or by_more else (0, 0, 0))
        known = (
            gradients[0].contiguous().numpy(),
            x.numpy(),
            more.numpy(),
            flat.numpy(),
            shape.widths,
            shape.activation,
            hidden.numpy(),
        )
        arrays = (*known, flat_gradient.numpy(), x_gradient.numpy())
        by_rows(_propagate_back, count, *arrays)
        shared = x_gradient.view(-1, *last.shape).sum(0) if by_x or by_more else None
        return shared if by_x else None, shared if by_more else None, flat_gradient if by_flat else None, None
