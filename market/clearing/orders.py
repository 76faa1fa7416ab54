"""Orders and trades as struct-of-arrays: floats at the edge, integer ticks in the book."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from market.clearing.config import MarketConfig
from market.constants import DSO, ENERGY_TICK, NO_PARTNER, PER_KWH, PER_PRICE, PRICE_TICK
from market.support import check
from market.support.arrays import Bools, Floats, Ints
from market.support.tables import in_one_line, long_table

if TYPE_CHECKING:
    import pandas as pd

Energies = NDArray[np.int32]
"""Ticks of single orders and trades: half the memory of `Ints`, and looked up in random order."""
Positions = NDArray[np.int32]
"""Order positions of a batch, counted through its markets."""

MAX_ORDERS = 2**24
"""Orders that one book may hold: the packed sort key keeps 24 bits for the arrival rank."""
MAX_POSITIONS = 2**31 - 1
"""Order positions that a batch may hold, E x N."""
REPUTATION_STEPS = 2**16 - 1
"""Reputations of a book are whole multiples of 1 / REPUTATION_STEPS."""


def price_ticks(price: Floats) -> Ints:
    """$/MWh to the nearest integer tick of 0.01 $/MWh; same shape."""
    return np.rint(price / PRICE_TICK).astype(np.int64)


def energy_ticks(energy: Floats) -> Energies:
    """kWh to the nearest integer tick of 1 Wh; same shape."""
    return np.rint(energy / ENERGY_TICK).astype(np.int32)


def reputation_ticks(reputation: Floats) -> Ints:
    """[0, 1] to the nearest multiple of 1 / REPUTATION_STEPS; same shape."""
    return np.rint(reputation * REPUTATION_STEPS).astype(np.int64)


def price_of(ticks: NDArray[Any]) -> Floats:
    """Ticks to $/MWh, correctly rounded; same shape."""
    return np.asarray(ticks / PER_PRICE, np.float64)


def energy_of(ticks: NDArray[Any]) -> Floats:
    """Ticks to kWh, correctly rounded; same shape."""
    return np.asarray(ticks / PER_KWH, np.float64)


def sum_by(index: Ints, amount: Floats, size: int) -> Floats:
    """Sum of `amount` [K] by `index` [K] in 0..size-1, [size]; zeros where K is 0, too."""
    return np.bincount(index, amount, size).astype(np.float64, copy=False)  # of nothing it gives integers


def capacity_ticks(capacity: float, step_hours: float) -> int:
    """Whole Wh that `capacity` kW carries in a step; a rounding error of the product never costs a tick."""
    return int(min(capacity * step_hours / ENERGY_TICK + 1e-6, 2.0**62))


def bounds_of(config: MarketConfig) -> tuple[float, float, float, float]:
    """The lowest and highest float that round to an allowed price, $/MWh, and to an allowed quantity, kWh."""
    price, quantity = PRICE_TICK / 2, ENERGY_TICK / 2
    low, high = config.min_price - price, config.max_price + price
    return low, high, config.min_quantity - quantity, config.max_quantity + quantity


_COLUMNS: dict[str, tuple[type, float, float, str]] = {
    "price": (np.float64, 0.0, check.LARGEST, "finite numbers >= 0"),
    "quantity": (np.float64, 0.0, check.LARGEST, "finite numbers >= 0"),
    "is_buy": (np.bool_, False, True, "True or False"),
    "agent": (np.int64, 0, np.inf, "whole numbers >= 0 of 63 bits, ids"),
    "arrival": (np.float64, -check.LARGEST, check.LARGEST, "finite numbers"),
    "reputation": (np.float64, 0.0, 1.0, "0 to 1"),
    "partner": (np.int64, NO_PARTNER, np.inf, f"an agent id, {DSO} (the DSO) or {NO_PARTNER} (nobody)"),
    "node": (np.int64, 0, np.inf, "whole numbers >= 0 of 63 bits, nodes"),
}
"""Type of each column of `Orders`, its smallest and largest value, and how a message says what is allowed."""


@in_one_line
@dataclass(frozen=True, eq=False)
class Orders:
    """A book of n orders: checked and copied once, read-only from then on.

    price: limit price [n], $/MWh; rounded to 0.01 $/MWh.
    quantity: energy [n], kWh; rounded to 1 Wh; 0 is no order.
    is_buy: True for a bid, False for an ask [n].
    agent: id >= 0 of the agent that places the order [n]; by default each order has its own agent 0..n-1.
    arrival: time of arrival [n]; among equals the earlier goes first, then the earlier in the book. Default: all equal.
    reputation: [n] in [0, 1]; among equal prices the higher goes first. Default: all equal.
    partner: the agent to trade with first [n], or DSO (-1), or NO_PARTNER (-2, the default).
    node: grid node [n]; by default the agent's id modulo the number of nodes.
    """

    price: Floats
    quantity: Floats
    is_buy: Bools
    agent: Ints | None = None
    arrival: Floats | None = None
    reputation: Floats | None = None
    partner: Ints | None = None
    node: Ints | None = None

    def __post_init__(self) -> None:
        columns, size = vars(self), 0
        for field, value in columns.items():
            if value is not None or field in ("price", "quantity", "is_buy"):
                dtype, low, high, allowed = _COLUMNS[field]
                shape = ("orders" if field == "price" else size,)
                column = check.array(field, value, shape, dtype=dtype, low=low, high=high, allowed=allowed)
                column.flags.writeable = False
                columns[field], size = column, len(column)
        if size > MAX_ORDERS:
            raise ValueError(f"price: got {size} orders; allowed: at most {MAX_ORDERS} in one book")
        if self.agent is not None:
            buyers = self.agent[self.is_buy]
            both = np.isin(buyers, self.agent[~self.is_buy])
            if both.any():
                agent = buyers[np.argmax(both)]
                raise ValueError(f"is_buy: got bids and asks of agent {agent}; allowed: one side per agent in a book")
        if self.partner is not None:
            check.refuse("partner", self.partner, self.partner == self.agents, "another agent than the order's own")

    def __setstate__(self, columns: dict[str, Any]) -> None:
        vars(self).update(columns)
        self.__post_init__()  # arrays come out of a pickle writeable

    def __len__(self) -> int:
        return len(self.price)

    @property
    def agents(self) -> Ints:
        """Agent of each order, [n]."""
        return np.arange(len(self), dtype=np.int64) if self.agent is None else self.agent

    def to_frame(self) -> pd.DataFrame:
        """The orders as a table, with the columns that were given and the agents."""
        return long_table({"agent": self.agents} | {n: x for n, x in vars(self).items() if x is not None}, "position")

    def check_bounds(self, config: MarketConfig) -> None:
        """One-line ValueError for the first order outside the price or quantity limits of `config`."""
        (low, high, least, most), price, quantity = bounds_of(config), self.price, self.quantity
        allowed = f"{config.min_price:g} to {config.max_price:g} $/MWh"
        check.refuse("price", price, ~((price >= low) & (price <= high)), allowed)  # not a number fails, too
        allowed = f"0 (no order) or {config.min_quantity:g} to {config.max_quantity:g} kWh"
        check.refuse("quantity", quantity, ~((quantity == 0) | (quantity >= least) & (quantity <= most)), allowed)


@in_one_line
@dataclass(frozen=True, eq=False)
class Trades:
    """K trades. The seller injects `quantity`, and the buyer receives all of it.

    buyer, seller: agent ids >= 0, or DSO (-1) [K].
    price: what the buyer pays [K], $/MWh.
    seller_price: what the seller receives [K], $/MWh; below `price` only under MCAFEE, where the DSO keeps the rest.
    quantity: [K] kWh.
    stage: 1 partners, 2 book, 3 DSO [K].
    distance: [K] km.
    loss: energy that the DSO supplies for losses [K], kWh.
    fee: [K] $, half of it charged to each side.
    """

    buyer: Ints
    seller: Ints
    price: Floats
    seller_price: Floats
    quantity: Floats
    stage: NDArray[np.int8]
    distance: Floats
    loss: Floats
    fee: Floats

    def __len__(self) -> int:
        return len(self.buyer)

    @property
    def p2p(self) -> Bools:
        """True for trades between two agents, [K]."""
        return self.stage < 3

    def to_frame(self) -> pd.DataFrame:
        """The trades as a table: buyer, seller, price $/MWh, quantity kWh, stage, distance km, loss kWh, fee $."""
        names = ("buyer", "seller", "price", "quantity", "stage", "distance", "loss", "fee")
        return long_table({name: getattr(self, name) for name in names})
