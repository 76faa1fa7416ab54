"""The matrix products of an update, and nothing else: the floor of a learner's time on one thread."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

Layout = tuple[tuple[int, ...], tuple[int, ...]]
"""Sizes and strides of a matrix, or of a stack of them."""
KINDS = {"mm", "addmm", "bmm", "baddbmm"}
"""torch's matrix products; the factors are the last two arguments of each."""


@dataclass(frozen=True)
class Product:
    """One product of two matrices, or of two stacks of as many."""

    left: Layout
    right: Layout

    @property
    def flops(self) -> float:
        """Additions and multiplications."""
        *stack, rows, inner = self.left[0]
        return 2.0 * rows * inner * self.right[0][-1] * (stack[0] if stack else 1)


def products_of(update: Callable[[], object]) -> list[Product]:
    """Every matrix product that `update` has torch do, forward and backward, in order."""
    from torch.utils._python_dispatch import TorchDispatchMode

    found: list[Product] = []

    class Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, function: Any, _: Any, arguments: Any = (), options: Any = None) -> Any:
            if function.overloadpacket.__name__ in KINDS:
                left, right = ((tuple(x.shape), tuple(x.stride())) for x in arguments[-2:])
                found.append(Product(left, right))
            return function(*arguments, **(options or {}))

    with Recording():  # type: ignore[no-untyped-call]
        update()
    return found


class Products:
    """Products made ready: random factors in memory of their own, one for each layout, and results of as many."""

    def __init__(self, products: list[Product]) -> None:
        import torch

        kept: dict[Any, Tensor] = {}

        def factor(layout: Layout, side: str) -> Tensor:
            size, stride = layout
            if (layout, side) not in kept:
                kept[layout, side] = torch.empty_strided(size, stride).uniform_(-1.0, 1.0)
            return kept[layout, side]

        def out(shape: tuple[int, ...]) -> Tensor:
            return kept.setdefault(shape, torch.zeros(shape))

        self._ready = [
            (
                torch.bmm if len(each.left[0]) == 3 else torch.mm,
                factor(each.left, "left"),
                factor(each.right, "right"),
                out((*each.left[0][:-1], each.right[0][-1])),
            )
            for each in products
        ]

    def __call__(self) -> None:
        """All of them, in order."""
        for multiply, left, right, out in self._ready:
            multiply(left, right, out=out)
