"""The matrix products of an update, and nothing else: the floor of a learner's time on one thread."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

Layout = tuple[tuple[int, ...], tuple[int, ...]]
"""Sizes and strides of a matrix, or of a stack of them."""
KINDS = {"mm", "addmm", "bmm", "baddbmm"}
"""torch's matrix products; the factors are the last two arguments of each."""


def products_of(update: Callable[[], object]) -> list[tuple[Layout, Layout]]:
    """The two factors of every matrix product that `update` has torch do, forward and backward, in order."""
    from torch.utils._python_dispatch import TorchDispatchMode

    found: list[tuple[Layout, Layout]] = []

    class Recording(TorchDispatchMode):  # type: ignore[no-untyped-call]
        def __torch_dispatch__(self, function: Any, _: Any, arguments: Any = (), options: Any = None) -> Any:
            if function.overloadpacket.__name__ in KINDS:
                left, right = ((tuple(x.shape), tuple(x.stride())) for x in arguments[-2:])
                found.append((left, right))
            return function(*arguments, **(options or {}))

    with Recording():  # type: ignore[no-untyped-call]
        update()
    return found


def ready(products: list[tuple[Layout, Layout]]) -> Callable[[], None]:
    """What does them all, in order: on random factors, one for each layout, and into results of as many."""
    import torch

    @cache
    def factor(layout: Layout, _side: str) -> Tensor:
        extent = 1 + sum((count - 1) * step for count, step in zip(*layout, strict=True))
        return torch.empty(extent).uniform_(-1.0, 1.0).as_strided(*layout)

    result = cache(torch.zeros)
    prepared = [
        (
            torch.bmm if len(left[0]) == 3 else torch.mm,
            factor(left, "left"),
            factor(right, "right"),
            result((*left[0][:-1], right[0][-1])),
        )
        for left, right in products
    ]

    def multiply() -> None:
        for product, left, right, out in prepared:
            product(left, right, out=out)

    return multiply
