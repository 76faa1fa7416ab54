"""Policies that plan what batteries do, and orders that make it so.

An order commits what an agent exchanges, for what peers leave of it the DSO fills; settlement then balances with the
battery. So to charge c and discharge d kWh an agent orders demand - generation + c - d.
"""

from __future__ import annotations

import numpy as np

from market.community.agents import Params
from market.evaluation.optimum import cooperative_optimum, net_generation
from market.simulation.dynamics import ACTION_SIZE
from market.simulation.history import State
from market.support.arrays import Floats

NOON = 12.0
"""Until this hour the pooled batteries may be emptied, as the sun fills them again before the evening."""


def reservation_prices(params: Params, state: State) -> tuple[Floats, Floats]:
    """What a kWh is worth to a buyer and costs a seller, [E, 1] each, $/MWh within the allowed prices."""
    low, high = params.config.min_price, params.config.max_price
    t = state.step
    bid, ask = state.utility_price[:, t], state.feed_in_tariff[:, t]
    return np.clip(bid, low, high)[:, None], np.clip(ask, low, high)[:, None]


def planned_orders(
    params: Params, state: State, charged: Floats, discharged: Floats, prices: tuple[Floats, Floats] | None = None
) -> Floats:
    """Actions [E, N, 4] after which the batteries charge and discharge as planned; no partner.

    charged, discharged: kWh in this step [E, N], within what the batteries can do; one of the two is 0.
    prices: of bids and asks, $/MWh, [E, N] or [E, 1] each; None for reservation prices.
    """
    config, fleet = params.config, params.fleet
    net = net_generation(params, state, state.step)
    missing = charged - discharged - net
    buys = missing > 0
    possible = np.where(buys, fleet.acceptable(state.energy) - net, fleet.deliverable(state.energy) + net)
    share = np.divide(np.abs(missing), possible, out=np.zeros_like(missing), where=possible > 0)
    span = config.max_price - config.min_price
    price = np.where(buys, *(prices or reservation_prices(params, state))) - config.min_price
    action = np.full((*missing.shape, ACTION_SIZE), -1.0)
    action[..., 0] = 2 * price / span - 1 if span > 0 else 0.0
    action[..., 1] = 2 * np.minimum(share, 1.0) - 1
    action[..., 2] = np.where(buys, 1.0, -1.0)
    return action


def self_consumption(params: Params, state: State) -> tuple[Floats, Floats]:
    """What own batteries charge of a surplus and discharge for a deficit, as without a market, [E, N] kWh each."""
    net, fleet = net_generation(params, state, state.step), params.fleet
    return (
        np.minimum(np.maximum(net, 0.0), fleet.acceptable(state.energy)),
        np.minimum(np.maximum(-net, 0.0), fleet.deliverable(state.energy)),
    )


def own_battery(params: Params, state: State) -> Floats:
    """Actions [E, N, 4] of agents that use their own battery by time of use and ask nobody.

    Each knows its own generation and demand and the DSO's prices of the whole day, and trades at reservation prices.
    Its battery keeps, and buys if need be, what its own deficits will take in later hours that are dearer by more than
    its losses, less what its own surpluses until then bring.
    """
    net, fleet, t = net_generation(params, state), params.fleet, state.step
    reserve = np.zeros_like(state.energy)  # kWh to hold after this step
    for later in range(params.max_steps - 1, t, -1):
        taken = np.maximum(-net[:, later], 0.0) / fleet.discharge_efficiency * _pays(params, state, later)
        gained = np.maximum(net[:, later], 0.0) * fleet.charge_efficiency
        reserve = np.clip(reserve + taken - gained, 0.0, fleet.high - fleet.low)
    spare = state.energy - fleet.low - reserve
    charged, discharged = self_consumption(params, state)
    bought = np.minimum(np.maximum(-spare, 0.0) / fleet.charge_efficiency, fleet.acceptable(state.energy))
    discharged = np.minimum(discharged, np.maximum(spare, 0.0) * fleet.discharge_efficiency)
    return planned_orders(params, state, np.maximum(charged, bought), discharged)


def pooled_battery(params: Params, state: State) -> Floats:
    """Actions [E, N, 4] of agents that use all batteries as one by time of use, each in proportion to what it can do.

    They know the present balance of the community and the DSO's prices of the day: no forecast. They charge a surplus,
    and all that they can at the lowest price of the day; they deliver a deficit before noon, and later when no hour
    comes that is dearer by more than the losses.
    """
    fleet, t = params.fleet, state.step
    total = net_generation(params, state, t).sum(1, keepdims=True)
    hold = np.any([_pays(params, state, later) for later in range(t, params.max_steps)], axis=0)
    fill = hold & (state.utility_price[:, t] <= state.utility_price.min(1))[:, None]
    deliver = ~fill & (~hold | (t * params.step_hours % 24 < NOON))
    acceptable = fleet.acceptable(state.energy)
    deliverable = np.where(deliver, fleet.deliverable(state.energy), 0.0)
    charged = np.where(fill, acceptable, _part(acceptable, total))
    return planned_orders(params, state, charged, _part(deliverable, -total))


def mpc_perfect(params: Params, state: State) -> Floats:
    """Actions [E, N, 4] of model predictive control that knows the day: the first step of the optimum from here on.

    A linear programme for each episode and step (HiGHS). It says what all batteries charge or discharge; they share it
    in proportion to what each can do, which is as good where their efficiencies are equal, as in `Scenario.study`, and
    costs less network fees than the programme's own choice, one battery after the other.
    """
    return _first_step(params, state, net_generation(params, state, slice(state.step, None)))


def mpc_persistence(params: Params, state: State) -> Floats:
    """Actions [E, N, 4] like those of `mpc_perfect` with the persistence forecast: the rest of today is yesterday's.

    This step is observed. Yesterday is the day before in the bank of days, and the last one for the first; of a single
    day, that day itself.
    """
    forecast = net_generation(params, state, slice(state.step, None), days_back=1).copy()
    forecast[:, 0] = net_generation(params, state, state.step)
    return _first_step(params, state, forecast)


def _pays(params: Params, state: State, later: int) -> Floats:
    """Whether a kWh drawn now is worth more in step `later`, after the losses of the battery, [E, N]."""
    efficiency = params.fleet.charge_efficiency * params.fleet.discharge_efficiency
    price = state.utility_price[:, :, None]
    return np.asarray(price[:, later] * efficiency > price[:, state.step])


def _part(possible: Floats, amount: Floats) -> Floats:
    """`amount` kWh [E, 1] shared in proportion to what is possible, [E, N] kWh each; nothing of a negative amount."""
    whole = possible.sum(1, keepdims=True)
    share = np.divide(np.maximum(amount, 0.0), whole, out=np.zeros_like(whole), where=whole > 0)
    return possible * np.minimum(share, 1.0)


def _first_step(params: Params, state: State, net: Floats) -> Floats:
    """Orders of this step [E, N, 4] of the optimum, if generation less demand in the steps left is `net` [E, T, N]."""
    fleet = params.fleet
    plans = [cooperative_optimum(params, state, market, each.T) for market, each in enumerate(net)]
    stored = np.array([[(plan.charged - plan.discharged)[:, 0].sum()] for plan in plans])
    charged, discharged = _part(fleet.acceptable(state.energy), stored), _part(fleet.deliverable(state.energy), -stored)
    return planned_orders(params, state, charged, discharged)
