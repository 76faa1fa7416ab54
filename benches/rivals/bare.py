"""A learner's update beside the same update as a bare torch loop, by algorithm: what all around it costs.

To add an algorithm, write `benches/rivals/bare_NAME.py` with a subclass of `Bare`, and add a row to `BARE`.
"""

from __future__ import annotations

import copy
import importlib
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from benches.case import Params, Unsupported
from benches.workloads.inputs import SEED
from benches.workloads.training import trainer

if TYPE_CHECKING:
    from torch import Tensor, nn

    from market import RLTrainer


class Bare(ABC):
    """A trainer's learner, and the same update on a copy of its networks: weights stay equal to rounding.

    Both learn from the same episodes, with the same networks, minibatches, Adam and number of threads; the loop leaves
    out RLlib, metrics and checks.
    """

    def __init__(self, prepared: RLTrainer) -> None:
        self.trainer = prepared
        self.settings: Any = prepared.hyperparameters
        self.learner: Any = prepared._algorithm.learner_group._learner
        self.module: Any = copy.deepcopy(self.learner.population)

    def learn(self, episodes: list[Any]) -> None:
        """The learner's update."""
        self.learner.update(episodes=episodes, timesteps={}, **self.plan())

    def plan(self) -> dict[str, Any]:
        """How the learner is told to go through the episodes."""
        return {}

    @abstractmethod
    def update(self, episodes: list[Any]) -> None:
        """The bare loop's; random numbers come from the global generators, in the learner's order."""

    def batch(self, episodes: list[Any]) -> dict[str, Tensor]:
        """Columns of the episodes by the learner's own pipeline, with the values of this copy."""
        columns: dict[str, Tensor] = self.learner.columns_of(self.module, episodes)
        return columns

    def clip(self, part: nn.Module) -> None:
        """Clip the gradients of a part of the networks: stacked ones row by row, all others together."""
        import torch

        from market.rl.networks.stacked import Stacked

        limit = self.settings.grad_clip
        stacked = [p for layer in part.modules() if isinstance(layer, Stacked) for p in layer.parameters()]
        taken = {id(p) for p in stacked}
        if stacked:
            gradients = [p.grad for p in stacked if p.grad is not None]
            norms = torch.stack([g.flatten(1).norm(dim=1) for g in gradients]).norm(dim=0)
            scale = (limit / (norms + 1e-6)).clamp(max=1.0)
            for g in gradients:
                g.mul_(scale.view(-1, *[1] * (g.dim() - 1)))
        torch.nn.utils.clip_grad_norm_([p for p in part.parameters() if id(p) not in taken], limit)


BARE: dict[str, tuple[str, str]] = {
    "ppo": ("benches.rivals.bare_ppo", "BarePPO"),
    "appo": ("benches.rivals.bare_appo", "BareAPPO"),
    "sac": ("benches.rivals.bare_sac", "BareSAC"),
}
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
