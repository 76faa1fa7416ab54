"""The report in a terminal: one row per cell, and how the exponents were made."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

from rich.table import Table
from rich.text import Text

from benches.report.data.series import INTERVALS, Series
from benches.terminal import show
from benches.terminal.text import one_line

LAYOUTS = (
    ("case", "size", "median", "min", "rate", "exponent", "also"),
    ("case", "size", "median", "min", "rate", "also"),
    ("case", "size", "median", "rate", "also"),
    ("case", "size", "median", "rate"),
    ("case", "size", "median"),
)
"""Columns, widest first. Where the exponent has none it stands under the case's name, and `also` wraps at commas."""
WORDS = ("case", "exponent", "also")
"""Columns of words rather than numbers."""
BORDER = 3
"""Columns of the terminal between two columns of the table."""
Layout = tuple[str, ...]
Cells = dict[str, list[Text]]
"""What stands in a row, by column: parts that are never broken."""


def exponent(curve: Series) -> list[Text]:
    """`0.98 [0.95, 1.01]`, and `> 0.9` when its interval lies above the case's budget; nothing when undetermined."""
    law = curve.law
    if math.isnan(law.exponent):
        return []
    over = law.low > curve.budget
    parts = [law.told.removeprefix("k = "), *([f"> {curve.budget:g}"] if over else [])]
    return [Text(part, "red" if over else "") for part in parts]


def fitting(layouts: Sequence[Layout], least: Callable[[Layout], Mapping[str, int]], room: int) -> tuple[Layout, int]:
    """The first layout that fits, else the last one, and how many characters it leaves, negative where it lacks some.

    layouts: column names, the preferred layout first.
    least: characters that each column of a layout needs.
    room: characters of a line, without a table's outer edges.
    """
    spare = -1
    for layout in layouts:
        spare = room - sum(least(layout).values()) - BORDER * (len(layout) - 1)
        if spare >= 0:
            break
    return layout, spare


def table(curves: Sequence[Series]) -> Table:
    """One row per cell, sizes ascending, with as many columns as the terminal has room for."""

    def groups(layout: Layout) -> list[list[Cells]]:
        return [_cells(curve, alone="exponent" in layout) for curve in curves]

    def least(layout: Layout) -> dict[str, int]:
        rows = [cells for group in groups(layout) for cells in group]
        return {name: max([len(name), *(part.cell_len for row in rows for part in row[name])]) for name in layout}

    layout, spare = fitting(LAYOUTS, least, show.width())
    missing = [column for column in ("also", "min", "rate") if column not in layout]
    shown = Table(show_edge=False, pad_edge=False, header_style="bold", caption_justify="left")
    shown.caption = f"a wider terminal also shows: {', '.join(missing)}" if missing else None
    for column in layout:
        shown.add_column(column, justify="left" if column in WORDS else "right", no_wrap=column != "case")
    widths = least(layout)
    widths["also"] = widths.get("also", 0) + max(0, spare)
    for group in groups(layout):
        for row in group:
            cells = (_joined(row[column], widths[column]) for column in layout)
            shown.add_row(*cells, end_section=row is group[-1])
    return shown


def _cells(curve: Series, *, alone: bool) -> list[Cells]:
    """The rows of a curve. alone: the exponent has a column of its own, where `also` stays on one line."""
    law = exponent(curve)
    head = [Text(one_line(word)) for word in curve.name.split()]
    head += [Text("k = ").append_text(part) if part is law[0] else part for part in law if not alone]
    rows: list[Cells] = []
    for number, size in enumerate(sorted(curve.records)):
        last = number == len(curve.records) - 1
        rates = curve.rates(size)
        compared = [show.compared({name: ratio}) for name, ratio in curve.ratios(size).items()]
        also = [f"{text}," for text in compared[:-1]] + compared[-1:]
        if "env_steps" in rates:
            also = [f"{show.number(rates['env_steps'])} env-steps/s"]
        row = {
            "size": [f"{show.count(size)} {curve.unit}"],
            "median": [show.seconds(curve.median(size))],
            "min": [show.seconds(curve.best(size))],
            "rate": [next((f"{show.number(rate)} {name.replace('_', '-')}/s" for name, rate in rates.items()), "-")],
            "also": [" ".join(also)] if alone else also,
        }
        cells = {column: [Text(one_line(part)) for part in parts] for column, parts in row.items()}
        cells["case"] = head[number:] if last else head[number : number + 1]
        cells["exponent"] = [Text(" ").join(law or [Text("-", "dim")])] if number == 0 else []
        rows.append(cells)
    return rows


def _joined(parts: Sequence[Text], room: int) -> Text:
    """The parts on as few lines of at most `room` columns as take them in order."""
    joined, length = Text(), 0
    for part in parts:
        fits = length + 1 + part.cell_len <= room
        if length:
            joined.append(" " if fits else "\n")
        length = part.cell_len + (length + 1 if length and fits else 0)
        joined.append_text(part)
    return joined


def notes(curves: Sequence[Series]) -> Iterator[str]:
    """How the exponents were made, and why some are missing, on lines that the terminal has room for."""
    for note in _notes(curves):
        yield from show.rendered(Text(one_line(note)), color=False).splitlines()


def _notes(curves: Sequence[Series]) -> Iterator[str]:
    for basis in sorted({curve.law.basis for curve in curves if curve.law.basis != "none"}):
        yield f"exponent k of t(N) = floor + c N^k on CPU time, {INTERVALS[basis]}"
    without: dict[str, dict[str, list[str]]] = {}
    for curve in curves:
        if curve.law.reason and curve.asked:
            without.setdefault(curve.law.reason, {}).setdefault(curve.case, []).append(curve.name)
        elif not math.isnan(curve.law.knee):
            yield f"{curve.name}: doubling more than doubles the time from about {curve.law.knee:.3g} {curve.unit} on"
    for reason, cases in without.items():
        told = (names[0] if len(names) == 1 else f"{len(names)} of {case}" for case, names in cases.items())
        yield f"no exponent for {', '.join(told)}: {reason}"
