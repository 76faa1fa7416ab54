"""A learner's update beside the same update as a bare torch loop, by algorithm: what all around it costs.

To add an algorithm, write `benches/bare_NAME.py` with a subclass of `Bare`, and add a row to `BARE`.
"""

from __future__ import annotations

import importlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from benches.case import Params, Unsupported
from benches.inputs import SEED
from benches.training import trainer

if TYPE_CHECKING:
    from market import RLTrainer


class Bare(ABC):
    """A trainer's learner, and the same update on copies of its networks: weights stay equal to rounding.

    Both learn from the same episodes, with the same networks, minibatches, Adam and number of threads; the loop leaves
    out RLlib, metrics and checks.
    """

    def __init__(self, prepared: RLTrainer) -> None:
        self.trainer = prepared
        self.learner: Any = prepared._algorithm.learner_group._learner
        self.module: Any = None

    @abstractmethod
    def learn(self, episodes: list[Any]) -> None:
        """The learner's update."""

    @abstractmethod
    def update(self, episodes: list[Any]) -> None:
        """The bare loop's; minibatches are drawn from numpy's global generator, as RLlib draws them."""


BARE: dict[str, tuple[str, str]] = {"ppo": ("benches.bare_ppo", "BarePPO")}
"""Algorithm -> module and class."""


class Pair:
    """A bare loop and the episodes that both sides learn from."""

    def __init__(self, params: Params) -> None:
        algorithm = str(params["algorithm"])
        if algorithm not in BARE:
            raise Unsupported(f"{algorithm} has no bare loop yet; there are: {', '.join(BARE)}")
        self.trainer = trainer({"iterations": 1, **params})
        module, name = BARE[algorithm]
        self.bare: Bare = getattr(importlib.import_module(module), name)(self.trainer)
        self.episodes = self.trainer._algorithm.env_runner.sample()


def pair(params: Params) -> Pair:
    """A trainer, its learner's bare twin, and one iteration's episodes."""
    return Pair(params)


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


def close_pair(prepared: Pair) -> None:
    """Stop the algorithm."""
    prepared.trainer.close()
