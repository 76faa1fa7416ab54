"""From sampled episodes to minibatches: the rows that RLlib takes, in its order, without its copies of the whole batch.

Shapes: B rows, E episodes of T steps, N agents, V values per step (1 or N, by mode).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from ray.rllib.core.columns import Columns
from torch import Tensor

from market.rl.modes import Mode
from market.rl.sampling.policy import Rollout


def stack_episodes(episodes: list[Rollout], mode: Mode, device: torch.device, *outputs: str) -> dict[str, Tensor]:
    """E episodes of equal length as tensors: observations [E, T + 1, N, obs], all else [E, T, ...], terminated [E].

    Rewards are [E, T, V], of the team or own by mode.
    outputs: names of what else the sampling policy gave, such as its log-probabilities.
    """

    def tensor(name: str) -> Tensor:
        joined = np.concatenate([getattr(part, name) for part in episodes], dtype=np.float32, casting="same_kind")
        return torch.from_numpy(joined).to(device)

    return {
        Columns.OBS: tensor("observations"),
        Columns.ACTIONS: tensor("actions"),
        Columns.REWARDS: tensor("rewards").unsqueeze(-1) if mode.central_critic else tensor("agent_rewards"),
        Columns.TERMINATEDS: tensor("terminated"),
        **{name: tensor(name) for name in outputs},
    }


def minibatch_rows(count: int, size: int, *, epochs: int, shuffle: bool = True) -> Iterator[NDArray[np.int64]]:
    """The rows of each minibatch, [size], as RLlib's MiniBatchCyclicIterator takes them.

    Rows left over at the end of an epoch begin the next minibatch.

    count: rows of the batch.
    size: rows of a minibatch.
    epochs: passes over the batch.
    shuffle: in each epoch anew, by numpy's global generator.
    """
    order, waiting = np.arange(count), np.empty(0, np.int64)
    for _ in range(-(-epochs * count // size)):
        while len(waiting) < size:
            waiting = np.concatenate((waiting, order))
            if shuffle:
                order = order[np.random.permutation(count)]  # noqa: NPY002 - RLlib's generator, which `scopes.seeded` seeds
        yield waiting[:size]
        waiting = waiting[size:]


def take(x: Tensor, rows: Tensor) -> Tensor:
    """x[rows], laid out in memory as x is: agent-major columns [B, N, ...] stay so."""
    if x.dim() > 1 and x.transpose(0, 1).is_contiguous():
        return x.transpose(0, 1).index_select(1, rows).transpose(0, 1)
    return x.index_select(0, rows)


def agent_major(x: Tensor) -> Tensor:
    """The same tensor [B, N, ...], stored agent by agent: stacked networks then need no copy."""
    return x.transpose(0, 1).contiguous().transpose(0, 1)
