"""The figure of a run: time by size on logarithmic axes, one panel per case, the fitted law beside the data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benches.report.figures.style import MARKERS, SERIES, finish, label, panels, save, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from benches.report.data.series import Series

COLUMNS = 3


@styled()
def draw(curves: Sequence[Series], path: Path) -> list[Path]:
    """Draw every curve into `path` (PNG) and its twin (SVG); returns the files written."""
    cases: dict[str, list[Series]] = {}
    for curve in curves:
        cases.setdefault(f"{curve.case} by {curve.unit}", []).append(curve)
    figure, grid = panels(len(cases), min(COLUMNS, len(cases)), 4.6, 3.7)
    for axes, (title, members) in zip(grid, cases.items(), strict=True):
        _panel(axes, title, members)
    return save(figure, path)


def _panel(axes: Axes, title: str, members: Sequence[Series]) -> None:
    for number, curve in enumerate(members):
        color, law = SERIES[number % len(SERIES)], curve.law
        told = label(curve.name.removeprefix(curve.case))
        if not math.isnan(law.exponent):
            told += f"  k = {law.exponent:.2f}"
            if not math.isnan(law.low):
                told += f" [{law.low:.2f}, {law.high:.2f}]"
            sizes = np.geomspace(law.sizes[0], law.sizes[-1], 100)
            axes.plot(sizes, [law.time(size) for size in sizes], color=color, linewidth=1)
        else:
            told += "  k undetermined"
        marker = MARKERS[number % len(MARKERS)]
        axes.plot(law.sizes, law.medians, marker, color=color, markersize=5, alpha=0.8, label=told.strip())
        if not math.isnan(law.knee):
            axes.axvline(law.knee, color=color, linewidth=0.8, linestyle=":")
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(members[0].unit)
    axes.set_ylabel("CPU seconds" if members[0].clock == "cpu" else "seconds")
    finish(axes)
    axes.legend(fontsize=7, frameon=False)
