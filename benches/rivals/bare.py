"""A learner's update beside what bounds it: the same as a bare torch loop, its matrix products alone, and XLA's.

To add an algorithm, write a subclass of `Bare` in `loops.py`, and add a row to `BARE`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

from benches.case import Params, Unsupported
from benches.rivals.loops import Bare, BareAPPO, BarePPO, BareSAC
from benches.rivals.products import products_of, ready
from benches.rivals.xla import Xla
from benches.workloads.inputs import SEED
from benches.workloads.training import trainer

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
