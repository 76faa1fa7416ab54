"""What a simulation needs to know of a community: its scenario as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from market.clearing.books import Nodes
from market.clearing.orders import Floats, Ints
from market.community.agents import Fleet, charge_discharge
from market.community.synthetic import DSOProfileHandler
from market.config import MarketConfig
from market.grid.network import Grid
from market.grid.power_flow import Feeder


class Alone(NamedTuple):
    """imported, exported: from and to the DSO [N, T]. stored: energy before and after each step [N, T + 1]. kWh."""

    imported: Floats
    exported: Floats
    stored: Floats


@dataclass(frozen=True, eq=False)
class Params:
    """What stays the same over all episodes of a scenario.

    config, grid, fleet, tariffs: rules, network (None without), batteries, and the DSO's prices.
    node: grid node of each agent [N].
    capacity: rated power [N], kW.
    generation, demand: [N, T], kWh.
    anchors: peers whose reputation each agent sees [N, A], -1 where there is none.
    redraw_tariffs: new DSO profiles for each episode, else those of episode 0.
    asynchronous: a new order of arrival for each step, else one per episode.
    max_error: largest relative measurement error.
    cooperation_weight: of the community's share in each reward.
    seed, step_hours: as in `Scenario`.
    """

    config: MarketConfig
    grid: Grid | None
    fleet: Fleet
    tariffs: DSOProfileHandler
    node: Nodes
    capacity: Floats
    generation: Floats
    demand: Floats
    anchors: Ints
    redraw_tariffs: bool
    asynchronous: bool
    max_error: float
    cooperation_weight: float
    seed: int
    step_hours: float

    @property
    def num_agents(self) -> int:
        return len(self.capacity)

    @property
    def max_steps(self) -> int:
        return self.generation.shape[1]

    @cached_property
    def alone(self) -> Alone:
        """The DSO-only baseline: each agent with its own battery and no market, whatever the tariffs."""
        stored = np.empty((self.num_agents, self.max_steps + 1))
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
        """$ for a reward of 1, [N]: mean DSO-only exchange of a step, or battery cycle a day, at the highest price."""
        own, cycle = (
            (self.alone.imported + self.alone.exported).mean(1),
            2 * (self.fleet.high - self.fleet.low) * self.step_hours / 24,
        )
        turnover = np.maximum(np.where(own > 0, own, cycle), self.config.min_quantity)
        return np.maximum(turnover * self.config.max_price / 1000, 1e-6)
