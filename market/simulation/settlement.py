"""Settlement: energy and money after clearing. Conservation of both holds here.

generation + bought + imported + discharged == demand + sold + exported + charged, for every agent and step.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from market.clearing.batch import Cleared
from market.community.agents import Fleet
from market.constants import PER_KWH
from market.support.arrays import Bools, Floats
from market.support.kernels import kernel


class Account(NamedTuple):
    """What a step brings each agent, [E, N], or all together, [E]: fields of `history.Flows`, then sums of them."""

    generation: Floats
    demand: Floats
    ordered: Floats
    bought_p2p: Floats
    sold_p2p: Floats
    bought_dso: Floats
    sold_dso: Floats
    charged: Floats
    discharged: Floats
    imported: Floats
    exported: Floats
    energy: Floats
    fee: Floats
    cost: Floats
    from_dso: Floats  # bought_dso + imported
    to_dso: Floats  # sold_dso + exported
    exchanged: Floats  # from_dso + to_dso
    bid_surplus: Floats  # `ordered`, negative for asks


SUMS = Account._fields.index("from_dso")


@kernel
def _settle(trades, fee, is_buy, quantity, left, generation, demand, energy, fleet, tariffs, money, out):  # type: ignore[no-untyped-def]
    """out: an Account of arrays [E, N], zeros before.

    trades: (flat bids, flat asks, kWh, price, seller's price), [K] each. fee: [K] $, or [0] without a grid.
    quantity, left: of the orders, Wh. fleet: (low, high, charge and discharge efficiency, limit of a step), [N] each.
    tariffs: feed-in and utility, [E] each. money [4, E, N], zeros before: paid, received, fees of bids and of asks.
    """
    bids, asks, traded, prices, seller_prices = trades
    low, high, charge_efficiency, discharge_efficiency, limit = fleet
    paid, received, bid_fee, ask_fee = money[0], money[1], money[2], money[3]
    for k in range(len(bids)):
        buyer, seller = divmod(bids[k], is_buy.shape[1]), divmod(asks[k], is_buy.shape[1])
        out.bought_p2p[buyer] += traded[k]
        out.sold_p2p[seller] += traded[k]
        paid[buyer] += traded[k] * prices[k] / 1000
        received[seller] += traded[k] * seller_prices[k] / 1000
        if len(fee):
            bid_fee[buyer] += fee[k] / 2
            ask_fee[seller] += fee[k] / 2
    for e in range(is_buy.shape[0]):
        feed_in, utility = tariffs[0][e] / 1000, tariffs[1][e] / 1000
        for i in range(is_buy.shape[1]):
            at = e, i
            ordered, rest, held = quantity[at] / PER_KWH, left[at] / PER_KWH, energy[at]
            bought, sold = (rest, 0.0) if is_buy[at] else (0.0, rest)
            residual = generation[at] - demand[at] + out.bought_p2p[at] + bought - out.sold_p2p[at] - sold
            acceptable = min(max(high[i] - held, 0.0) / charge_efficiency[i], limit[i])
            deliverable = min(max(held - low[i], 0.0) * discharge_efficiency[i], limit[i])
            charged, discharged = min(max(residual, 0.0), acceptable), min(max(-residual, 0.0), deliverable)
            stored = held + charged * charge_efficiency[i] - discharged / discharge_efficiency[i]
            balance = residual - charged + discharged
            imported, exported = max(-balance, 0.0), max(balance, 0.0)
            from_dso, to_dso, fees = imported + bought, exported + sold, bid_fee[at] + ask_fee[at]
            out.generation[at], out.demand[at], out.ordered[at] = generation[at], demand[at], ordered
            out.bought_dso[at], out.sold_dso[at] = bought, sold
            out.charged[at], out.discharged[at], out.energy[at] = charged, discharged, min(max(stored, low[i]), high[i])
            out.imported[at], out.exported[at], out.fee[at] = imported, exported, fees
            out.cost[at] = paid[at] - received[at] + fees + from_dso * utility - to_dso * feed_in
            out.from_dso[at], out.to_dso[at], out.exchanged[at] = from_dso, to_dso, from_dso + to_dso
            out.bid_surplus[at] = ordered if is_buy[at] else -ordered


def settle(
    cleared: Cleared,
    is_buy: Bools,
    generation: Floats,
    demand: Floats,
    energy: Floats,
    fleet: Fleet,
    feed_in_tariff: Floats,
    utility_price: Floats,
) -> dict[str, Any]:
    """Sum the trades by agent, and balance each agent: the battery first, then the DSO.

    Returns the fields of `market.simulation.history.Flows` that it decides, [E, N], kWh and $, and two Accounts: of
    each agent, and its sums over agents. dso_income [E] is summed from the DSO's own trades, fees and surplus, so that
    cost.sum(1) == dso_income is a check.

    cleared, is_buy: books of one order per agent in the agents' order [E, N].
    generation, demand: kWh [E, N].
    energy: stored before the step [E, N], kWh.
    feed_in_tariff, utility_price: [E], $/MWh.
    """
    flows = np.zeros((len(Account._fields), *is_buy.shape))
    account, fee = Account(*flows), np.empty(0) if cleared.network is None else cleared.network.fee
    trades = (cleared.bid_order, cleared.ask_order, cleared.energy, cleared.price, cleared.seller_price)
    batteries = (fleet.low, fleet.high, fleet.charge_efficiency, fleet.discharge_efficiency, fleet.step_limit)
    placed = (is_buy, cleared.quantity, cleared.left, generation, demand, energy)
    _settle(trades, fee, *placed, batteries, (feed_in_tariff, utility_price), np.zeros((4, *is_buy.shape)), account)
    sums = Account(*flows.sum(-1))
    dso_trades = utility_price / 1000 * sums.from_dso - feed_in_tariff / 1000 * sums.to_dso
    named: dict[str, Any] = dict(zip(Account._fields[:SUMS], account, strict=False))
    return named | {"dso_income": dso_trades + sums.fee + cleared.budget_surplus, "account": account, "sums": sums}
