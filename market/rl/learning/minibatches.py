"""Minibatches of an iteration's batch: RLlib's rows in RLlib's order, without its copies of the whole batch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from torch import Tensor


def minibatch_rows(
    count: int, size: int, *, epochs: int, least: int = 0, shuffle: bool = True
) -> Iterator[NDArray[np.int64]]:
    """Which of `count` rows make up each minibatch, [size]; numpy's global generator shuffles.

    As RLlib's MiniBatchCyclicIterator: rows left over at the end of an epoch begin the next minibatch, and rows are
    shuffled anew whenever the end was reached. least: so many minibatches, whatever the epochs, where it is not 0.
    """
    order = np.arange(count)
    start = covered = made = 0
    while made < least if least else covered < epochs:
        need, taken = size, []
        while start + need >= count:
            taken.append(order[start:])
            need -= count - start
            start = 0
            covered += 1
            if shuffle:
                order = order[np.random.permutation(count)]  # noqa: NPY002 - RLlib's generator, which `scopes.seeded` seeds
        taken.append(order[start : start + need])
        start += need
        made += 1
        yield np.concatenate(taken)


def take(x: Tensor, rows: Tensor) -> Tensor:
    """x[rows], laid out in memory as x is: agent-major columns [B, N, ...] stay so."""
    if x.dim() > 1 and x.transpose(0, 1).is_contiguous():
        return x.transpose(0, 1).index_select(1, rows).transpose(0, 1)
    return x.index_select(0, rows)


def minibatches(
    batch: Mapping[str, Tensor], env_steps: int, rows: Iterator[NDArray[np.int64]]
) -> Iterator[MultiAgentBatch]:
    """The columns of `batch` [L, ...] at each of `rows`, as RLlib hands them to a learner."""
    device = next(iter(batch.values())).device
    for chosen in rows:
        index = torch.from_numpy(chosen).to(device)
        part = SampleBatch({name: take(x, index) for name, x in batch.items()})
        yield MultiAgentBatch({DEFAULT_MODULE_ID: part}, env_steps)


def agent_major(x: Tensor) -> Tensor:
    """The same tensor [B, N, ...], stored agent by agent: stacked networks then need no copy."""
    return x.transpose(0, 1).contiguous().transpose(0, 1)
