"""Key performance indicators of whole episodes: each with its formula, unit, cost and reference. Add one: one row.

A KPI reads a `History` of T steps of E episodes with N agents and gives [E] numbers, nan where it is not defined,
in the unit of its row in `KPIS`: $ of the community, $ per agent, $/MWh, hours, or 1 for a share or another ratio.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from market.simulation.history import History, ratio
from market.support.arrays import Floats

AGENT_STEPS = (0, 2)
"""Axes of steps and agents in [T, E, N]."""
NEGLIGIBLE = 1e-6
"""$: a saving or loss up to this counts as none."""


class KPI(NamedTuple):
    """`of` maps a History to [E]; unit; cost: the work; reference: where the definition comes from."""

    unit: str
    cost: str
    reference: str
    of: Callable[[History], Floats]

    @property
    def formula(self) -> str:
        """The definition, from the function's docstring, on one line."""
        return " ".join((self.of.__doc__ or "").split())


def social_welfare(history: History) -> Floats:
    """Sum of quantity x (bid - ask) over the P2P trades."""
    return history.social_welfare.sum(0)


def community_cost(history: History) -> Floats:
    """Sum of what the agents pay in all."""
    return history.cost.sum(AGENT_STEPS)


def cost_saving(history: History) -> Floats:
    """DSO-only cost - cost, and the energy stored beyond the DSO-only battery at the mean feed-in tariff."""
    return history.saving.sum(AGENT_STEPS)


def p2p_share(history: History) -> Floats:
    """2 P2P volume / (2 P2P volume + energy from and to the DSO)."""
    local = 2 * history.bought_p2p.sum(AGENT_STEPS)
    return ratio(local, local + history.from_dso.sum(AGENT_STEPS) + history.to_dso.sum(AGENT_STEPS), 0.0)


def self_consumption(history: History) -> Floats:
    """1 - sum of net exports / generation."""
    return 1 - ratio(np.maximum(-history.net_import, 0.0).sum(0), history.generation.sum(AGENT_STEPS), 0.0)


def self_sufficiency(history: History) -> Floats:
    """1 - sum of net imports / demand."""
    return 1 - ratio(np.maximum(history.net_import, 0.0).sum(0), history.demand.sum(AGENT_STEPS), 0.0)


def clearing_price(history: History) -> Floats:
    """Quantity-weighted mean price of the P2P trades."""
    volume = history.bought_p2p.sum(2)
    paid = (np.nan_to_num(history.clearing_price) * volume).sum(0)
    return np.divide(paid, volume.sum(0), out=np.full(volume.shape[1], np.nan), where=volume.sum(0) > 0)


def price_volatility(history: History) -> Floats:
    """Standard deviation of the clearing price over the steps that have one, two at least."""
    price = np.ma.masked_invalid(history.clearing_price)
    return np.where(price.count(0) > 1, np.ma.filled(price.std(0), np.nan), np.nan)


def congestion_mean(history: History) -> Floats:
    """Mean over lines and steps of |flow| / capacity."""
    return history.congestion_mean.mean(0)


def congestion_max(history: History) -> Floats:
    """Largest |flow| / capacity of any line and step."""
    return history.congestion_max.max(0)


def overloaded_hours(history: History) -> Floats:
    """Hours x lines with |flow| > capacity."""
    return history.overloaded_hours.sum(0)


def voltage_deviation(history: History) -> Floats:
    """Largest |voltage - 1| of any node and step, in units of the nominal voltage."""
    return history.voltage_deviation.max(0)


def loss_share(history: History) -> Floats:
    """Energy that the DSO supplies for losses / P2P volume."""
    return ratio(history.loss.sum(0), history.bought_p2p.sum(AGENT_STEPS), 0.0)


def peak_to_average(history: History) -> Floats:
    """Largest / mean |net import| of a step."""
    load = np.abs(history.net_import)
    mean = load.mean(0)
    return np.divide(load.max(0), mean, out=np.full(len(mean), np.nan), where=mean > 0)


def share_worse_off(history: History) -> Floats:
    """Share of agents who pay more than without a market: saving below -1e-6 $."""
    return (_savings(history) < 0).mean(-1)


def worst_saving(history: History) -> Floats:
    """Saving of the agent who saves least or loses most; negative when that agent loses."""
    return history.saving.sum(0).min(-1)


