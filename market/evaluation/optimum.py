"""The two ends of every efficiency: the DSO-only baseline (0) and the cooperative optimum (1).

Both count what the community pays the DSO, $, less the value of the energy that its batteries gain (`storage_value`).
The optimum knows the future and pays no network fees, so no policy can beat it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import block_array, diags_array, eye_array, kron

from market.community.agents import Params
from market.community.series import MAX_NUMBER
from market.evaluation.kpis import KPIS
from market.simulation.dynamics import storage_value
from market.simulation.history import PER_AGENT, PER_COMMUNITY, History, State
from market.support import check
from market.support.arrays import Floats

OPTIMAL = ("p2p_share", "self_consumption", "self_sufficiency", "peak_to_average", "coordination_effectiveness")
"""KPIs that the energy of an optimum decides."""


@dataclass(frozen=True, eq=False)
class Optimum:
    """cost: $ less the value of more stored energy. charged, discharged: [N, T] kWh. imported, exported: [T] kWh."""

    cost: float
    charged: Floats
    discharged: Floats
    imported: Floats
    exported: Floats


def alone_cost(params: Params, state: State) -> Floats:
    """What the communities pay with the DSO alone, batteries used for self-consumption, [E] $."""
    imported, exported, stored = (each[state.day] for each in params.alone)
    paid = (state.utility_price * imported.sum(2) - state.feed_in_tariff * exported.sum(2)).sum(1)
    more_stored = (storage_value(params, state) * (stored[:, -1] - stored[:, 0])).sum(1)
    return np.asarray((paid - more_stored) / 1000)


def net_generation(params: Params, state: State, steps: int | slice = slice(None), days_back: int = 0) -> Floats:
    """Generation less demand of the day that each episode plays, or of so many days before, kWh.

    steps: one step for [E, N], or several of them for [E, T, N].
    days_back: in the bank of days; before the first comes the last.
    """
    day = (state.day - days_back) % params.num_days
    return params.generation[day, steps] - params.demand[day, steps]


def cooperative_optimum(params: Params, state: State, market: int = 0, net: Floats | None = None) -> Optimum:
    """The least cost of the steps left of an episode, by linear programming (HiGHS) over batteries, trade and the DSO.

    All agents act as one and share energy within the capacity of the grid. First the pooled programme (batteries of
    every agent, one balance for all); if its exchange between agents exceeds the capacity, the full one per agent.
    Raises RuntimeError with the solver's message if there is no optimum.

    state: of E episodes; the programme begins with its step and stored energy, and results have the T steps left.
    market: which of the episodes.
    net: generation less demand in the steps left [N, T], kWh; None for those that will come.
    """
    market = check.whole("market", market, 0, len(state.episode) - 1)
    if net is None:
        net = net_generation(params, state, slice(state.step, None))[market].T
    net = check.array("net", net, (params.num_agents, params.max_steps - state.step), low=-MAX_NUMBER, high=MAX_NUMBER)
    pooled = _solve(params, state, market, np.inf, net)
    if params.grid is None:
        return pooled
    capacity = params.grid.capacity * params.step_hours
    position = net + pooled.discharged - pooled.charged
    traded = np.minimum(np.maximum(position, 0.0).sum(0), np.maximum(-position, 0.0).sum(0))
    return pooled if (traded <= capacity * (1 + 1e-9)).all() else _solve(params, state, market, capacity, net)


def _solve(params: Params, state: State, market: int, capacity: float, net: Floats) -> Optimum:
    """The programme with at most `capacity` kWh a step between agents; pooled when that is infinite.

    Variables: charged, discharged, stored, [N, T] each; imported, exported, [T] when pooled and [N, T] otherwise; then,
    not pooled, bought and sold among the agents [N, T] and their volume [T]. Equalities: storage, balance, volume.
    """
    from scipy.optimize import linprog  # loaded on first use: environments import the policies

    (agents, steps), fleet, energy = net.shape, params.fleet, state.energy[market]
    cells, pooled = agents * steps, np.isinf(capacity)
    every, step = eye_array(cells), eye_array(steps)
    total = kron(np.ones((1, agents)), step)  # sums [N, T] over the agents
    stored = every - kron(eye_array(agents), eye_array(steps, k=-1))  # less what was stored a step before
    gain = diags_array(np.repeat(fleet.charge_efficiency, steps))
    drain = diags_array(np.repeat(1 / fleet.discharge_efficiency, steps))
    start, worth = np.zeros((agents, steps)), np.zeros((agents, steps))
    start[:, 0] = energy
    worth[:, -1] = storage_value(params, state)[market] / 1000
    missing = -net.ravel()
    prices = np.stack((state.utility_price[market], -state.feed_in_tariff[market]))[:, state.step :] / 1000
    rows: Any  # sparse blocks, None for zero
    right: list[Any]
    if pooled:
        rows = [[-gain, drain, stored, None, None], [-total, total, None, step, -step]]
        right = [start.ravel(), total @ missing]
        objective = [np.zeros(2 * cells), -worth.ravel(), prices.ravel()]
    else:
        rows = [
            [-gain, drain, stored, None, None, None, None, None],
            [-every, every, None, every, -every, every, -every, None],
            [None, None, None, None, None, total, None, -step],
            [None, None, None, None, None, None, total, -step],
        ]
        right = [start.ravel(), missing, np.zeros(2 * steps)]
        objective = [np.zeros(2 * cells), -worth.ravel(), np.tile(prices, agents).ravel(), np.zeros(2 * cells + steps)]
    cost = np.concatenate(objective)
    bounds = np.stack((np.zeros(len(cost)), np.full(len(cost), np.inf)), 1)
    bounds[: 2 * cells, 1] = np.tile(np.repeat(fleet.step_limit, steps), 2)
    bounds[2 * cells : 3 * cells] = np.repeat(np.stack((fleet.low, fleet.high), 1), steps, axis=0)
    if not pooled:
        bounds[-steps:, 1] = capacity
    equalities = block_array(rows, format="csr")
    problem: Any = {"A_eq": equalities, "b_eq": np.concatenate(right), "bounds": bounds}  # sparse: unknown to the stubs
    solved: Any = linprog(cost, **problem, method="highs")
    if not solved.success:
        raise RuntimeError(f"cooperative optimum: no solution ({solved.message})")
    charged, discharged = solved.x[: 2 * cells].reshape(2, agents, steps)
    width = 1 if pooled else agents
    imported, exported = solved.x[3 * cells : 3 * cells + 2 * width * steps].reshape(2, width, steps).sum(1)
    return Optimum(float(solved.fun + worth[:, -1] @ energy), charged, discharged, imported, exported)


def optimal_kpis(params: Params, state: State, optima: Sequence[Optimum]) -> dict[str, Floats]:
    """KPIs of the optima of the first episodes, name -> [E]: those that energy and cost decide, nan for the rest.

    An optimum has no prices, so no welfare of a trade; neither has it flows, nor one way to share the savings.
    """
    shape = (params.max_steps, len(optima), params.num_agents)
    made, used = (each[state.day[: len(optima)]] for each in (params.generation, params.demand))  # [E, T, N]
    stored = np.stack([o.charged - o.discharged for o in optima])
    position = (made - used).swapaxes(1, 2) - stored  # [E, N, T]
    surplus, deficit = np.maximum(position, 0.0).sum(1), np.maximum(-position, 0.0).sum(1)
    imported, exported = np.stack([o.imported for o in optima]), np.stack([o.exported for o in optima])  # [E, T]
    local = np.minimum(surplus - exported, deficit - imported).clip(0.0)
    flows = (
        dict.fromkeys((*PER_AGENT, *PER_COMMUNITY), np.full(shape[:2], np.nan))
        | {
            "generation": made.swapaxes(0, 1),
            "demand": used.swapaxes(0, 1),
            "bought_p2p": local.T[..., None],  # of the community as one agent: these KPIs sum over agents
            "imported": imported.T[..., None],
            "exported": exported.T[..., None],
            "bought_dso": np.zeros((*shape[:2], 1)),
            "sold_dso": np.zeros((*shape[:2], 1)),
        }
    )
    history = History(**flows)
    found = {name: np.full(len(optima), np.nan) for name in KPIS}
    for name in OPTIMAL:
        found[name] = KPIS[name].of(history)
    paid = (state.utility_price[: len(optima)] * imported - state.feed_in_tariff[: len(optima)] * exported).sum(1)
    saved = alone_cost(params, state)[: len(optima)] - np.array([optimum.cost for optimum in optima])
    return found | {"community_cost": paid / 1000, "cost_saving": saved}


def attainable(params: Params, state: State) -> Floats:
    """What the cooperative optimum saves over the DSO alone, [E] $; nan where the two are the same to 1e-9 $."""
    alone = alone_cost(params, state)
    gap = alone - [cooperative_optimum(params, state, market).cost for market in range(len(alone))]
    return np.where(gap > 1e-9, gap, np.nan)


def position(params: Params, state: State, history: History) -> Floats:
    """Where the episodes stand between the DSO-only baseline (0) and the cooperative optimum (1), [E].

    Negative when worse than no market; nan where the two ends are the same to 1e-9 $.
    """
    return np.asarray(history.saving.sum((0, 2)) / attainable(params, state))
