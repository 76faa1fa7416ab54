"""Batteries and agents: thin descriptions for a scenario, and the fleet's state transition over [E, N] arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from market.clearing.orders import Floats
from market.config import check_positive_int, check_range


@dataclass(frozen=True)
class Battery:
    """A battery. nominal_capacity: kWh. min_soc <= initial_soc <= max_soc: state of charge, fractions of the capacity.

    charge_efficiency: stored per drawn kWh. discharge_efficiency: delivered per released kWh. Both in (0, 1].
    """

    nominal_capacity: float
    min_soc: float = 0.1
    max_soc: float = 0.9
    charge_efficiency: float = 0.95
    discharge_efficiency: float = 0.95
    initial_soc: float = 0.5

    def __post_init__(self) -> None:
        check_range("nominal_capacity", self.nominal_capacity, 0.0, 1e9, "kWh")
        check_range("min_soc", self.min_soc, 0.0, 1.0)
        check_range("max_soc", self.max_soc, 0.0, 1.0)
        if self.min_soc > self.max_soc:
            raise ValueError(f"min_soc: got {self.min_soc!r}; allowed: at most max_soc = {self.max_soc!r}")
        check_range("initial_soc", self.initial_soc, self.min_soc, self.max_soc)
        check_range("charge_efficiency", self.charge_efficiency, 1e-3, 1.0)
        check_range("discharge_efficiency", self.discharge_efficiency, 1e-3, 1.0)


NO_BATTERY = Battery(0.0)


def check_profile(field: str, value: ArrayLike) -> Floats:
    """A profile [T] of finite kWh >= 0 as float64, else a one-line ValueError."""
    try:
        profile = np.array(value, np.float64)  # a copy: what is checked does not change
    except (TypeError, ValueError):
        raise ValueError(f"{field}: got {value!r:.60}; allowed: an array [steps] of kWh per step") from None
    if profile.ndim != 1 or not len(profile):
        raise ValueError(f"{field}: got shape {profile.shape}; allowed: [steps], at least one step")
    bad = ~(np.isfinite(profile) & (profile >= 0))
    if bad.any():
        where = int(np.argmax(bad))
        raise ValueError(f"{field}: got {profile[where]} at step {where}; allowed: finite kWh >= 0")
    return profile


@dataclass(frozen=True, eq=False)
class DERAgent:
    """A household or business with distributed energy resources.

    id: a name of your own. capacity: rated power, kW. battery: None for none.
    generation_profile, demand_profile: kWh per step [T]. node: grid node; None to be placed by the scenario.
    """

    id: str
    capacity: float
    battery: Battery | None
    generation_profile: Floats
    demand_profile: Floats
    node: int | None = None

    def __post_init__(self) -> None:
        check_range("capacity", self.capacity, 1e-6, 1e9, "kW")
        if not isinstance(self.battery, Battery | None):
            raise ValueError(f"battery: got {self.battery!r:.60}; allowed: a Battery or None")
        for field in ("generation_profile", "demand_profile"):
            object.__setattr__(self, field, check_profile(field, getattr(self, field)))
        if len(self.generation_profile) != len(self.demand_profile):
            raise ValueError(
                f"demand_profile: got {len(self.demand_profile)} steps; "
                f"allowed: {len(self.generation_profile)}, as many as generation_profile"
            )
        if self.node is not None:
            check_positive_int("node", self.node, low=0)


def _none(agent: DERAgent) -> Floats:
    return np.zeros_like(agent.demand_profile)


KINDS: dict[str, Callable[[DERAgent], DERAgent]] = {
    "prosumer": lambda agent: agent,
    "consumer": lambda agent: replace(agent, battery=None, generation_profile=_none(agent)),
    "producer": lambda agent: replace(agent, battery=None, demand_profile=_none(agent)),
    "storage": lambda agent: replace(agent, generation_profile=_none(agent), demand_profile=_none(agent)),
}
"""What is left of an agent that has everything: all of it, demand alone, generation alone, or the battery alone."""


@dataclass(frozen=True, eq=False)
class Fleet:
    """The batteries of N agents. low, high: limits of the stored energy [N], kWh. initial: at the start [N], kWh.
    charge_efficiency, discharge_efficiency: [N]."""

    low: Floats
    high: Floats
    initial: Floats
    charge_efficiency: Floats
    discharge_efficiency: Floats

    @classmethod
    def of(cls, batteries: Sequence[Battery | None]) -> Fleet:
        """The batteries as arrays; None is a battery of no capacity."""
        known = [battery or NO_BATTERY for battery in batteries]
        size, low, high, start, charge, discharge = np.array(
            [
                (b.nominal_capacity, b.min_soc, b.max_soc, b.initial_soc, b.charge_efficiency, b.discharge_efficiency)
                for b in known
            ],
            np.float64,
        ).T
        return cls(size * low, size * high, size * start, charge, discharge)

    def acceptable(self, energy: Floats) -> Floats:
        """kWh that the batteries can draw, [..., N], when they hold `energy` kWh."""
        return np.maximum(self.high - energy, 0.0) / self.charge_efficiency

    def deliverable(self, energy: Floats) -> Floats:
        """kWh that the batteries can deliver, [..., N], when they hold `energy` kWh."""
        return np.maximum(energy - self.low, 0.0) * self.discharge_efficiency


@dataclass(frozen=True, eq=False)
class BatteryStep:
    """energy: stored after the step [..., N]. charged: drawn. discharged: delivered. All kWh."""

    energy: Floats
    charged: Floats
    discharged: Floats


def charge_discharge(residual: Floats, energy: Floats, fleet: Fleet) -> BatteryStep:
    """Store what is left over (residual > 0), deliver what is missing (< 0), as far as it fits; never refuses.

    residual, energy: [..., N] kWh. Drawing x stores charge_efficiency x; delivering x takes x / discharge_efficiency.
    """
    charged = np.minimum(np.maximum(residual, 0.0), fleet.acceptable(energy))
    discharged = np.minimum(np.maximum(-residual, 0.0), fleet.deliverable(energy))
    stored = energy + charged * fleet.charge_efficiency - discharged / fleet.discharge_efficiency
    return BatteryStep(np.clip(stored, fleet.low, fleet.high), charged, discharged)
