"""Time: every cell with its interval, how it scales, the fastest and the slowest, and paired comparisons."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from benches.report.data.series import INTERVALS
from benches.report.data.study import ENOUGH, Cell, Combination, Repetition, Study
from benches.report.document import Figure, Row, Section, Table, Value, interval, number, varying
from benches.stats.intervals import LEVEL, Interval, of_ratio

Axis = Literal["mode", "algorithm"]
AXES: tuple[Axis, Axis] = ("mode", "algorithm")
MIN_BLOCKS = 3
"""Populations that a comparison needs for an interval."""


def name_of(combination: Combination) -> str:
    """`CTDE PPO`."""
    return " ".join(part.upper() for part in combination)


def scaling_factor(cells: list[Cell]) -> float:
    """The seed's factor: growth of time over growth of population, from the first to the last cell; 1 is linear."""
    first, last = cells[0], cells[-1]
    if first.agents == last.agents:
        return math.nan
    return (last.time.mid / first.time.mid) / (last.agents / first.agents)


@dataclass(frozen=True)
class Comparison:
    """Time of `first` over time of `second`, all else equal. blocks: the ratio at each population, with an interval."""

    first: str
    second: str
    ratio: Interval
    blocks: dict[int, Interval]

    def faster(self, agents: int) -> str | None:
        """Which of the two is faster at a population beyond doubt; None if that is not known."""
        ratio = self.blocks.get(agents, Interval(math.nan))
        if not ratio.known or ratio.holds(1.0):
            return None
        return self.first if ratio.mid < 1 else self.second


def compare(study: Study, axis: Axis) -> list[Comparison]:
    """Every two modes (or algorithms), in pairs of cells that differ in nothing else.

    At each population, logarithms of ratios are averaged over the pairs of a repetition (run, seed, process), and the
    interval is Student's over the repetitions, or over all pairs where those are few, at a level that holds for all
    comparisons of the axis together (Bonferroni). Seconds of different populations are never averaged; the ratio over
    all is the geometric mean of those of the populations.
    """
    names = study.modes if axis == "mode" else study.algorithms
    pairs = list(itertools.combinations(names, 2))
    level = 1 - (1 - LEVEL) / max(1, len(pairs))
    found = []
    for first, second in pairs:
        blocks = {}
        for agents in study.populations:
            logs = _log_ratios(study, axis, first, second, agents)
            means = [statistics.fmean(each) for each in logs.values()]
            if means:
                single = [value for each in logs.values() for value in each]
                blocks[agents] = of_ratio(means if len(means) >= ENOUGH else single, level)
        over = of_ratio([math.log(each.mid) for each in blocks.values()], level)
        found.append(Comparison(first, second, over if len(blocks) >= MIN_BLOCKS else Interval(over.mid), blocks))
    return found


def _log_ratios(study: Study, axis: Axis, first: str, second: str, agents: int) -> dict[Repetition, list[float]]:
    """Logarithms of the ratios of the pairs at one population, by repetition."""
    found: dict[Repetition, list[float]] = {}
    for cell in study.cells.values():
        if cell.agents != agents or (cell.mode if axis == "mode" else cell.algorithm) != first:
            continue
        twin = study.cells.get((second, cell.algorithm, agents) if axis == "mode" else (cell.mode, second, agents))
        for repetition in cell.times.keys() & (twin.times.keys() if twin else ()):
            assert twin is not None
            found.setdefault(repetition, []).append(math.log(cell.times[repetition] / twin.times[repetition]))
    return found


def fastest(comparisons: Sequence[Comparison]) -> dict[str, list[int]]:
    """The populations at which each name is faster than all others beyond doubt."""
    found: dict[str, list[int]] = {}
    names = {name for each in comparisons for name in (each.first, each.second)}
    for agents in sorted({agents for each in comparisons for agents in each.blocks}):
        faster = [each.faster(agents) for each in comparisons]
        for name in sorted(names):
            if faster.count(name) == len(names) - 1 > 0:
                found.setdefault(name, []).append(agents)
    return found


