"""The sentences that a paper can quote, each computed from the records, with its uncertainty; and what is not known.

Whatever they say of the growth of a combination comes from its one `Scaling`, and of two modes or algorithms from their
one `Comparison`, as in the tables and figures: so they cannot contradict one another.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from benches.report.data.study import Combination, Study
from benches.report.document import interval, number
from benches.report.sections import limits, quality, times
from benches.report.sections.kpis import Kpis, title
from benches.report.sections.limits import Budgets, Check
from benches.report.sections.times import Axis, Comparison, name_of

VERDICTS = ("sub-linear", "near-linear", "super-linear")


def findings(study: Study, kpis: Kpis, budgets: Budgets, checks: Sequence[Check]) -> dict[str, list[str]]:
    """What the study found, by the objective that it answers; last, in one line, what it leaves open."""
    compared: dict[Axis, list[Comparison]] = {axis: times.compare(study, axis) for axis in times.AXES}
    found = {
        "Time": [*_growth(study), *_bottlenecks(study)],
        "Training modes": list(_fastest(study, compared["mode"], "mode")),
        "Algorithms": [*_fastest(study, compared["algorithm"], "algorithm"), *quality.findings(kpis, study)],
        "Market": list(_market(kpis)),
        "Limits": list(_limits(study, budgets, checks)),
        "Undetermined": list(_open(study, compared)),
    }
    return {objective: sentences for objective, sentences in found.items() if sentences}


def _growth(study: Study) -> Iterator[str]:
    ends = {c: study.of(*c) for c in study.combinations if len(study.of(*c)) > 1}
    if ends:
        smallest, largest = study.populations[0], study.populations[-1]
        factors = {c: cells[-1].time.mid / cells[0].time.mid for c, cells in ends.items()}
        least, most = min(factors, key=lambda c: factors[c]), max(factors, key=lambda c: factors[c])
        ends_of = [f"{number(factors[c], 2).text}-fold ({name_of(c)})" for c in (least, most)]
        yield (
            f"From {smallest} to {largest:,} agents, {number(largest / smallest, 2).text} times as many, "
            f"the time of one {study.unit} grows {' to '.join(dict.fromkeys(ends_of))}."
        )
    for verdict in VERDICTS:
        members = [c for c, law in study.laws.items() if law.verdict == verdict]
        if members:
            told = ", ".join(f"{name_of(c)} ({study.laws[c].told})" for c in members)
            yield f"Beyond its floor the time grows {verdict}ly as N^k for {told}; 95 % intervals."
    knees = {combination: law.knee for combination, law in study.laws.items() if not math.isnan(law.knee)}
    if knees:
        told = ", ".join(f"{knee:.0f} agents ({name_of(c)})" for c, knee in knees.items())
        yield f"Doubling the population more than doubles the time from about {told} on."


def _bottlenecks(study: Study) -> Iterator[str]:
    parts = []
    for agents in dict.fromkeys((study.populations[0], study.populations[-1])):
        cells = [study.cells[*c, agents] for c in study.combinations if (*c, agents) in study.cells]
        found = Counter(name for name in map(limits.dominant, cells) if name is not None)
        told = [f"{name} in {count}" for name, count in found.most_common()]
        if told:
            parts.append(f"at N = {agents:,} it is {', '.join(told)} of {found.total()}")
    if parts:
        yield f"The phase with the largest share, by number of combinations: {'; '.join(parts)}."


def _fastest(study: Study, comparisons: Sequence[Comparison], axis: Axis) -> Iterator[str]:
    found = times.fastest(comparisons)
    for name, populations in found.items():
        parts = []
        for each in comparisons:
            if name in (each.first, each.second):
                other = each.second if name == each.first else each.first
                ratios = [each.blocks[agents].mid for agents in populations]
                ratios = [1 / ratio if name == each.first else ratio for ratio in ratios]
                parts.append(f"{other.upper()} takes {_span(ratios)} times as long")
        always = "at every population" if populations == study.populations else f"at N = {_listed(populations)}"
        yield f"{name.upper()} is the fastest {axis} {always}: {' and '.join(parts)}."


def _market(kpis: Kpis) -> Iterator[str]:
    moved: dict[str, dict[str, list[str]]] = {}
    for (kpi, player), trend in kpis.trends.items():
        if trend.significant:
            way = "rises" if trend.slope > 0 else "falls"
            moved.setdefault(kpi, {}).setdefault(way, []).append(player.upper())
    for kpi, ways in moved.items():
        everyone = f"all {len(kpis.learned)} trainings"
        told = " and ".join(
            f"{way} for {everyone if len(players) == len(kpis.learned) else ', '.join(players)}"
            for way, players in ways.items()
        )
        yield f"{title(kpi)} {told} as the population grows (significant trends over log N)."


def _limits(study: Study, budgets: Budgets, checks: Sequence[Check]) -> Iterator[str]:
    afforded = {c: limits.affordable(study, c, budgets) for c in study.combinations}
    for number_of, what in enumerate((f"{budgets.seconds:g} s", f"{budgets.gib:g} GiB")):
        known = {c: each[number_of] for c, each in afforded.items() if not math.isnan(each[number_of].mid)}
        if known:
            least, most = min(known, key=lambda c: known[c].mid), max(known, key=lambda c: known[c].mid)
            ends = [f"{interval(known[c], 2).text} agents ({name_of(c)})" for c in (least, most)]
            yield (
                f"{what} afford a training of {study.trained} iterations for {' to '.join(dict.fromkeys(ends))}, by "
                "extrapolation of the fitted laws."
            )
    if checks:
        held = sum(each.predicted.holds(each.measured) for each in checks)
        errors = [abs(each.error) for each in checks]
        sizes = _listed(sorted({each.agents for each in checks}))
        span = " to ".join(dict.fromkeys(f"{edge(errors):.0%}" for edge in (min, max)))
        yield (
            f"Predicted from at most {limits.SMALL} agents, the times at N = {sizes}, measured in the same run, are "
            f"off by {span}; {held} of {len(checks)} lie within the predicted interval."
        )


def _open(study: Study, compared: Mapping[Axis, Sequence[Comparison]]) -> Iterator[str]:
    """One line of all that could not be decided."""
    parts: list[str] = []
    reasons: dict[str, list[Combination]] = {}
    for combination, law in study.laws.items():
        if law.verdict == "undetermined":
            reasons.setdefault(law.reason or f"only {law.told}", []).append(combination)
    for reason, members in reasons.items():
        parts.append(f"the growth of {', '.join(map(name_of, members))} ({reason})")
    for axis, comparisons in compared.items():
        decided = {agents for populations in times.fastest(comparisons).values() for agents in populations}
        left = [agents for agents in study.populations if agents not in decided]
        if comparisons and left:
            parts.append(f"the fastest {axis} at N = {_listed(left)}")
    if parts:
        yield f"{'; '.join(parts)}."


def _span(values: Sequence[float]) -> str:
    return " to ".join(dict.fromkeys(number(edge(values), 2).text for edge in (min, max)))


def _listed(values: Sequence[int]) -> str:
    """`1, 5 and 10`."""
    words = [f"{value:,}" for value in values]
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
