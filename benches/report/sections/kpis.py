"""What happens to the market as the population grows: KPIs of the evaluation episodes, trends, references."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np

from benches.measure.records import Record
from benches.report.data.study import ENOUGH, rank
from benches.report.document import Figure, Section, Table, Value
from benches.stats.intervals import Interval, of_mean

CASES = ("train/whole", "reference/policy", "reference/optimum")
"""Whose evaluation episodes are compared."""
OPTIMUM = "optimum"
FORESIGHT = "mpc_perfect"
"""The reference that knows the whole day and pays fees."""
EFFICIENCY, SEEN_EFFICIENCY, GAP = "efficiency", "efficiency_on_training_days", "efficiency_gap"
MIN_POPULATIONS = 4
"""Populations that a trend is taken from."""
SIGNIFICANT = 0.05

Episodes = dict[int, list[float]]
"""Values of the evaluation episodes by seed, NaN where undefined; runs of one seed learn the same, so one counts."""


class Meaning(NamedTuple):
    """What a KPI is: unit, formula, source."""

    unit: str
    formula: str
    source: str


class Trend(NamedTuple):
    """Change of a KPI per doubling of the population, and p of no change, corrected for all trends of the report."""

    slope: float
    p: float

    @property
    def significant(self) -> bool:
        return self.p < SIGNIFICANT

    @property
    def shown(self) -> Value:
        return Value(f"{self.slope:+.3g}{' *' if self.significant else ''} (p {self.p:.2g})", self.slope)


@dataclass
class Kpis:
    """values: by KPI, player (`ctde ppo`, a reference policy, the optimum) and population. learned: players.

    curves: (iteration, position) of each evaluation, by player, population and seed. rules: position of the rule for
    the own battery, by population and seed.
    """

    meanings: dict[str, Meaning]
    values: dict[str, dict[str, dict[int, Episodes]]] = field(default_factory=dict)
    learned: list[str] = field(default_factory=list)
    curves: dict[str, dict[int, dict[int, list[tuple[int, float]]]]] = field(default_factory=dict)
    rules: dict[tuple[int, int], float] = field(default_factory=dict)

    def add(self, kpi: str, player: str, agents: int, seed: int, episodes: Sequence[float]) -> None:
        """Keep the values of one evaluation."""
        self.values.setdefault(kpi, {}).setdefault(player, {}).setdefault(agents, {})[seed] = list(episodes)

    def at(self, kpi: str, player: str, agents: int) -> Interval:
        """Mean over seeds with an interval; over the episodes where there are fewer than three seeds."""
        episodes = self.values.get(kpi, {}).get(player, {}).get(agents, {})
        means = [of_mean(each).mid for each in episodes.values()]
        over = of_mean(means)
        if len(means) >= ENOUGH:
            return over
        within = of_mean([value for each in episodes.values() for value in each])
        return within if not math.isnan(within.mid) else over

    @property
    def references(self) -> list[str]:
        """The players that do not learn."""
        players = dict.fromkeys(player for each in self.values.values() for player in each)
        return [player for player in players if player not in self.learned]

    @cached_property
    def populations(self) -> list[int]:
        return sorted({agents for kpi in self.values.values() for player in kpi.values() for agents in player})

    @cached_property
    def trends(self) -> dict[tuple[str, str], Trend]:
        """By KPI and learner: a line through the means over log2 N, a point for each population and seed.

        p is of the slope (Student), corrected together for all of them (Benjamini and Hochberg 1995).
        """
        from scipy import stats  # takes a second

        found: dict[tuple[str, str], tuple[float, float]] = {}
        for kpi in self.values:
            for player in self.learned:
                seeds = [(n, each) for n, each in self.values[kpi].get(player, {}).items()]
                points = [(math.log2(n), of_mean(values).mid) for n, each in seeds for values in each.values()]
                points = [point for point in points if not math.isnan(point[1])]
                x, y = (np.array(each) for each in zip(*points, strict=True)) if points else (np.empty(0),) * 2
                if len(set(x.tolist())) >= MIN_POPULATIONS and float(np.ptp(y)) > 0:
                    line = stats.linregress(x, y)
                    found[kpi, player] = float(line.slope), float(line.pvalue)
        if not found:
            return {}
        corrected = stats.false_discovery_control([p for _, p in found.values()])
        return {key: Trend(slope, float(p)) for (key, (slope, _)), p in zip(found.items(), corrected, strict=True)}


def kpis_of(runs: Sequence[Sequence[Record]]) -> Kpis:
    """The KPIs of all evaluation episodes. $ are per agent, so that populations compare.

    A KPI that a later record gives in another unit than the first one is a KPI of its own: `cost_saving in ct`.
    """
    efficiency = "saving / (DSO-only cost - cost of the cooperative optimum)"
    found = Kpis({EFFICIENCY: Meaning("1", efficiency, "market.evaluation.optimum")})
    found.meanings[SEEN_EFFICIENCY] = Meaning("1", "efficiency on days that training drew from", "market.rl.trainer")
    found.meanings[GAP] = Meaning("1", "efficiency on training days - efficiency on held-out days", "market.rl.trainer")
    gaps: dict[tuple[str, int, int], list[float]] = {}
    for record in sorted(_evaluated(runs), key=lambda each: each.case != "reference/optimum"):
        agents, seed, player = int(record.size), record.seed, _player(record)
        facts = {name: _numbers(values) for name, values in record.facts["evaluation_kpis"].items()}
        _add_efficiency(found, record, gaps)
        meanings = _meanings_of(record)
        for name, values in facts.items():
            if name not in meanings:
                continue
            unit, *rest = meanings[name]
            meaning, share = (Meaning("$ per agent", *rest), agents) if unit == "$" else (Meaning(unit, *rest), 1)
            same = found.meanings.setdefault(name, meaning).unit == meaning.unit
            place = name if same else f"{name} in {unit}"
            found.meanings.setdefault(place, meaning)
            found.add(place, player, agents, seed, [value / share for value in values])
        if record.case == "train/whole" and player not in found.learned:
            found.learned.append(player)
    return found


def _add_efficiency(found: Kpis, record: Record, gaps: dict[tuple[str, int, int], list[float]]) -> None:
    """Efficiency of a player on held-out days, and, if it learned, on those of training; and how far they are apart.

    gaps: DSO-only cost less optimal cost of the episodes, $, by days, agents and seed; those of an optimum are added.
    """
    agents, seed, player, facts = int(record.size), record.seed, _player(record), record.facts
    means = []
    for name, kpis, days in ((EFFICIENCY, "evaluation_kpis", ""), (SEEN_EFFICIENCY, "seen_kpis", "seen_")):
        place, saved = (days, agents, seed), _numbers(facts.get(kpis, {}).get("cost_saving", []))
        if f"{days}alone_cost" in facts:
            ends = zip(facts[f"{days}alone_cost"], facts[f"{days}optimal_cost"], strict=True)
            gaps[place] = [alone - best for alone, best in ends]
        if saved and place in gaps:
            shares = _shares(saved, gaps[place])
            found.add(name, player, agents, seed, shares)
            means.append(of_mean(shares).mid)
    gap = gaps.get(("", agents, seed), [])
    if "rule_saving" in facts:
        found.rules[agents, seed] = _position(facts["rule_saving"], gap)
    evaluated = zip(facts.get("evaluated_iterations", ()), facts.get("evaluated_savings", ()), strict=False)
    curve = [(iteration, _position(saved, gap)) for iteration, saved in evaluated if gap]
    if curve:
        found.curves.setdefault(player, {}).setdefault(agents, {})[seed] = curve
    if len(means) == 2:
        found.add(GAP, player, agents, seed, [means[1] - means[0]])


def _shares(saved: Sequence[float], gap: Sequence[float]) -> list[float]:
    """Position of each episode: what was saved of what could be."""
    return [save / most if most > 1e-9 else math.nan for save, most in zip(saved, gap, strict=False)]


def _position(saved: Any, gap: Sequence[float]) -> float:
    return of_mean(_shares(_numbers(saved), gap)).mid


def _meanings_of(record: Record) -> dict[str, Meaning]:
    """What KPIs mean: as the record says, else as the code says now."""
    from market.evaluation.kpis import KPIS

    now = {name: Meaning(row.unit, row.formula, row.reference) for name, row in KPIS.items()}
    return now | {name: Meaning(*(*texts, "")[:3]) for name, texts in (record.kpi_meanings or {}).items()}


def _evaluated(runs: Sequence[Sequence[Record]]) -> list[Record]:
    """The records that hold KPIs of evaluation episodes, trainings in the order of the study."""

    def place(record: Record) -> tuple[str, int, float]:
        return str(record.params.get("mode", "")), rank(str(record.params.get("algorithm", ""))), record.size

    everything = (record for records in runs for record in records)
    held = [r for r in everything if r.status == "ok" and r.case in CASES and "evaluation_kpis" in r.facts]
    return sorted(held, key=place)


def _player(record: Record) -> str:
    params = record.params
    if record.case == "reference/optimum":
        return OPTIMUM
    return str(params["policy"]) if record.case == "reference/policy" else f"{params['mode']} {params['algorithm']}"


def _numbers(values: Any) -> list[float]:
    each = values if isinstance(values, list) else [values]
    return [math.nan if value is None else float(value) for value in each]


def section(kpis: Kpis) -> Section:
    """KPIs by population."""
    seeds = max((len(e) for k in kpis.values.values() for p in k.values() for e in p.values()), default=0)
    basis = "seeds" if seeds >= ENOUGH else "evaluation episodes of one training, not over seeds"
    sentences = [
        f"With one seed all play the same evaluation episodes. Intervals are 95 %, over {basis}.",
        "Evaluation days are held out of training; the efficiency gap is what days of training have over them.",
        "A trend is the change per doubling of the population; its p is corrected for the number of trends.",
    ]
    sentences += _reachable(kpis)
    names = shown(kpis)
    caption = "KPIs by population: trained agents with 95 % intervals, references as dashed lines"
    figures = [Figure("kpis", caption)] if drawn(kpis) else []
    tables = [_trends(kpis, names), *(_table(kpis, name) for name in names), _meanings(kpis, names)]
    return Section("What happens to the market", sentences, figures, [table for table in tables if table.rows])


def _reachable(kpis: Kpis) -> list[str]:
    """What efficiency a plan with foresight reaches, lowest and highest over the populations; nothing if unknown."""
    mids = [kpis.at(EFFICIENCY, FORESIGHT, agents).mid for agents in kpis.populations]
    known = [mid for mid in mids if not math.isnan(mid)]
    if not known:
        return []
    reached = " to ".join(dict.fromkeys(f"{mid:.2f}" for mid in (min(known), max(known))))
    name = FORESIGHT.replace("_", " ")
    return [
        f"The optimum pays no network fees; a plan with perfect foresight that pays them ({name}) reaches {reached}."
    ]


def shown(kpis: Kpis, populations: int = 1) -> list[str]:
    """The KPIs that some player has at this many populations or more."""
    return [name for name in kpis.meanings if len(_defined(kpis, name)) >= populations]


def drawn(kpis: Kpis) -> list[str]:
    """The KPIs that have a panel in the figure: those at two populations, where there are as many."""
    return shown(kpis, populations=min(2, len(kpis.populations)))


def title(name: str) -> str:
    """A KPI's name as a heading."""
    return name.replace("_", " ").capitalize().replace("P2p", "P2P")