def section(study: Study) -> Section:
    """Time by population, mode and algorithm."""
    marked = sum(cell.time.wide for cell in study.cells.values())
    repetitions = max(len(cell.times) for cell in study.cells.values())
    basis = (
        "processes or other repetitions"
        if repetitions >= ENOUGH
        else "what was timed within one repetition: machine noise, no more"
    )
    sentences = [
        f"Seconds of one {study.unit}, warm-up, building and evaluation left out. Intervals are 95 %, over {basis}.",
        "They are CPU seconds where sizes took turns on one thread; the median of the wall seconds stands beside.",
        f"{marked} of {len(study.cells)} cells are marked (!): half their interval is more than 10 % of the time.",
    ]
    figures = [Figure("time", f"Seconds of one {study.unit} by population: points with intervals, fitted curves")]
    return Section("Time", sentences, figures, [_scaling(study), *_comparisons(study), _cells(study)])


def _scaling(study: Study) -> Table:
    rows: list[Row] = []
    for combination, law in study.laws.items():
        cells = study.of(*combination)
        first, last = cells[0], cells[-1]
        rows.append(
            [
                name_of(combination),
                Value(f"{first.agents} to {last.agents}", last.agents),
                Value(f"{number(first.time.mid).text} to {number(last.time.mid).text}", last.time.mid),
                scaling_factor(cells),
                Value(law.told.removeprefix("k = "), law.exponent),
                law.floor,
                law.knee,
                law.verdict,
            ]
        )
    columns = ("combination", "agents", "seconds", "scaling factor", "exponent k", "floor (s)", "knee", "verdict")
    used = sorted({law.basis for law in study.laws.values()} - {"none"})
    note = (
        "Scaling factor: (last time / first time) / (last population / first population), 1 is linear. Exponent k of "
        f"t(N) = floor + c N^k, {'; '.join(INTERVALS[basis] for basis in used) or 'undetermined'}. The verdict is "
        "sub- or super-linear only where the whole interval lies below or above 1. Knee: the population from which "
        "doubling it more than doubles the time; a dash where k may be 1, or that happens at none that was measured."
    )
    return varying(Table("How time scales", columns, rows, note))


def _comparisons(study: Study) -> Iterator[Table]:
    for axis in AXES:
        comparisons = compare(study, axis)
        if not comparisons:
            continue
        rows: list[Row] = []
        for each in comparisons:
            blocks = [each.blocks.get(agents) for agents in study.populations]
            rows.append([each.first.upper(), each.second.upper(), each.ratio, *blocks])
        columns = (axis, "against", "time ratio, all populations", *(f"N = {n}" for n in study.populations))
        note = (
            "Geometric mean ratios over pairs of cells that differ in nothing else. Intervals are over processes (or "
            f"pairs, where they are few), at a level that holds for all {len(comparisons)} comparisons together."
        )
        yield Table(f"Paired comparison by {axis}", columns, rows, note)


def _cells(study: Study) -> Table:
    columns: dict[str, Callable[[Cell], Value | str | float]] = {
        "mode": lambda cell: cell.mode.upper(),
        "algorithm": lambda cell: cell.algorithm.upper(),
        "agents": lambda cell: cell.agents,
        "seconds": lambda cell: interval(cell.time, mark_wide=True),
        "wall seconds": lambda cell: cell.wall,
        "seconds per agent": lambda cell: cell.time.mid / cell.agents,
        "env-steps/s": lambda cell: cell.mean("env_steps"),
        "agent-steps/s": lambda cell: cell.mean("agent_steps"),
        "gradient steps": lambda cell: number(cell.mean("gradient_steps"), 4),
        "peak memory (MiB)": lambda cell: cell.memory / 2**20,
        "load average": lambda cell: cell.load,
        "repetitions": lambda cell: len(cell.records),
    }
    rows = [[of(cell) for of in columns.values()] for _, cell in sorted(study.cells.items())]
    return varying(Table("Every cell", tuple(columns), rows))
