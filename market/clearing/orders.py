"""Orders and trades as struct-of-arrays: floats at the edge, integer ticks in the book."""

from __future__ import annotations

from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from market.config import DSO, ENERGY_TICK, NO_PARTNER, PER_KWH, PER_PRICE, PRICE_TICK, MarketConfig

if TYPE_CHECKING:
    import pandas as pd

PRICE_SLACK, QUANTITY_SLACK = PRICE_TICK / 2, ENERGY_TICK / 2
"""How far a float may lie outside a limit and still round to it, $/MWh and kWh."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Energies = NDArray[np.int32]
"""Ticks of single orders and trades: half the memory of `Ints`, and looked up in random order."""
Positions = NDArray[np.int32]
"""Order positions of a batch, counted through its markets."""
Bools = NDArray[np.bool_]

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
    return int(capacity * step_hours / ENERGY_TICK + 1e-6)


def _first(bad: Bools) -> int:
    return int(np.argmax(bad))


def _column(field: str, value: ArrayLike, size: int | None, dtype: type) -> NDArray[Any]:
    """`value` as a [size] array of `dtype`, refusing what would not survive the conversion."""
    try:
        raw = np.asarray(value)
        with np.errstate(invalid="ignore"):
            column: NDArray[Any] = raw.astype(dtype)
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{field}: got {value!r:.60}; allowed: a 1-d array of numbers") from None
    if column.ndim != 1:
        raise ValueError(f"{field}: got an array of shape {column.shape}; allowed: one dimension, [orders]")
    if size is not None and len(column) != size:
        raise ValueError(f"{field}: got {len(column)} values; allowed: {size}, as many as prices")
    if dtype is not np.float64 and raw.dtype != dtype:
        lost = column != raw
        if lost.any():
            allowed = "True or False" if dtype is np.bool_ else "whole numbers of 64 bits"
            raise ValueError(f"{field}: got {raw[_first(lost)]} at {_first(lost)}; allowed: {allowed}")
    return column


@dataclass(frozen=True, eq=False)
class Orders:
    """A book of n orders.

    price: limit price [n], $/MWh; rounded to 0.01 $/MWh. quantity: energy [n], kWh; rounded to 1 Wh; 0 is no order.
    is_buy: True for a bid, False for an ask [n].
    agent: whose order it is [n], >= 0; by default each order has its own agent 0..n-1.
    arrival: time of arrival [n], earlier goes first among equals; by default the position in the book, which also
    breaks ties of equal arrivals. reputation: [n] in [0, 1], higher goes first among equal prices; by default
    all equal.
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
        size = None
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None:
                continue
            dtype = {"is_buy": np.bool_, "agent": np.int64, "partner": np.int64, "node": np.int64}.get(
                field.name, np.float64
            )
            column = _column(field.name, value, size, dtype)
            size = len(column) if size is None else size
            object.__setattr__(self, field.name, column)
        if len(self.price) > MAX_ORDERS:
            raise ValueError(f"price: got {len(self.price)} orders; allowed: at most {MAX_ORDERS} in one book")
        for name in ("price", "quantity", "arrival", "reputation"):
            column = getattr(self, name)
            if column is None:
                continue
            low, high = (-np.inf if name == "arrival" else 0.0), (1.0 if name == "reputation" else np.inf)
            bad = ~(np.isfinite(column) & (column >= low) & (column <= high))
            if bad.any():
                allowed = {"reputation": "0 to 1", "arrival": "finite numbers"}.get(name, "finite numbers >= 0")
                raise ValueError(f"{name}: got {column[_first(bad)]} at {_first(bad)}; allowed: {allowed}")
        self._check_identities()

    def _check_identities(self) -> None:
        if self.agent is not None and len(self.agent) and self.agent.min() < 0:
            bad = self.agent < 0
            raise ValueError(f"agent: got {self.agent[_first(bad)]} at {_first(bad)}; allowed: ids >= 0")
        if self.node is not None and len(self.node) and self.node.min() < 0:
            bad = self.node < 0
            raise ValueError(f"node: got {self.node[_first(bad)]} at {_first(bad)}; allowed: node numbers >= 0")
        if self.agent is not None:
            both = both_sides(self.agent, self.is_buy)
            if both is not None:
                raise ValueError(f"is_buy: got bids and asks of agent {both}; allowed: one side per agent in a book")
        if self.partner is not None:
            bad = self.partner < NO_PARTNER
            if bad.any():
                raise ValueError(
                    f"partner: got {self.partner[_first(bad)]} at {_first(bad)}; allowed: an agent id, "
                    f"{DSO} (the DSO) or {NO_PARTNER} (nobody)"
                )
            bad = self.partner == self.agents
            if bad.any():
                raise ValueError(
                    f"partner: got the order's own agent {self.partner[_first(bad)]}; allowed: another agent"
                )

    def __len__(self) -> int:
        return len(self.price)

    @cached_property
    def agents(self) -> Ints:
        """Agent of each order, [n]."""
        return np.arange(len(self), dtype=np.int64) if self.agent is None else self.agent

    def check_bounds(self, config: MarketConfig) -> None:
        """One-line ValueError for the first order outside the price or quantity limits of `config`."""
        bad = (self.price < config.min_price - PRICE_SLACK) | (self.price > config.max_price + PRICE_SLACK)
        if bad.any():
            raise ValueError(
                f"price: got {self.price[_first(bad)]} at {_first(bad)}; "
                f"allowed: {config.min_price:g} to {config.max_price:g} $/MWh"
            )
        low, high = config.min_quantity - QUANTITY_SLACK, config.max_quantity + QUANTITY_SLACK
        bad = ((self.quantity < low) & (self.quantity > 0)) | (self.quantity > high)
        if bad.any():
            raise ValueError(
                f"quantity: got {self.quantity[_first(bad)]} at {_first(bad)}; "
                f"allowed: 0 (no order) or {config.min_quantity:g} to {config.max_quantity:g} kWh"
            )


def both_sides(agent: Ints, is_buy: Bools) -> int | None:
    """Some agent with both bids and asks, or None. agent, is_buy: [n]."""
    if not len(agent):
        return None
    if agent.max() < 8 * len(agent) + 1024:  # ids are dense: count instead of sorting
        size = int(agent.max()) + 1
        both = (np.bincount(agent[is_buy], minlength=size) > 0) & (np.bincount(agent[~is_buy], minlength=size) > 0)
        return _first(both) if both.any() else None
    shared = np.intersect1d(agent[is_buy], agent[~is_buy])
    return int(shared[0]) if len(shared) else None


@dataclass(frozen=True, eq=False)
class Trades:
    """K trades. Agent ids are >= 0, the DSO is -1; the seller injects `quantity` and the buyer receives all of it.

    buyer, seller: [K]. price: what the buyer pays [K], $/MWh. seller_price: what the seller receives [K], $/MWh; it
    differs from `price` under MCAFEE alone, the DSO keeps the difference. quantity: [K] kWh.
    stage: 1 partners, 2 book, 3 DSO [K]. distance: [K] km. loss: energy that the DSO supplies for losses [K], kWh.
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
        """Which trades are between two agents, [K]."""
        return self.stage < 3

    def to_frame(self) -> pd.DataFrame:
        """The trades as a table: buyer, seller, price $/MWh, quantity kWh, stage, distance km, loss kWh, fee $."""
        import pandas as pd

        names = ("buyer", "seller", "price", "quantity", "stage", "distance", "loss", "fee")
        return pd.DataFrame({name: getattr(self, name) for name in names})
