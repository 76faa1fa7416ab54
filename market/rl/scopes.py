"""Settings of the process that training borrows and gives back: random states and the number of threads."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from enum import IntEnum

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
    """
    states = random.getstate(), np.random.get_state()
    number = derive(seed, stream, *position)
    with torch.random.fork_rng(devices=[]):
        try:
            random.seed(number)
            np.random.seed(number)
            torch.default_generator.manual_seed(number)
            if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
                torch.cuda.manual_seed_all(number)  # torch.manual_seed notes its caller's stack until a GPU is in use
            yield number
        finally:
            random.setstate(states[0])
            np.random.set_state(states[1])


@contextmanager
def torch_threads(count: int) -> Iterator[None]:
    """Torch computes on `count` threads inside."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def recorded_phases(device: torch.device) -> AbstractContextManager[Mapping[str, float]]:
    """`market.support.phases.record` for work on `device`: a GPU works on after a call returns, so its phases wait for
    it."""
    return record(torch.cuda.synchronize if device.type == "cuda" else None)
