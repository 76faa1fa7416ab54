"""The figures of a report: every case by size, and of the study the time, the shares of the phases, and the KPIs.

Each is drawn into a PNG and an SVG file, whose paths the functions return.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from benches.report.figures.style import (
    ALGORITHM_MARKERS,
    ALGORITHMS,
    INK,
    MARKERS,
    MODE_MARKERS,
    MODES,
    PAPER,
    PHASES,
    SERIES,
    by_population,
    canvas,
    finish,
    handles,
    label,
    panels,
    save,
    seconds_axis,
    styled,
)
from benches.report.sections.kpis import drawn, title
from benches.report.sections.limits import phases_of
from benches.report.sections.times import name_of
from benches.stats.intervals import Interval

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from benches.report.data.series import Series
    from benches.report.data.study import Study
    from benches.report.sections.kpis import Kpis

REFERENCES: dict[str, Any] = {
    "random": ":",
    "zero_intelligence": "-.",
    "truthful": "--",
    "own_battery": (0, (1, 3)),
    "pooled_battery": (0, (3, 3)),
    "mpc_persistence": (0, (8, 2, 1, 2, 1, 2)),
    "mpc_perfect": "-",
    "optimum": (0, (6, 1.5)),
}
"""Line styles of what does not learn: a row for each of `market.evaluation.policies.POLICIES`, and the optimum."""
CASE_COLUMNS, KPI_COLUMNS = 3, 4


@styled()
def draw_scaling(curves: Sequence[Series], path: Path) -> list[Path]:
    """Time by size on logarithmic axes, a panel for each case, the fitted law beside the data."""
    cases: dict[str, list[Series]] = {}
    for curve in curves:
        if any(time > 0.0 for time in curve.law.medians):  # cells that ran beside others tell no times
            cases.setdefault(f"{curve.case} by {curve.unit}", []).append(curve)
    if not cases:
        return []
    figure, grid = panels(len(cases), min(CASE_COLUMNS, len(cases)), 4.6, 3.7)
    for axes, (case, members) in zip(grid, cases.items(), strict=True):
        _case(axes, case, members)
    return save(figure, path)


def _case(axes: Axes, case: str, members: Sequence[Series]) -> None:
    for number, curve in enumerate(members):
        color, law = SERIES[number % len(SERIES)], curve.law
        told = label(curve.name.removeprefix(curve.case))
        told += f"  {law.told}" if curve.asked else ""
        if not math.isnan(law.exponent):
            sizes = np.geomspace(law.sizes[0], law.sizes[-1], 100)
            axes.plot(sizes, [law.time(size) for size in sizes], color=color, linewidth=1)
        marker = MARKERS[number % len(MARKERS)]
        axes.plot(law.sizes, law.medians, marker, color=color, markersize=5, alpha=0.8, label=told.strip())
        if not math.isnan(law.knee):
            axes.axvline(law.knee, color=color, linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    seconds_axis(axes)
    axes.set_title(case, fontsize=10)
    axes.set_xlabel(members[0].unit)
    axes.set_ylabel("CPU time" if members[0].clock == "cpu" else "time")
    finish(axes)
    axes.legend(fontsize=7, frameon=False)


@styled()
def draw_time(study: Study, path: Path) -> list[Path]:
    """Time by mode, by algorithm and per agent, and as a heat map."""
    figure = canvas(12.5, 9.5)
    (by_mode, by_algorithm), (per_agent, heat) = figure.subplots(2, 2)
    _times(by_mode, study, "mode")
    _times(by_algorithm, study, "algorithm")
    _per_agent(per_agent, study)
    _heat(heat, study)
    return save(figure, path)


def _colour(names: dict[str, str], name: str) -> str:
    return names.get(name, SERIES[sum(name.encode()) % len(SERIES)])


def _points(axes: Axes, found: Mapping[int, Interval], colour: str, marker: str) -> None:
    """Intervals by population, with points that are hollow where the interval is too wide."""
    times = list(found.values())
    look: dict[str, Any] = {"fmt": "none", "elinewidth": 1, "capsize": 2, "color": colour}
    axes.errorbar(list(found), [time.mid for time in times], _reach(times), **look)
    for agents, time in found.items():
        face = PAPER if time.wide else colour
        axes.plot(agents, time.mid, marker, markersize=4.5, markeredgecolor=colour, markerfacecolor=face, alpha=0.9)


def _reach(found: Sequence[Interval]) -> list[list[float]]:
    """How far intervals reach below and above their middles; 0 without bounds."""
    bounds = [each if each.known else Interval(each.mid, each.mid, each.mid) for each in found]
    return [[max(0.0, b.mid - b.low) for b in bounds], [max(0.0, b.high - b.mid) for b in bounds]]


def _times(axes: Axes, study: Study, axis: str) -> None:
    groups = study.modes if axis == "mode" else study.algorithms
    colours, markers = (MODES, ALGORITHM_MARKERS) if axis == "mode" else (ALGORITHMS, MODE_MARKERS)
    for group in groups:
        colour = _colour(colours, group)
        members = [c for c in study.combinations if (c[0] if axis == "mode" else c[1]) == group]
        for member in members:
            law, marker = study.laws[member], markers.get(member[1] if axis == "mode" else member[0], "o")
            _points(axes, {cell.agents: cell.time for cell in study.of(*member)}, colour, marker)
            if not math.isnan(law.exponent):
                sizes = np.geomspace(law.sizes[0], law.sizes[-1], 80)
                axes.plot(sizes, [law.time(size) for size in sizes], color=colour, linewidth=0.9, alpha=0.6)
        mean = _geometric(study, members)
        if len(members) > 1:
            axes.plot(list(mean), list(mean.values()), color=colour, linewidth=2.6, alpha=0.9)
    seconds_axis(axes)
    by_population(axes, study.populations, f"Training time by {axis}", f"seconds of one {study.unit}")
    other = study.algorithms if axis == "mode" else study.modes
    shown = handles({g: _colour(colours, g) for g in groups}, {o: markers.get(o, "o") for o in other})
    axes.legend(handles=shown, fontsize=8, frameon=False, ncols=2, loc="upper left")


def _geometric(study: Study, members: Sequence[tuple[str, str]]) -> dict[int, float]:
    """Geometric mean over the members, at each population where all of them were measured."""
    found = {}
    for agents in study.populations:
        cells = [study.cells.get((*member, agents)) for member in members]
        known = [math.log(cell.time.mid) for cell in cells if cell is not None]
        if len(known) == len(members):
            found[agents] = math.exp(sum(known) / len(known))
    return found


def _per_agent(axes: Axes, study: Study) -> None:
    for mode, algorithm in study.combinations:
        cells, colour = study.of(mode, algorithm), _colour(MODES, mode)
        times = {cell.agents: Interval(*(seconds / cell.agents for seconds in cell.time)) for cell in cells}
        axes.plot(list(times), [time.mid for time in times.values()], color=colour, linewidth=0.9, alpha=0.6)
        _points(axes, times, colour, ALGORITHM_MARKERS.get(algorithm, "o"))
    seconds_axis(axes)
    by_population(axes, study.populations, "Time per agent", "seconds per agent")


def _heat(axes: Axes, study: Study) -> None:
    table = np.full((len(study.populations), len(study.combinations)), np.nan)
    for column, combination in enumerate(study.combinations):
        for cell in study.of(*combination):
            table[study.populations.index(cell.agents), column] = cell.time.mid
    norm = LogNorm(float(np.nanmin(table)), max(float(np.nanmax(table)), float(np.nanmin(table)) * 1.001))
    axes.imshow(table, cmap="YlOrRd", norm=norm, aspect="auto")
    for (row, column), value in np.ndenumerate(table):
        if not math.isnan(value):
            dark = norm(value) > 0.6
            text = f"{value:.3g}"
            axes.text(column, row, text, ha="center", va="center", fontsize=8, color="#ffffff" if dark else "#222222")
    axes.set_xticks(range(len(study.combinations)), [name_of(c).replace(" ", "\n") for c in study.combinations])
    axes.set_yticks(range(len(study.populations)), [f"{n:,}" for n in study.populations])
    axes.set_ylabel("agents")
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_title(f"Seconds of one {study.unit}")


@styled()
def draw_phases(study: Study, path: Path) -> list[Path]:
    """Shares of the phases by population, a panel for each combination."""
    phases, rows, columns = phases_of(study), study.modes, study.algorithms
    figure = canvas(max(6.5, 4.1 * len(columns)), 2.7 * len(rows) + 0.8)
    grid = figure.subplots(len(rows), len(columns), squeeze=False, sharey=True)
    for (row, column), axes in np.ndenumerate(grid):
        cells = study.of(rows[row], columns[column])
        axes.set_title(name_of((rows[row], columns[column])))
        if not cells:
            axes.set_axis_off()
            continue
        below = np.zeros(len(cells))
        for number, phase in enumerate(phases):
            share = np.array([cell.phases.get(phase, 0.0) for cell in cells])
            axes.bar(range(len(cells)), share, bottom=below, color=PHASES[number % len(PHASES)], width=0.86)
            below += share
        axes.set_xticks(range(len(cells)), [f"{cell.agents:,}" for cell in cells])
        axes.set_ylim(0, 1)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
        axes.set_xlabel("agents")
        axes.tick_params(length=0)
    shown = [Patch(color=PHASES[number % len(PHASES)], label=phase) for number, phase in enumerate(phases)]
    figure.legend(handles=shown, loc="outside lower center", ncols=min(7, len(phases)), frameon=False)
    return save(figure, path)


@styled()
def draw_kpis(kpis: Kpis, path: Path) -> list[Path]:
    """A panel for each KPI of `drawn`: trained agents with intervals, references as lines."""
    names = drawn(kpis)
    figure, grid = panels(len(names), KPI_COLUMNS, 4.0, 2.9, below=0.8)
    for axes, name in zip(grid, names, strict=True):
        _kpi(axes, kpis, name)
    players = [player.split() for player in kpis.learned]
    shown = handles(
        {mode: _colour(MODES, mode) for mode, *_ in players},
        {algorithm: ALGORITHM_MARKERS.get(algorithm, "o") for *_, algorithm in players},
    )
    shown += [
        Line2D([], [], color=INK, linewidth=1.1, linestyle=REFERENCES.get(name, "-"), label=name.replace("_", " "))
        for name in kpis.references
    ]
    figure.legend(handles=shown, loc="outside lower center", ncols=max(1, math.ceil(len(shown) / 2)), frameon=False)
    return save(figure, path)


def _kpi(axes: Axes, kpis: Kpis, name: str) -> None:
    everything: list[float] = []
    players = [player for player in (*kpis.references, *kpis.learned) if player in kpis.values[name]]
    for number, player in enumerate(players):
        populations = sorted(kpis.values[name][player])
        found = [kpis.at(name, player, agents) for agents in populations]
        y = np.array([each.mid for each in found])
        if player not in kpis.learned:
            axes.plot(populations, y, color=INK, linewidth=1.1, alpha=0.75, linestyle=REFERENCES.get(player, "-"))
        else:
            mode, algorithm = player.split()
            shifted = np.array(populations) * (1 + 0.03 * (number - len(players) / 2))
            look: dict[str, Any] = {"markersize": 3.5, "linewidth": 1, "elinewidth": 0.8, "alpha": 0.85}
            marker = ALGORITHM_MARKERS.get(algorithm, "o")
            axes.errorbar(shifted, y, _reach(found), color=_colour(MODES, mode), marker=marker, **look)
        everything += y[~np.isnan(y)].tolist()
    low_edge, high_edge = np.quantile(everything, (0.04, 0.98)).tolist()
    margin = 0.12 * (high_edge - low_edge) or 0.05 * max(abs(high_edge), 0.1)
    axes.set_ylim(low_edge - margin, high_edge + margin)
    unit = kpis.meanings[name].unit
    by_population(axes, kpis.populations, label(title(name)), "" if unit == "1" else label(unit))
