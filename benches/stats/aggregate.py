"""Scores of few runs over many tasks, as Agarwal et al. 2021 (arXiv:2108.13264) ask for them.

A task is a population, a score the mean position of a training between the DSO alone (0) and the cooperative optimum
(1), one for each seed. Intervals are percentiles of a stratified bootstrap: seeds are drawn anew within each task.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from benches.stats.intervals import Interval

Floats = NDArray[np.float64]
Scores = Mapping[int, Sequence[float]]
"""Scores of the seeds by task."""
REPLICATES = 2000
LEAST = 2
"""Seeds that some task must have for an interval."""


def interquartile_mean(runs: Floats) -> Floats:
    """Mean of the middle half of the scores [..., runs]."""
    cut = runs.shape[-1] // 4
    return np.asarray(np.sort(runs, axis=-1)[..., cut : runs.shape[-1] - cut].mean(-1))


def stratified(scores: Scores, statistic: Callable[[Floats], Floats], seed: int = 0) -> Interval:
    """A statistic of all scores with its interval; none where no task has LEAST seeds.

    statistic: of scores [..., runs] along the last axis.
    """
    values = [np.asarray(each, np.float64) for each in scores.values()]
    mid = float(statistic(np.concatenate(values)))
    if max(map(len, values)) < LEAST:
        return Interval(mid)
    drawn = statistic(np.concatenate(_drawn(values, np.random.default_rng(seed)), axis=1))
    return Interval(mid, *np.quantile(drawn, (0.025, 0.975)).tolist())


def _drawn(values: Sequence[Floats], draw: np.random.Generator) -> list[Floats]:
    """Each task's scores drawn anew, [REPLICATES, runs] a task."""
    return [each[draw.integers(len(each), size=(REPLICATES, len(each)))] for each in values]


def improvement(first: Scores, second: Scores, seed: int = 0) -> Interval:
    """Probability that a run of `first` scores more than one of `second`, mean over common tasks; ties are half."""
    tasks = sorted(first.keys() & second.keys())
    ours, theirs = ([np.asarray(scores[task], np.float64) for task in tasks] for scores in (first, second))

    def probability(x: Sequence[Floats], y: Sequence[Floats]) -> Floats:
        differences = (a[..., :, None] - b[..., None, :] for a, b in zip(x, y, strict=True))
        return np.asarray(np.mean([((np.sign(each) + 1) / 2).mean(axis=(-2, -1)) for each in differences], axis=0))

    mid, draw = float(probability(ours, theirs)), np.random.default_rng(seed)
    if max(map(len, [*ours, *theirs])) < LEAST:
        return Interval(mid)
    drawn = probability(_drawn(ours, draw), _drawn(theirs, draw))
    return Interval(mid, *np.quantile(drawn, (0.025, 0.975)).tolist())


def profile(scores: Scores, thresholds: Floats) -> list[Interval]:
    """Share of the runs that score more than each threshold: the performance profile."""

    def beyond(least: float) -> Callable[[Floats], Floats]:
        return lambda runs: np.asarray((runs > least).mean(-1))

    return [stratified(scores, beyond(least)) for least in thresholds.tolist()]
