"""Figures of learning: the position by iteration, and the performance profiles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benches.report.figures.style import INK, MODES, SERIES, canvas, finish, panels, save, styled
from benches.report.sections.kpis import Kpis
from benches.report.sections.quality import RULE, THRESHOLDS, mean_curve, rule_at
from benches.stats.intervals import Interval

COLUMNS = 3
LINES: dict[str, Any] = {"ppo": "-", "appo": "--", "sac": ":"}


def _curve(axes: Axes, player: str, found: Mapping[Any, Interval]) -> None:
    """Middles with their intervals where they are known: colour by mode, line by algorithm."""
    mode, algorithm = player.split()
    colour, known = MODES.get(mode, SERIES[-1]), {x: each for x, each in found.items() if each.known}
    look = {"color": colour, "linestyle": LINES.get(algorithm, "-."), "linewidth": 1.2}
    axes.plot(list(found), [each.mid for each in found.values()], **look)
    bounds = [each.low for each in known.values()], [each.high for each in known.values()]
    axes.fill_between(list(known), *bounds, color=colour, alpha=0.08, linewidth=0)


def _legend(figure: Figure, players: Sequence[str]) -> None:
    """Modes by colour, algorithms by line, below the panels."""
    modes, algorithms = (list(dict.fromkeys(player.split()[part] for player in players)) for part in (0, 1))
    lines = [Line2D([], [], color=MODES.get(mode, SERIES[-1]), linewidth=2.6, label=mode.upper()) for mode in modes]
    lines += [Line2D([], [], color=INK, linestyle=LINES.get(name, "-."), label=name.upper()) for name in algorithms]
    figure.legend(handles=lines, loc="outside lower center", ncols=max(1, len(lines)), frameon=False)


@styled()
def draw_learning(kpis: Kpis, path: Path) -> list[Path]:
    """A panel for each population: mean position by iteration with its interval over seeds, the rule as a line."""
    populations = sorted({agents for each in kpis.curves.values() for agents in each})
    figure, grid = panels(len(populations), min(COLUMNS, len(populations)), 4.2, 3.1, below=0.8)
    for axes, agents in zip(grid, populations, strict=True):
        for player, each in kpis.curves.items():
            if agents in each:
                _curve(axes, player, mean_curve(each[agents]))
        axes.axhline(rule_at(kpis, agents), color=INK, linewidth=0.8, alpha=0.7)
        axes.set_ylim(-1.0, 1.05)  # a training may begin far below what is worth a look
        axes.set_title(f"{agents:,} agents (line: {RULE})")
        axes.set_xlabel("iteration")
        axes.set_ylabel("position")
        finish(axes)
    _legend(figure, list(kpis.curves))
    return save(figure, path)


@styled()
def draw_profiles(profiles: Mapping[str, Sequence[Interval]], path: Path) -> list[Path]:
    """Share of the trainings beyond each position, with intervals."""
    figure = canvas(6.5, 4.8)
    axes = figure.subplots()
    for player, shares in profiles.items():
        _curve(axes, player, dict(zip(THRESHOLDS.tolist(), shares, strict=True)))
    axes.set_title("Performance profiles")
    axes.set_xlabel("position")
    axes.set_ylabel("share of trainings beyond it")
    finish(axes)
    _legend(figure, list(profiles))
    return save(figure, path)
