"""What the cases on the IEEE 34 feeder prepare and call: clearing with partners, losses and fees; power flow."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from benches.case import Params
from benches.workloads import naive
from benches.workloads.inputs import INPUTS, SEED, Books, Calls, books_of, number

if TYPE_CHECKING:
    from market.grid.network import Grid
    from market.support.arrays import Ints

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


def injections(params: Params) -> Calls:
    """The power flow, by LinDistFlow, of snapshots of what the nodes feed in less what they take, [snapshots, n], up to
    20 kW each way.
    """
    from market.grid.power_flow import Feeder, power_flow

    grid, snapshots = ieee34(5000.0), number(params, "snapshots")
    feeder = Feeder.of(grid)
    assert feeder is not None  # IEEE 34 has no loops
    rng = np.random.default_rng([SEED, snapshots])
    return [partial(power_flow, feeder, rng.uniform(-20.0, 20.0, (snapshots, grid.num_nodes))) for _ in range(INPUTS)]


def textbook_flow(prepared: Calls, turn: int) -> None:
    """The same by textbook loops."""
    naive.textbook_flow(*prepared[turn % len(prepared)].args)
