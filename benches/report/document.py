"""What a report says, apart from how it is shown: sections of sentences, tables and figures; and its Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from benches.stats.intervals import Interval
from benches.terminal import text


@dataclass(frozen=True)
class Value:
    """A cell as it is shown: its text, what it is sorted by, and whether it is marked as uncertain."""

    text: str
    order: float
    marked: bool = False


Cell = Value | Interval | str | float | None
"""A cell of a table: a text, or what `value` shows."""
Row = Sequence[Cell]


@dataclass(frozen=True)
class Table:
    """A caption, column headings, and rows of as many cells. note: how to read it."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Row]
    note: str = ""


@dataclass(frozen=True)
class Figure:
    """A figure's file name without suffix, and what it shows."""

    name: str
    caption: str


@dataclass(frozen=True)
class Section:
    """A heading with sentences, then figures, then tables."""

    title: str
    sentences: list[str] = field(default_factory=list)
    figures: list[Figure] = field(default_factory=list)
    tables: list[Table] = field(default_factory=list)


@dataclass(frozen=True)
class Document:
    """A report: title, facts about the run, findings, and sections."""

    title: str
    facts: list[tuple[str, str]]
    findings: Mapping[str, Sequence[str]]
    """Sentences by what they are about."""
    sections: list[Section]


NONE = ("", "-")
"""How cells without a value are shown."""
ROUNDING = 1e-13
"""What is smaller is what float64 leaves of a zero: a saving of 1e-16 $ is none."""


def varying(table: Table) -> Table:
    """The table without its columns of one and the same value, which its note tells instead; the first always stays."""
    if len(table.rows) < 2:
        return table
    shown = [[each if isinstance(each, str) else value(each).text for each in row] for row in table.rows]
    kept = [n for n in range(len(table.columns)) if n == 0 or len({row[n] for row in shown}) > 1]
    same = [
        f"{name} {shown[0][n]}" for n, name in enumerate(table.columns) if n not in kept and shown[0][n] not in NONE
    ]
    note = f"{table.note} The same in all rows: {', '.join(same)}.".strip() if same else table.note
    rows = [[row[n] for n in kept] for row in table.rows]
    return Table(table.caption, [table.columns[n] for n in kept], rows, note)


def value(cell: Value | Interval | float | None) -> Value:
    """A cell as it is shown: numbers with three significant digits, intervals with their bounds."""
    return cell if isinstance(cell, Value) else interval(cell) if isinstance(cell, Interval) else number(cell)


def number(found: float | None, digits: int = 3) -> Value:
    """A number with `digits` significant digits, a count with all of them, a dash for none. Sorts by its value."""
    if found is None or math.isnan(found):
        return Value("-", -math.inf)
    return Value(f"{found:,}" if isinstance(found, int) else _plain(found, digits), found)


def interval(found: Interval, digits: int = 3, *, mark_wide: bool = False) -> Value:
    """`1.02 [0.98, 1.06]`: sorts by its middle; marked when too wide and that is asked for."""
    if math.isnan(found.mid):
        return number(None)
    shown = _plain(found.mid, digits)
    if found.known:
        shown += f" [{_plain(found.low, digits)}, {_plain(found.high, digits)}]"
    return Value(shown, found.mid, mark_wide and found.wide)


def _plain(value: float, digits: int) -> str:
    if math.isinf(value):
        return "∞" if value > 0 else "-∞"
    if abs(value) < ROUNDING:
        return "0"
    size = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    if -3 <= size < 10:
        return f"{round(value, digits - 1 - size):,.{max(0, digits - 1 - size)}f}"
    return f"{value:.{digits - 1}e}"


def markdown(document: Document) -> Iterator[str]:
    """The document as lines of Markdown; figures are linked by name. What others may have written holds no markup."""
    yield f"# {text.markdown(document.title)}"
    yield ""
    yield from (f"- {name}: {text.markdown(fact)}" for name, fact in document.facts)
    yield from ("", "## Key findings")
    for about, findings in document.findings.items():
        yield from ("", f"**{about}**", "")
        yield from (f"- {finding}" for finding in findings)
    for section in document.sections:
        yield from ("", f"## {section.title}")
        for sentence in section.sentences:
            yield from ("", text.markdown(sentence))
        for figure in section.figures:
            yield from ("", f"![{figure.caption}]({figure.name}.svg)")
        for table in section.tables:
            yield from ("", f"**{text.markdown(table.caption)}**", "")
            yield f"| {' | '.join(map(text.markdown, table.columns))} |"
            yield f"|{'---|' * len(table.columns)}"
            for row in table.rows:
                yield f"| {' | '.join(_cell(cell) for cell in row)} |"
            if table.note:
                yield from ("", text.markdown(table.note))


def _cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return text.markdown(cell)
    shown = value(cell)
    return f"{shown.text}{' (!)' if shown.marked else ''}"
