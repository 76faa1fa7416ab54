"""How good trainings become and how soon: positions over seeds, learning curves, and the time to equal quality.

A position is where a policy stands between the DSO alone (0) and the cooperative optimum of the same days (1).
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benches.report.data.study import ENOUGH, Study
from benches.report.document import Figure, Row, Section, Table, Value, interval
from benches.report.sections.kpis import EFFICIENCY, Kpis
from benches.stats.aggregate import Scores, improvement, interquartile_mean, profile, stratified
from benches.stats.intervals import Interval, of_mean
from benches.workloads.training import EPISODES, STEPS

RULE, LEVEL = "own battery", 0.7
"""What a training should be worth at least: a rule for the own battery under the tariff, and a position beyond it."""
THRESHOLDS = np.linspace(-0.5, 1.0, 31)
"""Positions at which the performance profile is drawn."""
CONVERGED = 0.95
"""Share of the whole rise of the position."""
EXPORT = "marl_eval.json"


@dataclass(frozen=True)
class Reached:
    """Iterations until each seed has a quality; NaN for one that had not when its training ended, after `last`."""

    iterations: tuple[float, ...]
    last: int

    @property
    def mean(self) -> Interval:
        """Over the seeds, if all have it; else nothing is known of the mean but that it is larger."""
        return Interval(math.nan) if any(map(math.isnan, self.iterations)) else of_mean(self.iterations)

    @property
    def shown(self) -> Value:
        """`20 [12, 28]`, or `> 50 (1 of 3)` where seeds are censored."""
        if self.mean.mid == self.mean.mid:
            return interval(self.mean, 2)
        count = sum(not math.isnan(each) for each in self.iterations)
        return Value(f"> {self.last} ({count} of {len(self.iterations)})", float(self.last))


def scores(kpis: Kpis, player: str) -> Scores:
    """Mean position of each seed, by population."""
    found = kpis.values.get(EFFICIENCY, {}).get(player, {})
    means = {agents: [of_mean(each).mid for each in seeds.values()] for agents, seeds in sorted(found.items())}
    known = {agents: [mean for mean in each if not math.isnan(mean)] for agents, each in means.items()}
    return {agents: each for agents, each in known.items() if each}


def reached(kpis: Kpis, player: str, agents: int, target: float | None) -> Reached | None:
    """When the seeds of a training have a position, that of the rule where `target` is None."""
    found, last = [], 0
    for seed, curve in kpis.curves.get(player, {}).get(agents, {}).items():
        level = kpis.rules.get((agents, seed)) if target is None else target
        if level is not None and curve:
            found.append(next((float(iteration) for iteration, position in curve if position >= level), math.nan))
            last = max(last, curve[-1][0])
    return Reached(tuple(found), last) if found else None


def converged(curve: Sequence[tuple[int, float]]) -> float:
    """The first iteration that has CONVERGED of the rise of the position from the first evaluation to the last."""
    (_, first), (_, last) = curve[0], curve[-1]
    if not last > first:
        return math.nan
    return float(next(iteration for iteration, position in curve if position >= first + CONVERGED * (last - first)))


def findings(kpis: Kpis, study: Study | None) -> Iterator[str]:
    """Which training is best, and how soon."""
    found = {player: scores(kpis, player) for player in kpis.learned}
    found = {player: each for player, each in found.items() if each}
    if not found:
        return
    middles = {player: stratified(each, interquartile_mean) for player, each in found.items()}
    best = max(middles, key=lambda player: middles[player].mid)
    seeds = [len(each) for scored in found.values() for each in scored.values()]
    least, most = min(seeds), max(seeds)
    count = f"{least} {'seed' if least == 1 else 'seeds'}" if least == most else f"{least} to {most} seeds"
    yield (
        f"Over all populations {best.upper()} has the highest interquartile mean of the position between the DSO alone "
        f"(0) and the optimum (1): {interval(middles[best], 2).text} ({count} a population)."
    )
    largest = max(max(each) for each in found.values())
    at = {player: of_mean(each[largest]) for player, each in found.items() if largest in each}
    first = max(at, key=lambda player: at[player].mid)
    rest = {name: kpis.at(EFFICIENCY, name, largest) for name in kpis.references}
    others = "".join(f"; {n.replace('_', ' ')} {v.mid:.2f}" for n, v in rest.items() if not math.isnan(v.mid))
    yield f"At {largest:,} agents the best is {first.upper()} with {interval(at[first], 2).text}{others}."
    yield from _time_to_quality(kpis, study)


def _time_to_quality(kpis: Kpis, study: Study | None) -> Iterator[str]:
    for name, target in ((f"the position of {RULE}", None), (f"the position {LEVEL:.2f}", LEVEL)):
        cells = [(p, n, reached(kpis, p, n, target)) for p, each in kpis.curves.items() for n in sorted(each)]
        known = [(p, n, when) for p, n, when in cells if when is not None]
        if not known:
            continue
        done = [(p, n, when.mean.mid) for p, n, when in known if not math.isnan(when.mean.mid)]
        text = f"All seeds reach {name} in {len(done)} of {len(known)} cells of combination and population"
        timed = [(p, n, its, study.seconds(p, n, its)) for p, n, its in done] if study else []
        timed = [each for each in timed if not math.isnan(each[3])]
        if timed:
            player, agents, its, seconds = min(timed, key=lambda each: (-each[1], each[3]))
            text += f"; at {agents:,} agents {player.upper()} is first, after {its:.0f} iterations ({seconds:.3g} s)"
        yield f"{text}."


def section(kpis: Kpis, study: Study | None) -> Section:
    """Positions over seeds, and when they are reached."""
    sentences = [
        "Positions on held-out days. Intervals are 95 %: a bootstrap of the seeds within each population.",
        "Aggregates as in Agarwal et al. 2021 (arXiv:2108.13264); marl_eval.json has the same for marl-eval.",
        "Time to quality: iterations until an evaluation has it; `> n (k of m)` where k of m seeds had it after n.",
        f"An iteration has {EPISODES * STEPS} env-steps; seconds are those of the cells whose iterations were timed.",
    ]
    figures = [Figure("learning", "Position by iteration, mean over seeds with intervals; rules as lines")]
    figures += [Figure("profiles", "Performance profiles: share of the trainings beyond each position")]
    tables = [_aggregate(kpis), _improvements(kpis), *_to_quality(kpis, study)]
    return Section("How well and how soon", sentences, figures, [table for table in tables if table.rows])


def _aggregate(kpis: Kpis) -> Table:
    rows: list[Row] = []
    for player in kpis.learned:
        found = scores(kpis, player)
        if found:
            counts = ", ".join(f"{len(each)} at {agents}" for agents, each in found.items())
            rows.append([player.upper(), stratified(found, interquartile_mean), counts])
    return Table("Interquartile mean of the position", ("training", "interquartile mean", "seeds by population"), rows)


def _improvements(kpis: Kpis) -> Table:
    found = {player: scores(kpis, player) for player in kpis.learned}
    known = {player: each for player, each in found.items() if each}
    rows: list[Row] = [
        [a.upper(), *(improvement(x, y) if x.keys() & y.keys() and a != b else None for b, y in known.items())]
        for a, x in known.items()
    ]
    note = "Probability that a training of the row ends better than one of the column, mean over populations."
    return Table("Probability of improvement", ("training", *(player.upper() for player in known)), rows, note)


def _to_quality(kpis: Kpis, study: Study | None) -> Iterator[Table]:
    for name, target in ((RULE, None), (f"{LEVEL:.2f}", LEVEL)):
        rows: list[Row] = []
        for player, populations in kpis.curves.items():
            for agents, seeds in sorted(populations.items()):
                when = reached(kpis, player, agents, target)
                if when is None:
                    continue
                mid, each = when.mean, study.seconds(player, agents, 1) if study else math.nan
                seconds = Interval(*(its * each for its in mid))
                steps = Interval(*(its * EPISODES * STEPS for its in mid))
                ends = of_mean([converged(curve) for curve in seeds.values() if len(curve) > 1])
                rows.append([player.upper(), agents, when.shown, steps, seconds, ends])
        columns = ("training", "agents", "iterations", "env-steps", "seconds", "iterations to 95 % of the rise")
        yield Table(f"Time to the position of {name}" if target is None else f"Time to position {name}", columns, rows)


def profiles(kpis: Kpis) -> dict[str, list[Interval]]:
    """The performance profile of each training at THRESHOLDS."""
    found = {player: scores(kpis, player) for player in kpis.learned}
    return {player: profile(each, THRESHOLDS) for player, each in found.items() if each}


def export(kpis: Kpis, path: Path) -> Path:
    """Write the positions as marl-eval reads them: environment, task, algorithm, seed, step (arXiv:2209.10485)."""
    tasks: dict[str, dict[str, dict[str, Mapping[str, object]]]] = {}
    for player, populations in kpis.curves.items():
        for agents, seeds in populations.items():
            for seed, curve in seeds.items():
                steps: dict[str, object] = {
                    f"step_{number}": {"step_count": iteration * EPISODES * STEPS, "position": [position]}
                    for number, (iteration, position) in enumerate(curve)
                }
                best = max((position for _, position in curve), default=math.nan)
                runs = tasks.setdefault(f"agents_{agents}", {}).setdefault(player.upper(), {})
                runs[f"seed_{seed}"] = steps | {"absolute_metrics": {"position": [best]}}
    path.write_text(json.dumps({"local_energy_market": tasks}, indent=1), encoding="utf-8")
    return path


def mean_curve(seeds: Mapping[int, Sequence[tuple[int, float]]]) -> dict[int, Interval]:
    """The position by iteration, mean over the seeds, with Student's interval where there are ENOUGH."""
    found: dict[int, list[float]] = {}
    for curve in seeds.values():
        for iteration, position in curve:
            found.setdefault(iteration, []).append(position)
    means = {iteration: of_mean(each) for iteration, each in sorted(found.items())}
    return {n: mean if len(found[n]) >= ENOUGH else Interval(mean.mid) for n, mean in means.items()}


def rule_at(kpis: Kpis, agents: int) -> float:
    """Mean position of the rule over the seeds of a population; NaN where it is not known."""
    known = [position for (n, _), position in kpis.rules.items() if n == agents]
    return statistics.fmean(known) if known else math.nan