def _defined(kpis: Kpis, name: str) -> set[int]:
    players = kpis.values.get(name, {})
    return {n for player in players for n in players[player] if not math.isnan(kpis.at(name, player, n).mid)}


def _table(kpis: Kpis, name: str) -> Table:
    meaning = kpis.meanings[name]
    players = {p: p.upper() for p in kpis.learned} | {p: p for p in kpis.references}
    return Table(
        f"{title(name)} ({meaning.unit})",
        ("player", *(f"N = {n}" for n in kpis.populations)),
        [
            [shown, *(kpis.at(name, player, n) for n in kpis.populations)]
            for player, shown in players.items()
            if player in kpis.values[name]
        ],
        meaning.formula,
    )


def _trends(kpis: Kpis, names: Sequence[str]) -> Table:
    rows = []
    for name in names:
        trends = [kpis.trends.get((name, player)) for player in kpis.learned]
        if any(trends):
            rows.append([name.replace("_", " "), kpis.meanings[name].unit, *(t and t.shown for t in trends)])
    columns = ("KPI", "unit", *(player.upper() for player in kpis.learned))
    return Table("Change per doubling of the population (* significant)", columns, rows)


def _meanings(kpis: Kpis, names: Sequence[str]) -> Table:
    rows = [[name.replace("_", " "), *kpis.meanings[name]] for name in names]
    return Table("What the KPIs mean", ("KPI", "unit", "formula", "source"), rows)
