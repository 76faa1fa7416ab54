"""How figures look in a terminal: times with a unit, rates, a progress line per finished cell."""

from __future__ import annotations

import io
import math
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from statistics import fmean

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.text import Text

from benches.case import Point, name_of
from benches.terminal.text import one_line

RESULT = 8
"""Columns of a time in a line of progress."""
BEYOND_CELL = RESULT + len("    about 59:59 left, 177 of 177 cells")
"""Columns that a line of progress usually needs beside its cell."""
PAUSE = 2.0
"""Seconds between two lines about something that goes on."""


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


def width() -> int:
    """Columns of the terminal, whichever of input, output and errors is one; COLUMNS comes first, 80 is the default."""
    return max(20, Console(file=io.StringIO(), force_terminal=False).width)


def rendered(what: RenderableType, *, color: bool) -> str:
    """What rich would print, as text that pytest's own terminal can write: as wide as that, in its encoding."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    written = io.BytesIO()
    file = io.TextIOWrapper(written, encoding, errors="replace", newline="\n")
    console = Console(file=file, force_terminal=color, no_color=not color or None, width=width(), highlight=False)
    console.print(what)
    file.flush()
    return written.getvalue().decode(encoding).rstrip("\n")


class Progress:
    """Which cells are left, and about how long they take: as last time, else as the finished ones on average.

    end: when the run is to be over, on `time.monotonic`.
    """

    def __init__(self, points: Sequence[Point], known: Mapping[str, float], end: float = math.inf) -> None:
        self.total, self.end = len(points), end
        self.known = dict(known)
        self.left = {point.key: point.case.group for point in points}
        self.taken: dict[str, list[float]] = {}
        self.began = time.monotonic()
        values: dict[tuple[str, str], set[object]] = {}
        for point in points:
            for axis, value in point.params.items():
                values.setdefault((point.case.name, axis), set()).add(value)
        self.shared = {axis for axis, seen in values.items() if len(seen) == 1}
        self.widest = [max((self._cell(p, n).cell_len for p in points), default=0) for n in range(3)]

    def remaining(self) -> float:
        """Seconds that the cells left are expected to take; NaN before anything is known."""
        everything = [value for values in self.taken.values() for value in values]
        average = fmean(everything) if everything else math.nan
        by_group = {group: fmean(values) for group, values in self.taken.items()}
        left = sum(self.known.get(key, by_group.get(group, average)) for key, group in self.left.items())
        return min(left, max(0.0, self.end - time.monotonic()))

    def finish(self, point: Point, status: str, median: float | None, elapsed: float) -> Text:
        """Count a cell as finished; the line to show for it: the cell, its time, what is left.

        What matters least goes first where the terminal is narrow; a cell too long even so has a line of its own.
        """
        self.left.pop(point.key, None)
        self.taken.setdefault(point.case.group, []).append(elapsed)
        style, result = {"ok": ("green", seconds(median)), "failed": ("red", "FAILED")}.get(status, ("yellow", status))
        room = width()
        aligned = max(0, room - BEYOND_CELL)
        brevity = next((n for n, widest in enumerate(self.widest) if widest <= aligned), len(self.widest) - 1)
        cell = self._cell(point, brevity)
        if cell.cell_len <= aligned:
            cell.pad_right(min(aligned, self.widest[brevity]) - cell.cell_len)
            result = result.rjust(RESULT)
        most, *others = self._left()
        rest = Text(result, style).append(f"  {most}", "dim")
        before = cell.cell_len + 2 if cell.cell_len + 2 + rest.cell_len <= room else 0
        for part in others:
            if before + rest.cell_len + cell_len(part) > room:
                break
            rest.append(part, "dim")
        return Text("  " if before else "\n").join((cell, rest))

    def _left(self) -> tuple[str, ...]:
        """What is left, and how long it took so far: the most important part first."""
        elapsed = f", {clock(time.monotonic() - self.began)} elapsed"
        if not self.left:
            return "none left", elapsed
        left = self.remaining()
        about = f"about {clock(left)} left" if math.isfinite(left) else "time left unknown"
        return about, f", {len(self.left)} of {self.total}", " cells", elapsed

    def _cell(self, point: Point, brevity: int) -> Text:
        """A cell: 0 all but the usual seed; 1 parameters that differ within the case; 2 words without their axis."""
        case, hidden = point.case, set[str]()
        for axis, value in point.params.items():
            shared = brevity > 0 and axis != case.size and (case.name, axis) in self.shared
            if shared or (axis == "seed" and value == case.seed):
                hidden.add(axis)
        cell = Text(one_line(name_of(case.name, point.params, hidden, words=brevity > 1)))
        cell.stylize("bold", 0, len(one_line(case.name)))
        return cell


def now_and_then(say: Callable[[str], object]) -> Callable[[str], None]:
    """`say`, but not before `PAUSE` has passed since the last time, or since now."""
    last = time.monotonic()

    def tell(text: str) -> None:
        nonlocal last
        if time.monotonic() - last > PAUSE:
            last = time.monotonic()
            say(text)

    return tell
