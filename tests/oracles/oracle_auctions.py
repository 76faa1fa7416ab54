"""The auctions of the slow twin: ranking, merging, the k-double auction's interval and the two trade reductions.

Lists, ints and Fractions, written from the rules (`market/docs/mechanisms.md`) and not from the code. Prices
are in ticks of 0.01 $/MWh or exact Fractions in $/MWh, energy is whole ticks of 1 Wh.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from fractions import Fraction


@dataclass(frozen=True)
class Order:
    """One row of a book. price in ticks of 0.01 $/MWh, quantity in Wh, reputation in 1/65535."""

    position: int
    price: int
    quantity: int
    is_buy: bool
    agent: int
    arrival: float
    reputation: int
    partner: int
    node: int | None

    @property
    def rank(self) -> tuple:
        """Price, then reputation, then arrival, then position: the smaller, the earlier it is served."""
        return (-self.price if self.is_buy else self.price, -self.reputation, self.arrival, self.position)

    @property
    def dollars(self) -> Fraction:
        return Fraction(self.price, 100)


def to_ticks(value: float, tick: float) -> int:
    return round(value / tick)


def exact(value: float) -> Fraction:
    """The decimal number that a float is written as, so that 29.1 is 2910 ticks and not a hair less."""
    return Fraction(repr(float(value)))


def ranked(orders, is_buy: bool) -> list[Order]:
    return sorted((o for o in orders if o.is_buy == is_buy), key=lambda o: o.rank)


def merge(bids: list[Order], asks: list[Order], left: dict[int, int], capacity: float, respect_price: bool = True):
    """Matches (bid, ask, Wh) in rank order while bid >= ask and capacity remains; left: Wh by position, not changed."""
    left, matches, i, j = dict(left), [], 0, 0
    while i < len(bids) and j < len(asks) and capacity > 0 and (not respect_price or bids[i].price >= asks[j].price):
        bid, ask = bids[i], asks[j]
        q = min(left[bid.position], left[ask.position], capacity)
        if q > 0:
            matches.append((bid, ask, int(q)))
        left[bid.position] -= q
        left[ask.position] -= q
        capacity -= q
        i += left[bid.position] == 0
        j += left[ask.position] == 0
    return matches


def uniform_interval(matches, bids: list[Order], asks: list[Order], left: dict[int, int]):
    """The interval of the k-double auction in ticks: (lower, upper), with -inf and inf for absent neighbours."""
    last_bid, last_ask = matches[-1][0], matches[-1][1]
    used = {}
    for bid, ask, q in matches:
        used[bid.position] = used.get(bid.position, 0) + q
        used[ask.position] = used.get(ask.position, 0) + q
    next_bid = max((o.price for o in bids if left[o.position] > used.get(o.position, 0)), default=-math.inf)
    next_ask = min((o.price for o in asks if left[o.position] > used.get(o.position, 0)), default=math.inf)
    lower, upper = max(last_ask.price, next_bid), min(last_bid.price, next_ask)
    return (lower, upper) if lower <= upper else (last_ask.price, last_bid.price)


def mcafee_units(bids, asks, unit: int, capacity: float, config):
    """McAfee (1992): (pairs, buyers' price, sellers' price) in a book of equal units."""
    efficient = 0
    while efficient < min(len(bids), len(asks)) and bids[efficient].price >= asks[efficient].price:
        efficient += 1
    room = efficient if capacity == math.inf else min(efficient, int(capacity) // unit)
    pairs = [(bids[k], asks[k], unit) for k in range(room)]
    if room == 0:
        return [], Fraction(0), Fraction(0)
    if room < efficient:
        return pairs, bids[room].dollars, asks[room].dollars
    next_bid = bids[room].dollars if room < len(bids) else Fraction(to_ticks(config.min_price, 0.01), 100)
    next_ask = asks[room].dollars if room < len(asks) else Fraction(to_ticks(config.max_price, 0.01), 100)
    middle = (next_bid + next_ask) / 2
    if asks[room - 1].dollars <= middle <= bids[room - 1].dollars:
        return pairs, middle, middle
    return pairs[:-1], bids[room - 1].dollars, asks[room - 1].dollars


def equal_cut(orders: list[Order], left: dict[int, int], volume: int) -> dict[int, int]:
    """Fills that sum to `volume`: each order gives up the same, none more than it has.

    The odd ticks go to the higher reputation, then to the earlier arrival, whatever the price.
    """
    wanted = [left[o.position] for o in orders]
    cut = bisect_left(range(max(wanted, default=0)), True, key=lambda c: sum(max(x - c, 0) for x in wanted) <= volume)
    fill = {o.position: max(left[o.position] - cut, 0) for o in orders}
    for o in sorted(orders, key=lambda o: o.rank[1:]):
        if cut and sum(fill.values()) < volume and left[o.position] >= cut:
            fill[o.position] += 1
    return fill


def trade_reduction(bids, asks, left, capacity):
    """Huang, Scheller-Wolf and Sycara (2002): the last bid and the last ask that trade leave, and set the prices."""
    matches = merge(bids, asks, left, capacity)
    if not matches:
        return [], Fraction(0), Fraction(0)
    last_bid, last_ask = matches[-1][0], matches[-1][1]
    buyers, sellers = bids[: bids.index(last_bid)], asks[: asks.index(last_ask)]
    volume = min(sum(left[o.position] for o in buyers), sum(left[o.position] for o in sellers))
    fill = equal_cut(buyers, left, volume) | equal_cut(sellers, left, volume)
    return merge(buyers, sellers, fill, math.inf, respect_price=False), last_bid.dollars, last_ask.dollars
