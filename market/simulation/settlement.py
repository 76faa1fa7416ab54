"""Settlement: energy and money after clearing. Conservation of both holds here.

generation + bought + imported + discharged == demand + sold + exported + charged, for every agent and step.
"""

from __future__ import annotations

import numpy as np

from market.clearing.batch import Cleared
from market.clearing.orders import Bools, Floats, Ints, energy_of, sum_by
from market.community.agents import Fleet, charge_discharge


def settle(
    cleared: Cleared,
    is_buy: Bools,
    generation: Floats,
    demand: Floats,
    energy: Floats,
    fleet: Fleet,
    feed_in_tariff: Floats,
    utility_price: Floats,
) -> dict[str, Floats]:
    """Sum the trades by agent, and balance each agent: the battery first, then the DSO.

    Returns the fields of `market.simulation.history.Flows` that it decides, [E, N], kWh and $. dso_income [E] is summed
    from the DSO's own trades, fees and surplus, so that cost.sum(1) == dso_income is a check.

    cleared, is_buy: books of one order per agent in the agents' order [E, N].
    generation, demand: kWh [E, N].
    energy: stored before the step [E, N], kWh.
    feed_in_tariff, utility_price: [E], $/MWh.
    """
    buyers, sellers = cleared.bid_order.astype(np.int64), cleared.ask_order.astype(np.int64)

    def by_order(order: Ints, amount: Floats) -> Floats:
        return sum_by(order, amount, is_buy.size).reshape(is_buy.shape)

    bought_p2p, sold_p2p = by_order(buyers, cleared.energy), by_order(sellers, cleared.energy)
    left = energy_of(cleared.left)
    bought_dso, sold_dso = np.where(is_buy, left, 0.0), np.where(is_buy, 0.0, left)
    paid = by_order(buyers, cleared.energy * cleared.price / 1000)
    received = by_order(sellers, cleared.energy * cleared.seller_price / 1000)
    fee = np.zeros(is_buy.shape)
    if cleared.network is not None:
        half_fee = cleared.network.fee / 2
        fee = by_order(buyers, half_fee) + by_order(sellers, half_fee)
    residual = generation - demand + bought_p2p + bought_dso - sold_p2p - sold_dso
    battery = charge_discharge(residual, energy, fleet)
    balance = residual - battery.charged + battery.discharged
    imported, exported = np.maximum(-balance, 0.0), np.maximum(balance, 0.0)
    from_dso, to_dso = imported + bought_dso, exported + sold_dso
    utility, feed_in = utility_price[:, None] / 1000, feed_in_tariff[:, None] / 1000
    dso_trades = utility[:, 0] * from_dso.sum(1) - feed_in[:, 0] * to_dso.sum(1)
    return vars(battery) | {
        "bought_p2p": bought_p2p,
        "sold_p2p": sold_p2p,
        "bought_dso": bought_dso,
        "sold_dso": sold_dso,
        "imported": imported,
        "exported": exported,
        "fee": fee,
        "cost": paid - received + fee + from_dso * utility - to_dso * feed_in,
        "dso_income": dso_trades + fee.sum(1) + cleared.budget_surplus,
    }
