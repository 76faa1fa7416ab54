"""Where a simulation stands."""

from __future__ import annotations

from dataclasses import dataclass

from market.clearing.orders import Floats, Ints
from market.simulation.history import StepRecord


@dataclass(frozen=True, eq=False)
class State:
    """Where E episodes stand, all at the same step. step: 0..T. episode: numbers [E].

    feed_in_tariff, utility_price: the DSO's [E, T], $/MWh. energy: stored [E, N], kWh. reputation: [E, N].
    last_price: the last clearing price [E], $/MWh. last: the last step's record; None at the start.
    """

    step: int
    episode: Ints
    feed_in_tariff: Floats
    utility_price: Floats
    energy: Floats
    reputation: Floats
    last_price: Floats
    last: StepRecord | None
