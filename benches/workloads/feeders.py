"""What the cases on the IEEE 34 feeder prepare and call: clearing with partners, losses and fees; power flow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from benches.case import Params
from benches.workloads import naive
from benches.workloads.inputs import INPUTS, SEED, Books, books_of, number

if TYPE_CHECKING:
    from market.clearing.orders import Floats, Ints
    from market.grid.network import Grid
    from market.grid.power_flow import Feeder

MUTUAL, TO_DSO = 0.1, 0.05
"""Share of the pairs of neighbours in a book who name each other, and of the orders that name the DSO."""


def ieee34(capacity: float) -> Grid:
    """The feeder; capacity: kW."""
    from market import GridNetwork, GridTopology

    return GridNetwork(GridTopology.IEEE34, num_nodes=34, capacity=capacity, seed=SEED).to_grid()


def books_on_feeder(params: Params) -> Books:
    """Random books that pass all three stages, with capacity enough for all trades, so that each is routed."""
    from market import DSO, NO_PARTNER, MarketConfig

    size = number(params, "orders")
    prepared = books_of(size, grid=ieee34(MarketConfig().max_quantity * size))
    rng, agent = np.random.default_rng([SEED, size, 34]), np.arange(size)

    def partners() -> Ints:
        mate = np.where(np.repeat(rng.random(size // 2 + 1) < MUTUAL, 2)[:size], agent ^ 1, NO_PARTNER)
        return np.where(rng.random(size) < TO_DSO, DSO, mate)

    return replace(prepared, books=[replace(book, partner=partners()) for book in prepared.books])


@dataclass(frozen=True)
class Injections:
    """What the nodes of a feeder feed in less what they take: several times [snapshots, n], kWh per hour."""

    solve: Callable[[Feeder, Floats], object]
    feeder: Feeder
    injections: Sequence[Floats]


def injections(params: Params) -> Injections:
    """Snapshots of injections, up to 20 kW each way at a node."""
    from market.grid.power_flow import Feeder, power_flow

    grid, snapshots = ieee34(5000.0), number(params, "snapshots")
    feeder = Feeder.of(grid)
    assert feeder is not None  # IEEE 34 has no loops
    rng = np.random.default_rng([SEED, snapshots])
    return Injections(
        power_flow, feeder, [rng.uniform(-20.0, 20.0, (snapshots, grid.num_nodes)) for _ in range(INPUTS)]
    )


def power_flow(prepared: Injections, turn: int) -> None:
    """Flows and voltages of the next snapshots, by LinDistFlow."""
    prepared.solve(prepared.feeder, prepared.injections[turn % len(prepared.injections)])


def textbook_flow(prepared: Injections, turn: int) -> None:
    """The same by textbook loops."""
    naive.textbook_flow(prepared.feeder, prepared.injections[turn % len(prepared.injections)])
