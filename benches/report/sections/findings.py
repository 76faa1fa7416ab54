"""The sentences that a paper can quote, each computed from the records, with its uncertainty or the lack of it."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from benches.report.data.study import Combination, Study
from benches.report.document import interval, number
from benches.report.sections import limits, times
from benches.report.sections.kpis import EFFICIENCY, OPTIMUM, Kpis, title
from benches.report.sections.limits import Budgets, Check
from benches.report.sections.times import AXES, Axis, name_of


def findings(study: Study, kpis: Kpis, budgets: Budgets, checks: Sequence[Check]) -> Iterator[str]:
    """What the study found, most general first."""
    yield from _growth(study)
    for axis in AXES:
        yield from _fastest(study, axis)
    yield from _bottlenecks(study)
    yield from _limits(study, budgets, checks)
    yield from _market(kpis)


def _growth(study: Study) -> Iterator[str]:
    smallest, largest = study.populations[0], study.populations[-1]
    ends = [(c, study.of(*c)) for c in study.combinations if len(study.of(*c)) > 1]
    if ends:
        factors = {c: cells[-1].time.mid / cells[0].time.mid for c, cells in ends}
        least, most = min(factors, key=lambda c: factors[c]), max(factors, key=lambda c: factors[c])
        ends_of = [f"{number(factors[c], 2).text}-fold ({name_of(c)})" for c in (least, most)]
        yield (
            f"From {smallest} to {largest:,} agents, {number(largest / smallest, 2).text} times as many, "
            f"the time of one {study.unit} grows {' to '.join(dict.fromkeys(ends_of))}."
        )
    verdicts: dict[str, list[Combination]] = {}
    for combination, law in study.laws.items():
        verdicts.setdefault(law.verdict, []).append(combination)
    for verdict, members in verdicts.items():
        laws = [study.laws[each] for each in members]
        if verdict == "undetermined":
            reasons = Counter(law.reason.split(":")[0] for law in laws)
            why = "; ".join(f"{reason} ({count})" for reason, count in reasons.most_common())
            yield f"Growth is undetermined for {_names(members)}: {why}."
        else:
            spread = f"k from {min(law.low for law in laws):.2f} to {max(law.high for law in laws):.2f}"
            yield f"Growth is {verdict} for {_names(members)} ({spread}, 95 % intervals)."
    knees = {combination: law.knee for combination, law in study.laws.items() if not math.isnan(law.knee)}
    if knees:
        low, high = (f"{edge(knees.values()):.0f}" for edge in (min, max))
        where = f"at about {low} agents" if low == high else f"between about {low} and {high} agents"
        yield f"Growth becomes super-linear {where} for {_names(list(knees))}."


def _fastest(study: Study, axis: Axis) -> Iterator[str]:
    comparisons = times.compare(study, axis)
    found = times.best(comparisons)
    if found is None:
        return
    name, decided = found
    parts = []
    for each in comparisons:
        if name in (each.first, each.second):
            other = each.second if name == each.first else each.first
            ratio = (
                each.ratio
                if name == each.second
                else each.ratio._replace(mid=1 / each.ratio.mid, low=1 / each.ratio.high, high=1 / each.ratio.low)
            )
            parts.append(f"{other.upper()} takes {interval(ratio).text} times as long")
    sure = "" if decided else " by the point estimates, but not beyond doubt"
    populations = f"in pairs at {len(comparisons[0].blocks)} populations"
    yield f"The fastest {axis} is {name.upper()}{sure}: {' and '.join(parts)} ({populations})."


def _bottlenecks(study: Study) -> Iterator[str]:
    for edge, agents in (("smallest", study.populations[0]), ("largest", study.populations[-1])):
        found: dict[str, list[float]] = {}
        for combination in study.combinations:
            cell = study.cells.get((*combination, agents))
            name = limits.dominant(cell) if cell else None
            if cell is not None and name is not None:
                found.setdefault(name, []).append(cell.phases[name])
        for name, shares in sorted(found.items(), key=lambda item: -len(item[1])):
            yield (
                f"At the {edge} population ({agents:,}) {name} takes the largest share in {len(shares)} of "
                f"{sum(map(len, found.values()))} combinations ({_span(shares)} of the time)."
            )
        if study.populations[0] == study.populations[-1]:
            return


def _limits(study: Study, budgets: Budgets, checks: Sequence[Check]) -> Iterator[str]:
    afforded = {c: limits.affordable(study, c, budgets) for c in study.combinations}
    by_time = {c: each[0] for c, each in afforded.items() if not math.isnan(each[0].mid)}
    if by_time:
        least, most = min(by_time, key=lambda c: by_time[c].mid), max(by_time, key=lambda c: by_time[c].mid)
        yield (
            f"{budgets.seconds:g} s afford one {study.unit} of {interval(by_time[least], 2).text} agents "
            f"({name_of(least)}) to {interval(by_time[most], 2).text} ({name_of(most)}), by extrapolation of the fits."
        )
    if checks:
        errors = [abs(each.error) for each in checks]
        held = sum(each.predicted.holds(each.measured) for each in checks)
        yield (
            f"Predicted from at most {limits.SMALL} agents, larger populations are off by {_span(errors)}; "
            f"{held} of {len(checks)} lie within the predicted interval."
        )


def _market(kpis: Kpis) -> Iterator[str]:
    trends = [(kpi, player, trend) for (kpi, player), trend in kpis.trends.items() if trend.significant]
    moved: dict[str, Counter[str]] = {}
    for kpi, _, trend in trends:
        moved.setdefault(kpi, Counter())["rises" if trend.slope > 0 else "falls"] += 1
    for kpi, ways in moved.items():
        told = " and ".join(f"{way} with the population for {count}" for way, count in ways.most_common())
        yield f"{title(kpi)} {told} of {len(kpis.learned)} trainings (significant trends)."
    if kpis.learned and kpis.trends and not trends:
        yield "No KPI has a significant trend over the population."
    if not kpis.learned or EFFICIENCY not in kpis.values:
        return
    largest = max(n for player in kpis.learned for n in kpis.values[EFFICIENCY].get(player, {0: {}}))
    found = {player: kpis.at(EFFICIENCY, player, largest) for player in (*kpis.learned, *kpis.references)}
    found = {player: each for player, each in found.items() if not math.isnan(each.mid)}
    learned = [player for player in kpis.learned if player in found]
    if learned:
        best = max(learned, key=lambda player: found[player].mid)
        rest = [player for player in kpis.references if player in found and player != OPTIMUM]
        others = "".join(f"; {player.replace('_', ' ')} {interval(found[player], 2).text}" for player in rest)
        yield (
            f"Between the DSO alone (0) and the cooperative optimum (1), the best training at {largest:,} agents "
            f"reaches {interval(found[best], 2).text} ({best.upper()}){others}."
        )


def _span(shares: Sequence[float]) -> str:
    return " to ".join(dict.fromkeys(f"{edge(shares):.0%}" for edge in (min, max)))


def _names(combinations: list[Combination]) -> str:
    return ", ".join(name_of(combination) for combination in combinations)
