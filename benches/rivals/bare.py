"""A learner's update beside what bounds it: the same as a bare torch loop, its matrix products alone, and XLA's.

To add an algorithm, write a subclass of `Bare` in `loops.py`, and add a row to `BARE`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from benches.case import Params, Unsupported
from benches.rivals.loops import Bare, BareAPPO, BarePPO, BareSAC
from benches.rivals.xla import Xla
from benches.workloads.inputs import SEED
from benches.workloads.training import trainer

if TYPE_CHECKING:
    from torch import Tensor

Layout = tuple[tuple[int, ...], tuple[int, ...]]
"""Sizes and strides of a matrix, or of a stack of them."""
KINDS = {"mm", "addmm", "bmm", "baddbmm"}
"""torch's matrix products; the factors are the last two arguments of each."""
BARE: dict[str, type[Bare]] = {"ppo": BarePPO, "appo": BareAPPO, "sac": BareSAC}


class Pair:
    """A trainer, its learner's bare twin, and one iteration's episodes, from which both learn."""

    def __init__(self, params: Params) -> None:
        self.trainer = trainer({"iterations": 1, **params})
        self.bare = BARE[str(params["algorithm"])](self.trainer)
        self.episodes: Any = self.trainer._algorithm.env_runner.sample()

    @cached_property
    def products(self) -> Callable[[], None]:
        """Those of the bare loop's update; the learner has updated before, for SAC's replay buffer."""
        return ready(products_of(lambda: bare_update(self, 0)))

    @cached_property
    def xla(self) -> Xla:
        """The gradient steps of PPO's update in jax, on the rows of the bare loop's first turn."""
        from market.rl.scopes import Stream, seeded

        if not isinstance(self.bare, BarePPO):
            raise Unsupported("XLA's update is PPO's")
        columns = self.bare.batch(self.episodes)
        with seeded(SEED, Stream.LEARN, 0):
            return Xla(self.bare, columns, list(self.bare.rows(columns)))


def learner_update(prepared: Pair, _: int) -> None:
    """The learner's update."""
    from market.rl.scopes import torch_threads

    with torch_threads(1):
        prepared.bare.learn(prepared.episodes)


def bare_update(prepared: Pair, turn: int) -> None:
    """The same in the bare loop."""
    from market.rl.scopes import Stream, seeded, torch_threads

    with torch_threads(1), seeded(SEED, Stream.LEARN, turn):
        prepared.bare.update(prepared.episodes)


def products(prepared: Pair, _: int) -> None:
    """The matrix products of the bare loop's update alone."""
    from market.rl.scopes import torch_threads

    with torch_threads(1):
        prepared.products()


def xla_update(prepared: Pair, _: int) -> float:
    """The gradient steps of the same update by XLA. Returns their CPU seconds, which this process does not see."""
    return prepared.xla.update()


def close_pair(prepared: Pair) -> None:
    """Stop the algorithm, and jax if it was started."""
    if "xla" in vars(prepared):
        prepared.xla.close()
    prepared.trainer.close()


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
