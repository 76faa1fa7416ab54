"""Settings of the process that training borrows and gives back: random states and the number of threads."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from enum import IntEnum
from functools import cache
from typing import Any

import numpy as np
import torch

from market.support.phases import record


class Stream(IntEnum):
    """What random numbers are drawn for; keeps the uses apart."""

    BUILD, SAMPLE, LEARN, EVALUATE = range(4)


def derive(seed: int, stream: Stream, *position: int) -> int:
    """A 32-bit seed for one use at one position (iteration, worker ...)."""
    return int(np.random.SeedSequence((seed, stream, *position)).generate_state(1)[0])


@contextmanager
def seeded(seed: int, stream: Stream, *position: int) -> Iterator[int]:
    """Torch's, numpy's and Python's global generators start from `derive(...)` inside; outside they are untouched.

    RLlib draws from the global generators. Seeding each use by its position makes a run independent of what else
    happens in the process, and lets a restored run continue identically without storing random states.
    (`torch.manual_seed` would keep a stack trace of each call for CUDA's sake, where CUDA does not run.)
    """
    generator = torch.default_generator
    states = random.getstate(), np.random.get_state(), generator.get_state()
    number = derive(seed, stream, *position)
    try:
        random.seed(number)
        np.random.seed(number)
        generator.manual_seed(number)
        if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
            torch.cuda.manual_seed_all(number)
        yield number
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        generator.set_state(states[2])


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Torch computes on `count` threads inside, and BLAS, for compiled networks, on one."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        with one_blas_thread():
            yield
    finally:
        torch.set_num_threads(before)


@cache
def _blas() -> Any:
    from threadpoolctl import ThreadpoolController  # no need of those who take seeds alone

    return ThreadpoolController().select(user_api="blas")


def one_blas_thread() -> Any:
    """Compiled networks call BLAS for one network after the other: threads inside a product would fight over cores."""
    return _blas().limit(limits=1)


def recorded_phases(device: torch.device) -> AbstractContextManager[Mapping[str, float]]:
    """`market.support.phases.record`; a GPU works on after a call returns, so its phases wait for it."""
    return record(torch.cuda.synchronize if device.type == "cuda" else None)
