"""Stateless random numbers: market e of a batch draws what the same market draws alone.

Every number is a hash of (seed, episode, step, stream, position): the finaliser of SplitMix64 (Steele, Lea and Flood,
"Fast splittable pseudorandom number generators", OOPSLA 2014, doi:10.1145/2660193.2660195), applied part by part.
Streams keep the uses apart; they are named here so that no two share one.
"""

from __future__ import annotations

import numpy as np
from numba import uint64
from numpy.typing import NDArray

from market.support.kernels import kernel

TARIFF_STREAM, ARRIVAL_STREAM, ERROR_STREAM, ANCHOR_STREAM = range(4)
POPULATION_STREAM, HOUSEHOLD_STREAM, WEATHER_STREAM, POLICY_STREAM = range(4, 8)
DAY_STREAM = 8

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)


@kernel(inline="always")
def _mix(x):  # type: ignore[no-untyped-def]
    x = (x ^ (x >> uint64(30))) * uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> uint64(27))) * uint64(0x94D049BB133111EB)
    return x ^ (x >> uint64(31))


@kernel(inline="always")
def _start(seed, episode, step, stream):  # type: ignore[no-untyped-def]
    key = _mix(uint64(seed) + _GOLDEN)
    key = _mix(key ^ (uint64(episode) + _GOLDEN))
    return _mix(key ^ ((uint64(step) << uint64(8)) + uint64(stream) + _GOLDEN))


@kernel
def _uniform(seed, episode, step, stream, out):  # type: ignore[no-untyped-def]
    for e in range(out.shape[0]):
        key = _start(seed, episode[e], step, stream)
        for i in range(out.shape[1]):
            key += _GOLDEN
            out[e, i] = (_mix(key) >> uint64(11)) * 2.0**-53


@kernel
def _permutation(seed, episode, step, stream, out):  # type: ignore[no-untyped-def]
    for e in range(out.shape[0]):
        key = _start(seed, episode[e], step, stream)
        for i in range(out.shape[1]):  # Fisher-Yates, inside out
            key += _GOLDEN
            j = int((_mix(key) >> uint64(11)) * 2.0**-53 * (i + 1))
            out[e, i] = out[e, j]
            out[e, j] = i


def uniform(seed: int, episode: NDArray[np.int64], step: int, stream: int, size: int) -> NDArray[np.float64]:
    """Uniform numbers in [0, 1), [E, size]; row e depends on (seed, episode[e], step, stream) alone."""
    out = np.empty((len(episode), size))
    with np.errstate(over="ignore"):  # hashes wrap around; compiled code never warns
        _uniform(seed, episode, step, stream, out)
    return out


def permutation(seed: int, episode: NDArray[np.int64], step: int, stream: int, size: int) -> NDArray[np.int64]:
    """A random order of 0..size-1 for each episode, [E, size]."""
    out = np.empty((len(episode), size), np.int64)
    with np.errstate(over="ignore"):
        _permutation(seed, episode, step, stream, out)
    return out
