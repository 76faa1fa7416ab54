"""The tables of a campaign, as Markdown: what is learnt and whether it lasts, the references, and what moves it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from benches.campaign.changes import TODAY
from benches.stats import intervals
from benches.terminal.text import table

MARKS = (25, 50, 100, 200, 500)
"""Iterations at which the learning table shows the position."""
WINDOW = 50
"""Iterations that a best and a last position are means over."""
FALL = 0.03
"""How far the last position of a stable training is below its best at most."""
RIVALS = ("truthful", "zero_intelligence")
"""References that every training should end above."""
Line = Mapping[str, Any]


class Group(NamedTuple):
    """Trainings that differ by their seed alone."""

    algorithm: str
    mode: str
    agents: int
    iterations: int
    every: int
    episodes: int
    change: str


class Curves:
    """The evaluations of a group: iterations [K], positions [S, K] by seed, those of training days [S, K]."""

    def __init__(self, results: Mapping[int, Line]) -> None:
        self.results = dict(sorted(results.items()))
        self.evaluations = [result["evaluations"] for result in self.results.values()]
        self.iterations = [row["iteration"] for row in self.evaluations[0]]
        self.window = sum(iteration > self.iterations[-1] - WINDOW for iteration in self.iterations)
        self.positions, self.training = self.of("position"), self.of("training_position")

    def of(self, name: str) -> Any:
        """A figure of the evaluations, [S, K]; nan where it is not known."""
        rows = [[row.get(name) for row in evaluations] for evaluations in self.evaluations]
        return np.array(rows, np.float64)

    def at(self, iteration: int) -> float:
        """Mean position after that iteration; nan where there was no evaluation."""
        found = iteration in self.iterations
        return float(self.positions[:, self.iterations.index(iteration)].mean()) if found else math.nan

    @property
    def lasts(self) -> Any:
        """Mean position of the last WINDOW iterations, [S]."""
        return self.positions[:, -self.window :].mean(1)

    @property
    def best(self) -> float:
        """The best mean of WINDOW iterations of the mean curve."""
        curve = self.positions.mean(0)
        return float(np.convolve(curve, np.full(self.window, 1 / self.window), "valid").max())

    def span(self, word: str) -> str:
        """Lowest to highest of the reported figures whose name contains `word`, over all evaluations and seeds."""
        rows = [row["losses"] for evaluations in self.evaluations for row in evaluations]
        found = [value for row in rows for name, value in row.items() if word in name.lower() and value is not None]
        return f"{min(found):.2f} to {max(found):.2f}" if found else "-"


def of(lines: Sequence[Line]) -> str:
    """All tables; of cells that were measured again, the last result."""
    rivals, curves, codes = references(lines), curves_of(lines), {line["settings"]["code"] for line in lines}
    parts = [learning(curves, rivals), compared(rivals), moved(curves)]
    if len(codes) > 1:
        parts.append(f"These cells are of {len(codes)} states of `market`: {', '.join(sorted(codes))}.")
    return "\n\n".join(part for part in parts if part) or "no finished cells"


def curves_of(lines: Iterable[Line]) -> dict[Group, Curves]:
    """The curves of every group of trainings."""
    groups = defaultdict[Group, dict[int, Line]](dict)
    for line in lines:
        settings = line["settings"]
        if "algorithm" in settings:
            group = Group(*(settings[name] for name in Group._fields))
            groups[group][settings["seed"]] = line["result"]
    return {group: Curves(results) for group, results in sorted(groups.items())}


def references(lines: Iterable[Line]) -> dict[tuple[int, int], dict[str, dict[int, float]]]:
    """(agents, episodes) -> policy -> seed -> position."""
    found: Any = defaultdict(lambda: defaultdict(dict))
    for line in lines:
        settings = line["settings"]
        for name, position in line["result"].get("positions", {}).items():
            found[settings["agents"], settings["episodes"]][name][settings["seed"]] = position
    return dict(found)


def learning(curves: Mapping[Group, Curves], rivals: Mapping[tuple[int, int], Any]) -> str:
    """Positions on held-out days by iteration, how far they fall, and the verdicts, of trainings without a change."""
    heads = ["algorithm", "mode", "N", "seeds", *map(str, MARKS), f"best {WINDOW}", f"last {WINDOW}", "falls by"]
    heads += ["range over seeds", "training days", "worse off", "std", "entropy", "s (CPU s) an iteration"]
    rows = []
    for group, curve in curves.items():
        if group.change != TODAY:
            continue
        lasts = curve.lasts
        last, best = float(lasts.mean()), curve.best
        beaten = [below(curve, rivals.get((group.agents, group.episodes), {}).get(name, {})) for name in RIVALS]
        above = "-" if None in beaten else "yes" if all(beaten) else "NO"
        times = [float(np.mean([r[name] for r in curve.results.values()])) for name in ("seconds", "cpu_seconds")]
        rows.append(
            [
                *(group.algorithm, group.mode, str(group.agents), str(len(lasts))),
                *(figure(curve.at(mark)) for mark in MARKS),
                *(figure(best), figure(last), figure(best - last)),
                f"{lasts.min():.2f} to {lasts.max():.2f}",
                figure(float(curve.training[:, -curve.window :].mean())),
                figure(float(curve.of("share_worse_off")[:, -curve.window :].mean())),
                *(curve.span("std"), curve.span("entropy"), f"{times[0]:.3g} ({times[1]:.3g})"),
                *(above, "yes" if best - last <= FALL else "NO"),
            ]
        )
    return table([*heads, "above truthful and zero intelligence", "stable"], rows)


def below(curve: Curves, rival: Mapping[int, float]) -> bool | None:
    """Whether a reference is below the last positions in the mean over their seeds; None where one is missing."""
    if not set(curve.results) <= set(rival):
        return None
    return bool(np.array([rival[seed] for seed in curve.results], np.float64).mean() < curve.lasts.mean())


def compared(rivals: Mapping[tuple[int, int], Any]) -> str:
    """The references on the same held-out episodes: mean and range over seeds."""
    sizes = sorted(rivals)
    names = dict.fromkeys(name for size in sizes for name in rivals[size])
    rows = []
    for name in names:
        found = [np.array(list(rivals[size].get(name, {0: math.nan}).values()), np.float64) for size in sizes]
        rows.append([name, *(f"{each.mean():.2f} ({each.min():.2f} to {each.max():.2f})" for each in found)])
    return table(["what does not learn", *(f"N={agents}, {episodes} episodes" for agents, episodes in sizes)], rows)


def moved(curves: Mapping[Group, Curves]) -> str:
    """Last positions under each change, and what it adds to today's: seed by seed, with Student's interval."""
    rows = []
    for group, curve in curves.items():
        base = curves.get(group._replace(change=TODAY))
        if group.change == TODAY or base is None:
            continue
        seeds = [list(each.results) for each in (curve, base)]
        both = sorted(set(seeds[0]) & set(seeds[1]))
        last, before = (
            [float(each.lasts[own.index(seed)]) for seed in both]
            for each, own in zip((curve, base), seeds, strict=True)
        )
        gain = intervals.of_mean(np.subtract(last, before).tolist())
        known = f"{gain.mid:+.3f} [{gain.low:+.3f}, {gain.high:+.3f}]" if gain.known else f"{gain.mid:+.3f}"
        sure = gain.known and not gain.holds(0.0)
        head = (group.algorithm, group.mode, str(group.agents), group.change, str(len(both)))
        fall = curve.best - float(curve.lasts.mean())
        rows.append([*head, figure(float(np.mean(last))), known, "yes" if sure else "", figure(fall)])
    heads = ["algorithm", "mode", "N", "change", "seeds", f"last {WINDOW}", f"more than {TODAY} (95 %)", "sure"]
    return table([*heads, "falls by"], sorted(rows, key=lambda row: (row[:3], -float(row[5] if row[5] != "-" else 0))))


def figure(value: float) -> str:
    """Two decimals; a dash for nothing."""
    return "-" if math.isnan(value) else f"{value:.2f}"
