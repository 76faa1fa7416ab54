"""How all figures look. Ink, grid and paper have their own colours, which the page replaces by light or dark ones."""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter, NullLocator

from benches.terminal.text import one_line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

INK, GRID, PAPER = "#1b1f24", "#d3d9df", "#fefefe"
MODES = {"ctce": "#3b82c4", "ctde": "#dd7327", "dtde": "#2b9e78"}
ALGORITHMS = {"ppo": "#8f68c8", "appo": "#c8506e", "sac": "#b0880f"}
"""Middle tones, legible on white and on black."""
SERIES = ("#3b82c4", "#dd7327", "#2b9e78", "#c8506e", "#8f68c8", "#b0880f", "#5f9ea8", "#a8697c", "#7d8a3c")
PHASES = (*SERIES, "#4a6fa5", "#c98f6b", "#63b06a", "#9c9ea3")
MANY_TENS = 1e4
"""Highest over lowest time of an axis that has ticks at tens alone."""
MARKERS = "osD^vPX<>"
ALGORITHM_MARKERS = {"ppo": "o", "appo": "s", "sac": "D"}
MODE_MARKERS = {"ctce": "o", "ctde": "s", "dtde": "D"}
STYLE: Any = {
    "svg.fonttype": "none",  # text stays text: small, sharp, and found by a search
    "svg.hashsalt": "benches",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "savefig.facecolor": PAPER,
}


@contextlib.contextmanager
def styled() -> Iterator[None]:
    """Draw in this look alone; matplotlib is left as it was. No warnings of text that is too long or has no glyph."""
    with style.context(["default", STYLE]), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        yield


def label(text: str) -> str:
    """Text of the records as a figure shows it: short, without formulas, never hidden for how it begins."""
    return one_line(text, 80).replace("$", r"\$").lstrip("_")


def canvas(width: float, height: float) -> Figure:
    """An empty figure, sizes in inches, drawn without a display."""
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def panels(count: int, columns: int, width: float, height: float, below: float = 0.0) -> tuple[Figure, list[Axes]]:
    """A figure of `count` panels in rows of `columns`, with a strip `below` for a legend; sizes in inches."""
    rows = math.ceil(count / columns)
    figure = canvas(width * columns, height * rows + below)
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid[count:]:
        axes.set_axis_off()
    return figure, list(grid[:count])


def finish(axes: Axes) -> None:
    """A quiet grid behind the data."""
    axes.grid(visible=True, which="major", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)


def handles(colours: Mapping[str, str], markers: Mapping[str, str]) -> list[Line2D]:
    """What a legend shows: names with their colours, then names with their markers."""
    lines = [Line2D([], [], color=colour, linewidth=2.6, label=name.upper()) for name, colour in colours.items()]
    shapes = [(name.upper(), marker) for name, marker in markers.items()]
    return lines + [Line2D([], [], color=INK, marker=mark, linestyle="", label=name) for name, mark in shapes]


def by_population(axes: Axes, populations: Sequence[int], title: str, figure: str) -> None:
    """Finish a panel of a `figure` by population: title, names of the axes, grid, a tick at each population."""
    axes.set_title(title)
    axes.set_ylabel(figure)
    finish(axes)
    axes.set_xscale("log")
    axes.set_xticks(list(populations), [f"{n:,}" for n in populations])
    axes.set_xlim(populations[0] * 0.8, populations[-1] * 1.25)
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("agents")


def seconds_axis(axes: Axes) -> None:
    """Logarithmic, with ticks such as 200 µs at 1, 2, 5, 10 and so on; at tens alone over more than four of them."""
    axes.set_yscale("log")
    low, high = axes.get_ylim()
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0) if high < MANY_TENS * low else (1.0,)))
    axes.yaxis.set_major_formatter(EngFormatter(unit="s"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def save(figure: Figure, path: Path) -> list[Path]:
    """Write the PNG and the SVG; returns both."""
    files = [path.with_suffix(".png"), path.with_suffix(".svg")]
    figure.savefig(files[0], dpi=160)
    figure.set_layout_engine("none")  # it is found once, not for each file
    figure.savefig(files[1], metadata={"Date": None})
    return files
