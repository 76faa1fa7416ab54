"""Activation functions, by the names that hyperparameters use."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

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
def _tanh(x):  # type: ignore[no-untyped-def]
    """x becomes tanh x, [n], within 3e-7; written so that the compiler can use vector instructions."""
    for i in range(x.size):
        v = min(max(x[i], -TANH_LIMIT), TANH_LIMIT)
        v = x[i] if x[i] != x[i] else v  # not a number stays so
        s = v * v
        p = ODD[0]
        p = p * s + ODD[1]
        p = p * s + ODD[2]
        p = p * s + ODD[3]
        p = p * s + ODD[4]
        p = p * s + ODD[5]
        p = p * s + ODD[6]
        q = EVEN[0]
        q = q * s + EVEN[1]
        q = q * s + EVEN[2]
        q = q * s + EVEN[3]
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
