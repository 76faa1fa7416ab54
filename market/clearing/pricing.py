"""Pricing rules. To add one, write a function, give it a name in `ClearingMechanism` and a row in `RULES`.

A rule sees all matched pairs at once (`Pairs`) and returns a price per pair, [K] $/MWh, with ask <= price <= bid.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from market.support.arrays import Bools, Floats, Ints


class ClearingMechanism(StrEnum):
    """How a matched pair is priced; see `RULES`."""

    AVERAGE = "average"
    BUYER = "buyer"
    SELLER = "seller"
    BID_ASK_SPREAD = "bid_ask_spread"
    NASH_BARGAINING = "nash_bargaining"
    PROPORTIONAL_SURPLUS = "proportional_surplus"
    UNIFORM = "uniform"
    MCAFEE = "mcafee"


class Pairs(NamedTuple):
    """K matched pairs from E markets. Prices in $/MWh."""

    bid: Floats  # limit prices [K], bid >= ask
    ask: Floats
    market: Ints  # index of the pair's market [K]
    book: Bools  # stage 2 rather than partners [K]
    spread_share: float  # k in [0, 1]
    feed_in_tariff: Floats  # of the DSO [E]
    utility_price: Floats  # of the DSO [E]
    last_price: Floats  # the last clearing price [E]
    lower: Floats  # the interval of prices that clear the book [E]; under MCAFEE, what sellers receive, buyers pay
    upper: Floats


def average(pairs: Pairs) -> Floats:
    """(B + S) / 2."""
    return (pairs.bid + pairs.ask) / 2


def buyer(pairs: Pairs) -> Floats:
    """B: the buyer pays its bid, pay-as-bid."""
    return pairs.bid.copy()


def seller(pairs: Pairs) -> Floats:
    """S: the seller receives its ask."""
    return pairs.ask.copy()


def bid_ask_spread(pairs: Pairs) -> Floats:
    """S + k (B - S): the bilateral k-double auction of Chatterjee and Samuelson (1983), doi:10.1287/opre.31.5.835."""
    return np.clip(pairs.ask + pairs.spread_share * (pairs.bid - pairs.ask), pairs.ask, pairs.bid)


def nash_bargaining(pairs: Pairs) -> Floats:
    """Equal split of the gain over each side's outside option, the DSO; Nash (1950), doi:10.2307/1907266.

    Midpoint of [max(S, feed-in tariff), min(B, utility price)] when that is not empty, else (B + S) / 2.
    """
    low = np.maximum(pairs.ask, pairs.feed_in_tariff[pairs.market])
    high = np.minimum(pairs.bid, pairs.utility_price[pairs.market])
    return np.where(low <= high, (low + high) / 2, average(pairs))


def proportional_surplus(pairs: Pairs) -> Floats:
    """S + sd / (bd + sd) (B - S), with bd = max(B - m, 0), sd = max(m - S, 0) and m the last clearing price."""
    last = pairs.last_price[pairs.market]
    bid_gain, ask_gain = np.maximum(pairs.bid - last, 0.0), np.maximum(last - pairs.ask, 0.0)
    total = bid_gain + ask_gain
    share = np.divide(ask_gain, total, out=np.full_like(total, 0.5), where=total > 0)
    return np.clip(pairs.ask + share * (pairs.bid - pairs.ask), pairs.ask, pairs.bid)


def uniform(pairs: Pairs) -> Floats:
    """One price for the whole book: the midpoint of the k-double-auction interval; partners pay (B + S) / 2."""
    return np.where(pairs.book, ((pairs.lower + pairs.upper) / 2)[pairs.market], average(pairs))


def mcafee_buyer(pairs: Pairs) -> Floats:
    """What buyers pay after McAfee's (1992) trade reduction, doi:10.1016/0022-0531(92)90091-U; partners (B + S) / 2."""
    return np.where(pairs.book, pairs.upper[pairs.market], average(pairs))


def mcafee_seller(pairs: Pairs) -> Floats:
    """What sellers receive after the same trade reduction; never more than buyers pay."""
    return np.where(pairs.book, pairs.lower[pairs.market], average(pairs))


class Rule(NamedTuple):
    """How pairs are priced."""

    price: Callable[[Pairs], Floats]  # what the buyer pays
    seller_price: Callable[[Pairs], Floats] | None = None  # what the seller receives, where that differs

    @property
    def reduces_trade(self) -> bool:
        """Whether the rule excludes marginal orders (and therefore sets two prices)."""
        return self.seller_price is not None


RULES: dict[ClearingMechanism, Rule] = {
    ClearingMechanism.AVERAGE: Rule(average),
    ClearingMechanism.BUYER: Rule(buyer),
    ClearingMechanism.SELLER: Rule(seller),
    ClearingMechanism.BID_ASK_SPREAD: Rule(bid_ask_spread),
    ClearingMechanism.NASH_BARGAINING: Rule(nash_bargaining),
    ClearingMechanism.PROPORTIONAL_SURPLUS: Rule(proportional_surplus),
    ClearingMechanism.UNIFORM: Rule(uniform),
    ClearingMechanism.MCAFEE: Rule(mcafee_buyer, mcafee_seller),
}
