"""Conservation of energy and money: the laws that every step obeys, checked on what an episode left behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from market.community.agents import Fleet
from market.constants import PER_KWH
from market.simulation.history import Flows
from market.support.arrays import Floats

TOLERANCE = 1e-9
"""Relative to the largest amount that takes part; energy among peers is exact to the Wh."""
SUPPLY = ("generation", "bought_p2p", "bought_dso", "imported", "discharged")
USE = ("demand", "sold_p2p", "sold_dso", "exported", "charged")
"""Amounts, never negative, whose sums are equal for every agent and step."""


@np.errstate(all="ignore")  # what is not finite breaks a law
def violations(history: Flows, fleet: Fleet) -> list[str]:
    """A line for every law that T steps of E episodes break: which, where it deviates most, and by how much.

    history: from the first step on, [T, E, N].
    fleet: the N batteries, which held `fleet.initial` before it.
    """
    h = history
    before = np.concatenate((np.broadcast_to(fleet.initial, (1, *h.energy.shape[1:])), h.energy[:-1]))
    stored = before + h.charged * fleet.charge_efficiency - h.discharged / fleet.discharge_efficiency
    moved, both = np.maximum(h.charged, h.discharged), np.minimum(h.charged, h.discharged)
    taken, given = (sum(getattr(h, name) for name in names) for names in (SUPPLY, USE))
    utility, feed_in = h.utility_price[..., None] / 1000, h.feed_in_tariff[..., None] / 1000
    earned = (h.from_dso * utility - h.to_dso * feed_in + h.fee).sum(-1) + h.budget_surplus
    bought, sold = (np.rint(side * PER_KWH).sum(-1) for side in (h.bought_p2p, h.sold_p2p))
    laws: list[tuple[Any, ...]] = [
        ("balance: generation + bought + imported + discharged", "kWh", taken, given),
        ("battery: before + efficiency x charged - discharged / efficiency", "kWh", stored, h.energy),
        ("battery: stored within its limits", "kWh", h.energy, np.clip(h.energy, fleet.low, fleet.high)),
        ("battery: charged or discharged within its power", "kWh", moved, np.minimum(moved, fleet.step_limit)),
        ("battery: discharged while charged", "kWh", both, np.zeros_like(both), 0.0),
        ("trade: bought from peers", "Wh", bought, sold, 0.0),
        ("money: paid by the agents", "$", h.cost.sum(-1), h.dso_income),
        ("money: the DSO's trades, fees and surplus", "$", earned, h.dso_income),
    ]
    amounts = {name: getattr(h, name) for name in (*SUPPLY, *USE)}
    laws += [(f"sign: {name}", "kWh", amount, np.maximum(amount, 0.0), 0.0) for name, amount in amounts.items()]
    return [problem for law in laws for problem in unequal(*law)]


def unequal(law: str, unit: str, left: Floats, right: Floats, tolerance: float = TOLERANCE) -> Iterator[str]:
    """The message when `left` and `right`, [T, E] or [T, E, N] in kWh, Wh or $ as `unit` says, are not the same."""
    allowed = tolerance and min(tolerance * max(1.0, np.abs(right).max(initial=0.0)), np.finfo(np.float64).max)
    off = np.nan_to_num(np.abs(left - right), nan=np.inf)
    if not (off <= allowed).all():
        place = np.unravel_index(np.argmax(off), off.shape)
        where = ", ".join(f"{name} {i}" for name, i in zip(("step", "episode", "agent"), place, strict=False))
        yield f"{law}: got {left[place]:.9g} at {where}; allowed: {right[place]:.9g} {unit}, since nothing may get lost"
