"""Where a simulation stands (State), what a step leaves behind (StepRecord), and whole episodes (History)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from market.clearing.batch import Cleared
from market.clearing.orders import Trades
from market.clearing.single import all_trades
from market.simulation.settlement import Account
from market.support import check
from market.support.arrays import Bools, Floats, Ints
from market.support.tables import in_one_line, long_table

if TYPE_CHECKING:
    import pandas as pd

AXES = ("step", "episode", "agent")


@in_one_line
@dataclass(frozen=True, eq=False)
class Flows:
    """Energy (kWh), money ($) and prices ($/MWh) of agents [..., E, N], then of communities [..., E].

    "Alone" is trade with the DSO only; "p2p" is trade with peers.
    """

    generation: Floats
    demand: Floats
    ordered: Floats
    is_buy: Bools
    bought_p2p: Floats
    sold_p2p: Floats
    bought_dso: Floats  # what is left of the orders
    sold_dso: Floats
    charged: Floats  # drawn by the battery
    discharged: Floats  # delivered by the battery
    imported: Floats  # what is left of the balance
    exported: Floats
    energy: Floats  # stored after the step
    fee: Floats  # network fees
    cost: Floats  # paid in all
    alone_cost: Floats  # what the agent would pay alone
    saving: Floats  # alone_cost - cost, and the value of the energy stored beyond that stored alone
    feed_in_tariff: Floats
    utility_price: Floats
    clearing_price: Floats  # nan without trades
    social_welfare: Floats  # gains from trade
    budget_surplus: Floats
    dso_income: Floats  # all that the DSO takes in
    loss: Floats  # supplied by the DSO for losses
    congestion_mean: Floats  # |flow| / capacity over the lines
    congestion_max: Floats
    overloaded_hours: Floats  # summed over the lines
    voltage_deviation: Floats  # largest |voltage - 1| of a node, p.u.; nan without a grid and with loops

    @cached_property
    def from_dso(self) -> Floats:
        """All energy taken from the DSO, [..., E, N]."""
        return self.bought_dso + self.imported

    @cached_property
    def to_dso(self) -> Floats:
        """All energy given to the DSO, [..., E, N]."""
        return self.sold_dso + self.exported

    @cached_property
    def self_sufficiency(self) -> Floats:
        """Share of the demand that the community met itself, [..., E]: 1 - net import / demand, in [0, 1]."""
        return 1 - ratio(np.maximum(self.net_import, 0.0), self._of_all("demand"), 0.0)

    @cached_property
    def self_consumption(self) -> Floats:
        """Share of the generation that stayed in the community, [..., E]: 1 - net export / generation, in [0, 1]."""
        return 1 - ratio(np.maximum(-self.net_import, 0.0), self._of_all("generation"), 0.0)

    @cached_property
    def net_import(self) -> Floats:
        """Energy from the DSO less energy to it, [..., E]."""
        return self._of_all("from_dso") - self._of_all("to_dso")

    def _of_all(self, name: str) -> Floats:
        """Sum over the agents, [..., E]."""
        return np.asarray(getattr(self, name).sum(-1))

    @cached_property
    def cooperation(self) -> Floats:
        """The community's score in [-1, 1], [..., E]: mean of self-sufficiency and self-consumption less congestion."""
        return (self.self_sufficiency + self.self_consumption) / 2 - np.minimum(self.congestion_mean, 1.0)


_NAMES = tuple(field.name for field in fields(Flows))
PER_AGENT = _NAMES[: _NAMES.index("feed_in_tariff")]
PER_COMMUNITY = _NAMES[len(PER_AGENT) :]
"""Fields of `Flows` with a value per agent, [..., E, N], and per community, [..., E]."""


def ratio(part: Floats, whole: Floats, empty: float) -> Floats:
    """part / whole within [0, 1], of their common shape; `empty` where the whole is zero."""
    share = np.divide(part, whole, out=np.full(np.shape(whole), empty), where=whole > 0)
    return np.minimum(np.maximum(share, 0.0), 1.0)  # on a few numbers a fifth of np.clip


@in_one_line
@dataclass(frozen=True, eq=False)
class StepRecord(Flows):
    """One step of E episodes, arrays [E, N] and [E].

    cleared: what was matched.
    account, sums: what it brought each agent, [E, N], and all together, [E].
    """

    cleared: Cleared
    account: Account
    sums: Account

    def _of_all(self, name: str) -> Floats:
        return np.asarray(getattr(self.sums, name))

    def trades(self, episode: int) -> Trades:
        """All trades of one of the episodes, the DSO's too. episode: its place, 0..E-1."""
        check.whole("episode", episode, 0, len(self.cost) - 1)
        tariffs = float(self.feed_in_tariff[episode]), float(self.utility_price[episode])
        return all_trades(self.cleared, episode, self.is_buy[episode], None, tariffs)


@in_one_line
@dataclass(frozen=True, eq=False)
class State:
    """Where E episodes stand, all at the same step."""

    step: int  # 0..T
    episode: Ints  # numbers [E]
    day: Ints  # whose generation and demand each plays [E], in 0..D-1
    feed_in_tariff: Floats  # the DSO's [E, T], $/MWh
    utility_price: Floats  # the DSO's [E, T], $/MWh
    energy: Floats  # stored [E, N], kWh
    reputation: Floats  # [E, N], in [0, 1]
    last_price: Floats  # the last clearing price [E], $/MWh
    last: StepRecord | None  # of the step before; None at the start

    @cached_property
    def mean_prices(self) -> Floats:
        """Means of the DSO's tariffs over the episode, [2, E] $/MWh; kept, as the states that follow are copies."""
        return np.stack([self.feed_in_tariff.mean(1), self.utility_price.mean(1)])


@in_one_line
class History(Flows):
    """T steps of E episodes: arrays [T, E, N] and [T, E]."""

    @classmethod
    def of(cls, records: Sequence[Flows]) -> History:
        """Stack the records of consecutive steps."""
        return cls(**{name: np.stack([getattr(r, name) for r in records]) for name in _NAMES})

    def to_frame(self, per: str = "agent") -> pd.DataFrame:
        """A row per step, episode and agent, or per step and episode; the columns are fields of `Flows`.

        per: "agent", or "community" for what has no value per agent.
        """
        names = check.find({"agent": PER_AGENT, "community": PER_COMMUNITY}, per, "per")
        return long_table({name: getattr(self, name) for name in names}, *AXES[: 3 if names == PER_AGENT else 2])