def jain_savings(history: History) -> Floats:
    """max(sum of savings, 0)^2 / (agents x sum of savings^2): 1 when all save the same, 1/agents when one saves all.

    Each loss lowers it; 0 when losses outweigh gains. 1 when nobody gains or loses.
    """
    saved = _savings(history)
    return ratio(np.maximum(saved.sum(-1), 0.0) ** 2, saved.shape[-1] * (saved**2).sum(-1), 1.0)


def gini_savings(history: History) -> Floats:
    """Mean |difference| of two agents' savings / its largest value for these sums of gains and of losses.

    0 when all save or lose the same; 1 when one agent has all the gains and one other all the losses.
    """
    saved = np.sort(_savings(history), axis=-1)
    agents = saved.shape[-1]
    apart = (saved * (2 * np.arange(1, agents + 1) - agents - 1)).sum(-1)  # of all pairs
    return ratio(apart, (agents - 1) * np.abs(saved).sum(-1), 0.0)


def _savings(history: History) -> Floats:
    """What each agent saved, [E, N] $; negligible amounts are 0."""
    saved = history.saving.sum(0)
    return np.where(np.abs(saved) <= NEGLIGIBLE, 0.0, saved)


def coordination_effectiveness(history: History) -> Floats:
    """P2P volume / sum over steps of min(total surplus, total deficit) before storage, at most 1."""
    surplus = history.generation - history.demand
    matchable = np.minimum(np.maximum(surplus, 0.0).sum(2), np.maximum(-surplus, 0.0).sum(2)).sum(0)
    return ratio(history.bought_p2p.sum(AGENT_STEPS), matchable, np.nan)


JAIN = "Jain, Chiu, Hawe (1984), arXiv:cs/9809099; losses as said"
RAFFINETTI = "Raffinetti, Siletti, Vernizzi (2015), doi:10.1007/s10260-014-0293-4"
LUTHANDER = "Luthander et al. (2015), doi:10.1016/j.apenergy.2014.12.028"

KPIS: dict[str, KPI] = {
    "social_welfare": KPI("$", "O(T E)", "gains from trade", social_welfare),
    "community_cost": KPI("$", "O(T E N)", "market.simulation.settlement", community_cost),
    "cost_saving": KPI("$", "O(T E N)", "DSO-only baseline of market.evaluation.optimum", cost_saving),
    "p2p_share": KPI("1", "O(T E N)", "both sides of a trade counted", p2p_share),
    "self_consumption": KPI("1", "O(T E N)", LUTHANDER, self_consumption),
    "self_sufficiency": KPI("1", "O(T E N)", LUTHANDER, self_sufficiency),
    "clearing_price": KPI("$/MWh", "O(T E N)", "market.clearing", clearing_price),
    "price_volatility": KPI("$/MWh", "O(T E)", "market.clearing", price_volatility),
    "congestion_mean": KPI("1", "O(T E)", "market.grid", congestion_mean),
    "congestion_max": KPI("1", "O(T E)", "market.grid", congestion_max),
    "overloaded_hours": KPI("h", "O(T E)", "market.grid", overloaded_hours),
    "voltage_deviation": KPI("p.u.", "O(T E)", "market.grid.power_flow, doi:10.1109/61.25627", voltage_deviation),
    "loss_share": KPI("1", "O(T E N)", "market.clearing.batch", loss_share),
    "peak_to_average": KPI("1", "O(T E N)", "inverse of the load factor", peak_to_average),
    "share_worse_off": KPI("1", "O(T E N)", "individual rationality", share_worse_off),
    "worst_saving": KPI("$ per agent", "O(T E N)", "Rawls (1971), the maximin criterion", worst_saving),
    "jain_savings": KPI("1", "O(T E N)", JAIN, jain_savings),
    "gini_savings": KPI("1", "O(T E N + E N log N)", RAFFINETTI, gini_savings),
    "coordination_effectiveness": KPI("1", "O(T E N)", "what could be matched locally", coordination_effectiveness),
}


def evaluate(history: History) -> dict[str, Floats]:
    """Every KPI of the registry, name -> [E]."""
    return {name: kpi.of(history) for name, kpi in KPIS.items()}
