"""Order books in ticks, as the simulation makes them and as sort keys."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from market.config import DSO
from market.matching import _pack
from market.orders import Bools, Ints

Nodes = NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class Book:
    """E books of N orders in ticks, arrays [E, N]. Nothing is checked.

    price: 0.01 $/MWh. quantity: Wh, 0 is no order. is_buy. reputation: 0..65535.
    by_arrival: order positions, earliest first. agent: ids, or [E, 0] when each position is an agent of its own.
    node: grid nodes; None without a grid. partner: agent ids, DSO or NO_PARTNER; None when nobody names anybody.
    """

    price: Ints
    quantity: Ints
    is_buy: Bools
    reputation: Ints
    by_arrival: Ints
    agent: Ints
    node: Nodes | None = None
    partner: Ints | None = None

    def packed(self) -> Packed:
        """The same books as sort keys."""
        active = self.quantity > 0
        if self.partner is not None:
            active &= self.partner != DSO
        keys = np.empty(self.price.shape, np.uint64)
        _pack(self.price, self.is_buy, active, self.reputation, self.by_arrival, keys)
        return Packed(keys, self.quantity, self.by_arrival, self.agent, self.node, self.partner)


@dataclass(frozen=True, eq=False)
class Packed:
    """E books of N orders as sort keys: what `clear_packed` takes.

    keys: one per arrival rank, EMPTY for orders of nothing and those that go straight to the DSO [E, N]; clearing sorts
    them in place. by_arrival: as in `Book`, or [E, 0] when they arrive as they stand. The rest as in `Book`.
    """

    keys: NDArray[np.uint64]
    quantity: Ints
    by_arrival: Ints
    agent: Ints
    node: Nodes | None = None
    partner: Ints | None = None
