"""What training and evaluation return."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from market.rl.hyperparameters import Hyperparameters, RLAlgorithm
from market.rl.modes import TrainingMode
from market.support.phases import combined
from market.support.tables import in_one_line, long_table

if TYPE_CHECKING:
    import pandas as pd

MARKET = "market"
"""Where env runners and learners report, under the names of `IterationRecord`, beside RLlib's own results."""


def mean_of_numbers(values: NDArray[np.float64]) -> float:
    """Mean of those values, of any shape, that are numbers: a market without trades has no price. nan when none is."""
    numbers = values[~np.isnan(values)]
    return float(numbers.mean()) if numbers.size else math.nan


@dataclass(frozen=True)
class SetUp:
    """Seconds before the first iteration: starting Ray (0 when none was started) and building the algorithm."""

    ray_seconds: float
    build_seconds: float


@in_one_line
@dataclass(frozen=True)
class IterationRecord:
    """One training iteration.

    sampling_seconds, learning_seconds: wall-clock; with several env runners or learners, those of the slowest.
    other_seconds: weight transfer and bookkeeping; less, or below zero, where APPO's actors do both at once.
    total_seconds: sampling + learning + other.
    return_mean: undiscounted team return, mean over the iteration's episodes.
    kpis: mean KPIs of the same episodes, nan if undefined.
    env_steps: steps of the community; agent_steps = env_steps x agents.
    gradient_steps: optimiser steps.
    skipped_updates: gradients left out because they were not finite, one per step and agent (one per step where the
        networks are central).
    losses: of the last minibatch, mean over agents.
    phases: exclusive wall-clock seconds that add up to total_seconds. Sampling: environment (a step without the parts
        named next), clearing, settlement, observation, policy (forward pass and draw). Learning: forward, loss,
        backward, optimiser (clipping included). Both: batch (stacking episodes, advantages or replay, minibatches).
        The rest, with the wait for the slowest actor: framework. With several actors of a kind, the mean over them.
    """

    iteration: int
    sampling_seconds: float
    learning_seconds: float
    other_seconds: float
    total_seconds: float
    return_mean: float
    kpis: Mapping[str, float]
    env_steps: int
    agent_steps: int
    gradient_steps: int
    skipped_updates: int
    losses: Mapping[str, float]
    phases: Mapping[str, float]


def _total(field: str) -> Any:
    """A property: the sum of a field over all iterations."""
    return property(lambda result: sum(getattr(record, field) for record in result.iterations))


@in_one_line
@dataclass(frozen=True)
class TrainingResult:
    """A training run: what was asked for, what it ran on, and one record per iteration."""

    algorithm: RLAlgorithm
    training: TrainingMode
    num_agents: int
    seed: int
    threads: int
    device: str
    hyperparameters: Hyperparameters
    set_up: SetUp
    iterations: tuple[IterationRecord, ...]

    sampling_seconds = _total("sampling_seconds")
    learning_seconds = _total("learning_seconds")
    other_seconds = _total("other_seconds")
    total_seconds = _total("total_seconds")
    env_steps = _total("env_steps")
    agent_steps = _total("agent_steps")
    gradient_steps = _total("gradient_steps")
    skipped_updates = _total("skipped_updates")

    @property
    def phases(self) -> dict[str, float]:
        """Seconds by phase, over all iterations."""
        return combined(self.total_seconds, *((record.phases, 1.0) for record in self.iterations))

    def to_frame(self) -> pd.DataFrame:
        """A row per iteration: the fields of `IterationRecord`, its mappings as in "kpis.cost" and "phases.forward"."""
        import pandas as pd

        return pd.json_normalize([vars(record) for record in self.iterations])


@in_one_line
@dataclass(frozen=True)
class EvaluationResult:
    """Episodes of the deterministic policy (E episodes, N agents).

    returns: team return, [E].
    agent_returns: own returns, [E, N].
    kpis: name -> [E].
    """

    returns: NDArray[np.float64]
    agent_returns: NDArray[np.float64]
    kpis: Mapping[str, NDArray[np.float64]]

    @property
    def return_mean(self) -> float:
        return float(self.returns.mean())

    @property
    def kpi_means(self) -> dict[str, float]:
        """Mean of each KPI over the episodes that have it; nan where none has."""
        return {name: mean_of_numbers(values) for name, values in self.kpis.items()}

    def to_frame(self) -> pd.DataFrame:
        """A row per episode: its team return and KPIs."""
        return long_table({"return": self.returns, **self.kpis}, "episode")
