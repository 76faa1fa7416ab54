"""Order books in ticks, as the simulation makes them and as sort keys."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from market.clearing.config import MarketConfig
from market.clearing.matching import Keys, pack, screen
from market.clearing.orders import Energies
from market.clearing.pricing import RULES
from market.constants import DSO, PER_PRICE
from market.support.arrays import Bools, Ints
from market.support.threads import in_parts

Nodes = NDArray[np.int32]

SCREENED = 1024
"""Single books with more orders are pre-filtered before sorting; smaller ones are faster to sort whole."""


@dataclass(eq=False)  # not frozen: see `market.clearing.batch.Cleared`
class Packed:
    """E books of N orders as sort keys, [E, N]; clearing uses the keys up."""

    keys: Keys  # in order of arrival; EMPTY for orders of nothing and those that go to the DSO at once
    quantity: Energies  # Wh, 0 is no order
    by_arrival: Ints  # order positions, earliest first; [E, 0] when they arrive as they stand
    agent: Ints  # ids; [E, 0] when each position is an agent of its own
    node: Nodes | None = None  # grid nodes; [E, 0] means position modulo the number of nodes; None without a grid
    partner: Ints | None = None  # agent ids, DSO or NO_PARTNER; None without preferences


@dataclass(frozen=True, eq=False)
class Book:
    """E books of N orders in ticks, [E, N]. Nothing is checked."""

    price: Ints  # 0.01 $/MWh
    quantity: Energies  # Wh, 0 is no order
    is_buy: Bools
    reputation: Ints  # 0..65535
    by_arrival: Ints  # this and the rest as in `Packed`, but order positions [E, N]
    agent: Ints
    node: Nodes | None = None
    partner: Ints | None = None

    def packed(self, threads: int = 1) -> Packed:
        """The same books as sort keys."""
        active = self.quantity > 0
        if self.partner is not None:
            active &= self.partner != DSO
        keys = np.empty(self.price.shape, np.uint64)
        columns = (self.price, self.is_buy, active, self.reputation, self.by_arrival, keys)
        in_parts(lambda part: pack(*(column[part] for column in columns)), len(keys), threads)
        return Packed(keys, self.quantity, self.by_arrival, self.agent, self.node, self.partner)


def price_limits(config: MarketConfig) -> tuple[int, int]:
    """The lowest and the highest price that orders may have, in ticks."""
    return round(config.min_price * PER_PRICE), round(config.max_price * PER_PRICE)


def ranked(book: Packed, left: Energies, part: slice, config: MarketConfig) -> Keys:
    """The keys of a part of the markets, ascending [.., M]; made in place from those by arrival.

    Orders of a large single market that cannot trade are left out, unless the pricing rule looks at them, too.

    left: ticks of the orders [E, N].
    """
    keys = book.keys[part]
    if len(left) == 1 and keys.size > SCREENED and not RULES[config.price_mechanism].reduces_trade:
        keys = keys[:, : screen(keys[0], book.by_arrival[0], left[0], price_limits(config))]
    keys.sort(axis=1)
    return keys
