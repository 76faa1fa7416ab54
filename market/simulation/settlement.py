"""Settlement: energy and money after clearing. Conservation of both holds here.

generation + bought + imported + discharged == demand + sold + exported + charged, for every agent and step.
"""

from __future__ import annotations

import numpy as np

from market.clearing.batch import Cleared
from market.clearing.orders import Bools, Floats
from market.community.agents import Fleet, charge_discharge
from market.config import PER_KWH
from market.support.kernels import kernel

NO_FEES: Floats = np.empty(0)


@kernel
def _sum_by_agent(orders, energy, price, seller_price, fee, left, is_buy, sums):  # type: ignore[no-untyped-def]
    """Adds up trades [K] by agent: sums [7, E, N], zeros before: bought and sold by peers, then by the DSO, kWh; paid,
    received and fees, $.

    orders: flat bid and ask of each trade [3, K]. fee: $ [K], or [0] without a grid. left: ticks for the DSO [E, N].
    """
    size = left.shape[1]
    for k in range(len(energy)):
        (e, i), (f, j) = divmod(orders[0, k], size), divmod(orders[1, k], size)
        sums[0, e, i] += energy[k]
        sums[1, f, j] += energy[k]
        sums[4, e, i] += energy[k] * price[k] / 1000
        sums[5, f, j] += energy[k] * seller_price[k] / 1000
        if len(fee):
            sums[6, e, i] += fee[k] / 2
            sums[6, f, j] += fee[k] / 2
    for e in range(len(left)):
        for i in range(size):
            sums[2 if is_buy[e, i] else 3, e, i] = left[e, i] / PER_KWH


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
    sums = np.zeros((7, *is_buy.shape))
    network, traded = cleared.network, (cleared.energy, cleared.price, cleared.seller_price)
    fee_of_trade = NO_FEES if network is None else network.fee
    _sum_by_agent(cleared.orders, *traded, fee_of_trade, cleared.left, is_buy, sums)
    bought_p2p, sold_p2p, bought_dso, sold_dso, paid, received, fee = sums
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
