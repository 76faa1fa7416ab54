"""Settlement: energy and money after clearing. Conservation of both holds here.

generation + bought + imported + discharged == demand + sold + exported + charged, for every agent and step.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from market.clearing.batch import Cleared
from market.clearing.orders import Bools, Floats, Ints, energy_of, sum_by
from market.community.agents import Fleet, charge_discharge


@dataclass(frozen=True, eq=False)
class Exchange:
    """What each agent traded in a step, all [E, N].

    bought_p2p, sold_p2p: with other agents, kWh. bought_dso, sold_dso: left of the orders, with the DSO, kWh.
    paid, received: money of the P2P trades, $. fee: network fees, $.
    """

    bought_p2p: Floats
    sold_p2p: Floats
    bought_dso: Floats
    sold_dso: Floats
    paid: Floats
    received: Floats
    fee: Floats


def exchange(cleared: Cleared, is_buy: Bools) -> Exchange:
    """Sums the trades by agent, for books of one order per agent in the agents' order. is_buy: [E, N]."""
    shape, size = is_buy.shape, is_buy.size
    buyers, sellers = cleared.bid_order.astype(np.int64), cleared.ask_order.astype(np.int64)
    energy = cleared.energy

    def by_order(order: Ints, amount: Floats) -> Floats:
        return sum_by(order, amount, size).reshape(shape)

    left = energy_of(cleared.left)
    fee = np.zeros(shape)
    if cleared.network is not None:
        half_fee = cleared.network.fee / 2
        fee = by_order(buyers, half_fee) + by_order(sellers, half_fee)
    return Exchange(
        bought_p2p=by_order(buyers, energy),
        sold_p2p=by_order(sellers, energy),
        bought_dso=np.where(is_buy, left, 0.0),
        sold_dso=np.where(is_buy, 0.0, left),
        paid=by_order(buyers, energy * cleared.price / 1000),
        received=by_order(sellers, energy * cleared.seller_price / 1000),
        fee=fee,
    )


@dataclass(frozen=True, eq=False)
class Settlement:
    """A settled step. energy: stored after it [E, N]; charged, discharged, imported, exported: [E, N], all kWh.

    cost: what each agent pays in all, negative when it earns [E, N], $. dso_income: what the DSO takes in all [E], $,
    summed from its own trades, fees and surplus, so that cost.sum(1) == dso_income is a check and no definition.
    """

    energy: Floats
    charged: Floats
    discharged: Floats
    imported: Floats
    exported: Floats
    cost: Floats
    dso_income: Floats


def settle(
    generation: Floats,
    demand: Floats,
    traded: Exchange,
    budget_surplus: Floats,
    energy: Floats,
    fleet: Fleet,
    feed_in_tariff: Floats,
    utility_price: Floats,
) -> Settlement:
    """Balance each agent: the battery first, then the DSO.

    generation, demand: kWh, [N] or [E, N]. budget_surplus: [E] $. energy: stored before [E, N] kWh.
    feed_in_tariff, utility_price: [E] $/MWh.
    """
    residual = generation - demand + traded.bought_p2p + traded.bought_dso - traded.sold_p2p - traded.sold_dso
    battery = charge_discharge(residual, energy, fleet)
    balance = residual - battery.charged + battery.discharged
    imported, exported = np.maximum(-balance, 0.0), np.maximum(balance, 0.0)
    from_dso, to_dso = imported + traded.bought_dso, exported + traded.sold_dso
    utility, feed_in = utility_price[:, None] / 1000, feed_in_tariff[:, None] / 1000
    cost = traded.paid - traded.received + traded.fee + from_dso * utility - to_dso * feed_in
    dso_income = utility[:, 0] * from_dso.sum(1) - feed_in[:, 0] * to_dso.sum(1) + traded.fee.sum(1) + budget_surplus
    return Settlement(battery.energy, battery.charged, battery.discharged, imported, exported, cost, dso_income)
