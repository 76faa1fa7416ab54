"""A learner's update beside the same update as a bare torch loop, by algorithm: what RLlib around it costs.

To add an algorithm, write a subclass of `Bare` in `loops.py`, and add a row to `BARE`.
"""

from __future__ import annotations

from typing import Any

from benches.case import Params
from benches.rivals.loops import Bare, BareAPPO, BarePPO, BareSAC
from benches.workloads.inputs import SEED
from benches.workloads.training import trainer

BARE: dict[str, type[Bare]] = {"ppo": BarePPO, "appo": BareAPPO, "sac": BareSAC}


class Pair:
    """A trainer, its learner's bare twin, and one iteration's episodes, from which both learn."""

    def __init__(self, params: Params) -> None:
        self.trainer = trainer({"iterations": 1, **params})
        self.bare = BARE[str(params["algorithm"])](self.trainer)
        self.episodes: Any = self.trainer._algorithm.env_runner.sample()


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
