"""Batteries and agents: as descriptions, and as the arrays of a simulation (Fleet, Params)."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from types import NoneType
from typing import NamedTuple

import numpy as np

from market.clearing.books import Nodes
from market.clearing.config import MarketConfig
from market.community.series import check_numbers
from market.community.synthetic import DSOProfileHandler
from market.grid.network import Grid
from market.grid.power_flow import Feeder
from market.support import check
from market.support.arrays import Floats, Ints
from market.support.tables import in_one_line


@dataclass(frozen=True)
class Battery:
    """A battery.

    nominal_capacity: kWh.
    min_soc, max_soc, initial_soc: state of charge, fractions of the capacity; the initial one lies between the others.
    charge_efficiency: kWh stored per kWh drawn, in (0, 1].
    discharge_efficiency: kWh delivered per kWh released, in (0, 1].
    power: most that it draws, and most that it delivers, at its terminals, kW; None for no limit.
    """

    nominal_capacity: float
    min_soc: float = 0.1
    max_soc: float = 0.9
    charge_efficiency: float = 0.95
    discharge_efficiency: float = 0.95
    initial_soc: float = 0.5
    power: float | None = None

    def __post_init__(self) -> None:
        check.fields(self, 0.0, 1e9, "nominal_capacity", unit="kWh")
        check.fields(self, 0.0, 1.0, "min_soc", "max_soc")
        check.fields(self, 1e-3, 1.0, "charge_efficiency", "discharge_efficiency")
        if self.min_soc > self.max_soc:
            raise ValueError(f"min_soc: got {self.min_soc!r}; allowed: at most max_soc = {self.max_soc!r}")
        check.fields(self, self.min_soc, self.max_soc, "initial_soc")
        if self.power is not None:
            check.fields(self, 0.0, 1e9, "power", unit="kW, or None for no limit")


@in_one_line
@dataclass(frozen=True, eq=False)
class DERAgent:
    """A household or business with distributed energy resources.

    id: text, unique within a scenario.
    capacity: rated power, kW.
    battery: None for none.
    generation_profile, demand_profile: kWh per step, [T] of one day or [D, T] of D days.
    node: grid node; None lets the scenario choose.
    """

    id: str
    capacity: float
    battery: Battery | None
    generation_profile: Floats
    demand_profile: Floats
    node: int | None = None

    def __post_init__(self) -> None:
        check.fields(self, 1e-6, 1e9, "capacity", unit="kW")
        check.instance("id", self.id, str)
        check.instance("battery", self.battery, Battery, NoneType)
        for field in ("generation_profile", "demand_profile"):
            object.__setattr__(self, field, check_numbers(field, getattr(self, field), (1, 2), "kWh", "days"))
        got, allowed = np.atleast_2d(self.demand_profile).shape, self.shape
        if got != allowed:
            raise ValueError(
                f"demand_profile: got {got[0]} days of {got[1]} steps; "
                f"allowed: {allowed[0]} of {allowed[1]}, as in generation_profile"
            )
        if self.node is not None:
            check.whole("node", self.node, low=0)

    @property
    def shape(self) -> tuple[int, int]:
        """Days and steps of a day of its profiles, (D, T)."""
        days, steps = np.atleast_2d(self.generation_profile).shape
        return days, steps


KINDS = {
    "prosumer": ("battery", "generation", "demand"),
    "consumer": ("demand",),
    "producer": ("generation",),
    "storage": ("battery",),
}
"""What agents of each kind have."""


@in_one_line
@dataclass(frozen=True, eq=False)
class Fleet:
    """The batteries of N agents, [N] each."""

    low: Floats  # limits of the stored energy, kWh
    high: Floats
    initial: Floats  # stored at the start, kWh
    charge_efficiency: Floats  # kWh stored per kWh drawn
    discharge_efficiency: Floats  # kWh delivered per kWh released
    step_limit: Floats  # most drawn, and most delivered, in a step, kWh; inf for no limit

    @classmethod
    def of(cls, batteries: Sequence[Battery | None], step_hours: float) -> Fleet:
        """The batteries as arrays for steps of `step_hours` h; None counts as a battery of capacity 0."""
        none = Battery(0.0)
        rows = np.array([[*vars(battery or none).values()] for battery in batteries], np.float64)
        size, low, high, charge, discharge, start, power = rows.T
        limit = np.where(np.isnan(power), np.inf, power * step_hours)
        return cls(size * low, size * high, size * start, charge, discharge, limit)

    def acceptable(self, energy: Floats) -> Floats:
        """kWh that the batteries can draw in a step, [..., N], when they hold `energy` kWh."""
        return np.minimum(np.maximum(self.high - energy, 0.0) / self.charge_efficiency, self.step_limit)

    def deliverable(self, energy: Floats) -> Floats:
        """kWh that the batteries can deliver in a step, [..., N], when they hold `energy` kWh."""
        return np.minimum(np.maximum(energy - self.low, 0.0) * self.discharge_efficiency, self.step_limit)


@dataclass(frozen=True, eq=False)
class BatteryStep:
    """energy: stored after the step; charged: drawn; discharged: delivered; all [..., N], kWh."""

    energy: Floats
    charged: Floats
    discharged: Floats


def charge_discharge(residual: Floats, energy: Floats, fleet: Fleet) -> BatteryStep:
    """Store a surplus or deliver what is missing, as far as the batteries can.

    residual: surplus (> 0) or deficit (< 0) [..., N], kWh. Drawing x stores charge_efficiency x, and delivering x takes
        x / discharge_efficiency.
    energy: stored before the step [..., N], kWh.
    """
    charged = np.minimum(np.maximum(residual, 0.0), fleet.acceptable(energy))
    discharged = np.minimum(np.maximum(-residual, 0.0), fleet.deliverable(energy))
    stored = energy + charged * fleet.charge_efficiency - discharged / fleet.discharge_efficiency
    return BatteryStep(np.minimum(np.maximum(stored, fleet.low), fleet.high), charged, discharged)


class Alone(NamedTuple):
    """imported, exported: from and to the DSO [D, T, N]. stored: before and after each step [D, T + 1, N]. kWh."""

    imported: Floats
    exported: Floats
    stored: Floats


@in_one_line
@dataclass(frozen=True, eq=False)
class Params:
    """What stays the same over all episodes of a scenario: N agents, D days of T steps, A anchors."""

    config: MarketConfig
    grid: Grid | None
    fleet: Fleet
    tariffs: DSOProfileHandler
    node: Nodes  # grid node of each agent [N]
    capacity: Floats  # rated power [N], kW
    generation: Floats  # [D, T, N], kWh
    demand: Floats  # [D, T, N], kWh
    days: Ints  # those that episodes draw from [K]
    anchors: Ints  # peers whose reputation each agent sees [N, A], -1 where there is none
    redraw_profiles: bool  # a day for each episode, else the first of `days` for all
    redraw_tariffs: bool  # new DSO prices for each episode, else those of episode 0
    asynchronous: bool  # a new order of arrival for each step, else one per episode
    max_error: float  # largest relative measurement error
    cooperation_weight: float  # of the community's score in each reward
    seed: int
    step_hours: float

    @property
    def num_agents(self) -> int:
        return len(self.capacity)

    @property
    def num_days(self) -> int:
        return self.generation.shape[0]

    @property
    def max_steps(self) -> int:
        return self.generation.shape[1]

    def on(self, days: Ints) -> Params:
        """The same with episodes that draw from `days` [K]; all arrays are shared, derived ones too."""
        other = copy(self)
        vars(other)["days"] = days
        return other

    @cached_property
    def alone(self) -> Alone:
        """The DSO-only baseline: each agent with its own battery and no market, whatever the tariffs."""
        stored = np.empty((self.num_days, self.max_steps + 1, self.num_agents))
        imported, exported = np.empty_like(self.generation), np.empty_like(self.generation)
        stored[:, 0] = self.fleet.initial
        for t in range(self.max_steps):
            net = self.generation[:, t] - self.demand[:, t]
            battery = charge_discharge(net, stored[:, t], self.fleet)
            balance = net - battery.charged + battery.discharged
            imported[:, t], exported[:, t] = np.maximum(-balance, 0.0), np.maximum(balance, 0.0)
            stored[:, t + 1] = battery.energy
        return Alone(imported, exported, stored)

    @cached_property
    def feeder(self) -> Feeder | None:
        """The grid as a radial feeder; None without a grid and where it has loops."""
        return None if self.grid is None else Feeder.of(self.grid)

    @cached_property
    def reward_scale(self) -> Floats:
        """$ for a reward of 1, [N]: mean DSO-only exchange of a step, or battery cycle a day, at the highest price.

        The mean is over all days, those held out too, so that returns of training and evaluation compare.
        """
        exchange = (self.alone.imported + self.alone.exported).reshape(-1, self.num_agents)
        own = np.ascontiguousarray(exchange.T).mean(1)  # row by row: the sum of one day is what it was, to the last bit
        cycle = 2 * (self.fleet.high - self.fleet.low) * self.step_hours / 24
        turnover = np.maximum(np.where(own > 0, own, cycle), self.config.min_quantity)
        return np.maximum(turnover * self.config.max_price / 1000, 1e-6)
