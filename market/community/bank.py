"""The days of a population: where its generation and demand come from, cut at midnight."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import ArrayLike

from market.community.measured import measured_profiles
from market.community.series import Source, cut_days, days_of, first_steps
from market.community.synthetic import synthetic_profiles
from market.support import check
from market.support.arrays import Floats

PROFILES: dict[str, Callable[..., tuple[Floats, Floats]]] = {
    "synthetic": synthetic_profiles,
    "measured": measured_profiles,
}
"""Where the generation and demand of a population come from: (capacity, steps, seed, step_hours) -> [N, T] each."""
STUDY_DAYS = 30
"""Days of the study's profiles; the last fifth is held out."""


def days_bank(
    capacity: ArrayLike,
    steps: int,
    seed: int,
    step_hours: float,
    profiles: str,
    sources: Mapping[str, Source | None],
    days: int | None,
) -> Floats:
    """Generation and demand of N agents on D days, [2, N, D, T], kWh.

    capacity: [N] kW.
    steps, step_hours: of a day, T and h.
    profiles: name of PROFILES, for what is None in `sources`.
    sources: generation and demand as in `market.community.series.days_of`; one day is then every day.
    days: D; None for as many as the sources have, STUDY_DAYS where they leave it open.
    """
    make, size = check.find(PROFILES, profiles, "profiles"), np.size(capacity)
    given = {name: days_of(each, steps, step_hours, size, name) for name, each in sources.items() if each is not None}
    several = {name: each.shape[1] for name, each in given.items() if each.shape[1] > 1}
    if days is None:
        days = min(several.values(), default=1 if len(given) == len(sources) else STUDY_DAYS)
    check.whole("days", days)
    for name, most in several.items():
        if days > most:
            raise ValueError(f"days: got {days}; allowed: 1 to {most}, the days in {name}")
    horizon = int(first_steps(days, steps, step_hours)[-1]) + steps
    bank = np.empty((2, size, days, steps))
    for which, (name, made) in enumerate(zip(sources, make(capacity, horizon, seed, step_hours), strict=True)):
        bank[which] = given[name][:, :days] if name in given else cut_days(made, steps, step_hours)
    return bank
