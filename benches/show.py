"""How figures look in a terminal: times with a unit, rates, a progress line per finished cell."""

from __future__ import annotations

import io
import math
import shutil
import time
from collections.abc import Mapping, Sequence
from statistics import fmean

from rich.console import Console, RenderableType
from rich.text import Text

from benches.case import Point

MIN_WIDTH = 132


def seconds(value: float | None) -> str:
    """A duration in s, ms, us or ns with three figures; a dash for none."""
    if value is None or not math.isfinite(value):
        return "-"
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if value * scale >= 0.9995:
            return f"{_three(value * scale)} {unit}"
    return f"{_three(value * 1e9)} ns"


def number(value: float) -> str:
    """A number with three figures and k, M or G."""
    for prefix, scale in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if value >= scale:
            return f"{_three(value / scale)} {prefix}"
    return _three(value)


def compared(ratios: Mapping[str, float]) -> str:
    """Times as long as each reference, or as fast: `2.1 x sort, naive / 150`."""
    return ", ".join(
        f"{ratio:.2g} x {name}" if ratio > 0.95 else f"{name} / {1 / ratio:.2g}" for name, ratio in ratios.items()
    )


def count(value: float) -> str:
    """A size: 100000 as 100,000."""
    return f"{value:,.0f}" if value == int(value) else f"{value:,g}"


def clock(value: float) -> str:
    """Minutes and seconds, or hours too: 3:05, 1:02:03."""
    minutes, left = divmod(max(0, round(value)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{left:02}" if hours else f"{minutes}:{left:02}"


def _three(value: float) -> str:
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return f"{value:.{digits}f}"


def rendered(what: RenderableType, *, color: bool) -> str:
    """What rich would print, as text that pytest's own terminal can write."""
    width = max(MIN_WIDTH, shutil.get_terminal_size((MIN_WIDTH, 24)).columns)
    console = Console(file=io.StringIO(), force_terminal=color, no_color=not color, width=width, highlight=False)
    console.print(what, soft_wrap=isinstance(what, Text))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    return str(text).rstrip("\n")


class Progress:
    """Which cells are left, and about how long they take: as last time, else as the finished ones on average."""

    def __init__(self, points: Sequence[Point], known: Mapping[str, float]) -> None:
        self.total = len(points)
        self.known = dict(known)
        self.left = {point.key: point.case.group for point in points}
        self.taken: dict[str, list[float]] = {}
        self.done = 0
        self.began = time.monotonic()

    def remaining(self) -> float:
        """Seconds that the cells left are expected to take; NaN before anything is known."""
        everything = [value for values in self.taken.values() for value in values]
        average = fmean(everything) if everything else math.nan
        by_group = {group: fmean(values) for group, values in self.taken.items()}
        return sum(self.known.get(key, by_group.get(group, average)) for key, group in self.left.items())

    def finish(self, point: Point, status: str, median: float | None, elapsed: float) -> Text:
        """Count a cell as finished; the line to show for it."""
        self.left.pop(point.key, None)
        self.taken.setdefault(point.case.group, []).append(elapsed)
        self.done += 1
        style, result = {"ok": ("green", seconds(median)), "failed": ("red", "FAILED")}.get(status, ("yellow", status))
        known = {"seed": point.case.seed}
        details = " ".join(f"{axis}={value}" for axis, value in point.params.items() if known.get(axis) != value)
        left = self.remaining()
        line = Text(f"[{self.done:>{len(str(self.total))}}/{self.total}] ", style="dim")
        line.append(f"{point.case.name:<18} ", style="bold")
        line.append(f"{details:<52} ")
        line.append(f"{result:>11}", style=style)
        line.append(f"  {clock(time.monotonic() - self.began)} elapsed", style="dim")
        if self.left and math.isfinite(left):
            line.append(f", about {clock(left)} left", style="dim")
        return line
