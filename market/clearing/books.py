"""Order books in ticks, as the simulation makes them and as sort keys."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from market.clearing.matching import _pack, _screen
from market.clearing.orders import Bools, Energies, Ints
from market.clearing.pricing import RULES
from market.config import DSO, PER_PRICE, MarketConfig
from market.support.threads import in_parts

Nodes = NDArray[np.int32]
Keys = NDArray[np.uint64]

SCREENED = 1024
"""Orders of a market by itself beyond which those that cannot trade are left out; fewer are sorted sooner."""


@dataclass(frozen=True, eq=False)
class Book:
    """E books of N orders in ticks, arrays [E, N]. Nothing is checked.

    price: 0.01 $/MWh. quantity: Wh, 0 is no order. is_buy. reputation: 0..65535.
    by_arrival: order positions, earliest first. agent: ids, or [E, 0] when each position is an agent of its own.
    node: grid nodes; None without a grid. partner: agent ids, DSO or NO_PARTNER; None when nobody names anybody.
    """

    price: Ints
    quantity: Energies
    is_buy: Bools
    reputation: Ints
    by_arrival: Ints
    agent: Ints
    node: Nodes | None = None
    partner: Ints | None = None

    def packed(self, threads: int = 1) -> Packed:
        """The same books as sort keys."""
        active = self.quantity > 0
        if self.partner is not None:
            active &= self.partner != DSO
        keys = np.empty(self.price.shape, np.uint64)

        def pack(part: slice) -> None:
            columns = (self.price, self.is_buy, active, self.reputation, self.by_arrival, keys)
            _pack(*(column[part] for column in columns))

        in_parts(pack, len(keys), threads)
        return Packed(keys, self.quantity, self.by_arrival, self.agent, self.node, self.partner)


@dataclass(frozen=True, eq=False)
class Packed:
    """E books of N orders as sort keys: what `clear_packed` takes.

    keys: in order of arrival; EMPTY for orders of nothing and those that go to the DSO at once. Clearing uses them up.
    by_arrival: as in `Book`, or [E, 0] when they arrive as they stand. node: as there, or [E, 0] when each stands at
    its position modulo the number of nodes. The rest as there.
    """

    keys: Keys
    quantity: Energies
    by_arrival: Ints
    agent: Ints
    node: Nodes | None = None
    partner: Ints | None = None


def price_limits(config: MarketConfig) -> tuple[int, int]:
    """The lowest and the highest price that orders may have, in ticks."""
    return round(config.min_price * PER_PRICE), round(config.max_price * PER_PRICE)


def ranked(keys: Keys, by_arrival: Ints, left: Energies, config: MarketConfig) -> Keys:
    """The keys of E markets, ascending [E, M]; made in place from those by arrival [E, N]. left: ticks [E, N].

    Orders of a large market by itself that cannot trade are left out, unless the rule looks at them, too.
    """
    if len(keys) == 1 and keys.size > SCREENED and not RULES[config.price_mechanism].reduces_trade:
        keys = keys[:, : _screen(keys[0], by_arrival[0], left[0], price_limits(config))]
    keys.sort(axis=1)
    return keys
