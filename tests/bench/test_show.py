"""What a terminal shows: it fits from 60 columns on, no word is cut, and the narrower the fewer details."""

from __future__ import annotations

import itertools
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text

from benches.case import Case
from benches.cases import CASES
from benches.measure.records import record_of
from benches.measure.stopwatch import Measurement
from benches.report import text as report_text
from benches.report.data.series import series_of
from benches.stats import scaling
from benches.stats.scaling import Scaling
from benches.terminal import show
from benches.terminal.text import one_line

ROOT = Path(__file__).parents[2]
WIDTHS = (60, 80, 100, 120, 132, 200)
WORDS = st.text(st.characters(codec="utf-8", exclude_characters="\n"), max_size=40)


@cache
def curves():
    """Every cell of the quick profile, as if it had been measured."""
    records = []
    for case in CASES.values():
        for number, point in enumerate(case.points("quick")):
            seconds = [(3e-5 + 7e-9 * point.size**1.3) * (1 + 0.01 * turn) for turn in range(5)]
            references = {name: [2.5 * value for value in seconds] for name in case.references}
            seen = Measurement(seconds=seconds, cpu_seconds=seconds, references=references)
            if (case.name, number) == ("clear/rule", 0):
                point.params["rule"] = "[bold]\x1b[2J"
            records.append(record_of(point, seen, status="ok", error=None, profile="quick"))
    known = (
        Scaling((), (), 1.3, 1.27, 1.33, basis="rounds"),
        Scaling((), (), 1.0, 0.9, 1.1, knee=9.0, basis="processes"),
    )
    laws = itertools.cycle([*known, Scaling((), (), reason="only 2 of the 4 sizes that are needed")])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scaling, "fit", lambda _: next(laws))  # a bootstrap of each curve would take its time
        return series_of([records])


def shown(monkeypatch, width, some=slice(None)):
    """The lines of the table, of all curves or some."""
    monkeypatch.setenv("COLUMNS", str(width))
    return show.rendered(report_text.table(curves()[some]), color=False).splitlines()


def cells(lines):
    """The table's cells by heading, but for borders."""
    rows = [[cell.strip() for cell in line.replace("┃", "│").split("│")] for line in lines if {"┃", "│"} & set(line)]
    return {heading: [row[column] for row in rows[1:] if row[column]] for column, heading in enumerate(rows[0])}


@pytest.mark.parametrize("width", WIDTHS)
def test_the_table_fits_and_cuts_nothing(monkeypatch, width):
    everything, lines = cells(shown(monkeypatch, 1000)), shown(monkeypatch, width)
    assert max(map(cell_len, lines)) <= width
    notes = list(report_text.notes(curves()))
    assert len(notes) > 8
    assert max(map(cell_len, notes)) <= width
    found = cells(lines)
    for heading in ("size", "median", "rate", "min"):
        assert found.get(heading, everything[heading]) == everything[heading], "every figure, whole"
    assert " ".join(found.get("also", everything["also"])).split() == " ".join(everything["also"]).split()
    words = " ".join(found["case"] + found.get("exponent", [])).split()
    for curve in curves():
        assert set(one_line(curve.name).split()) <= set(words)
    assert "[bold]\\x1b[2J" in words, "foreign text is neither markup nor control codes"
    assert {"1.30", "[1.27,", "1.33]", ">", "1.25"} <= set(words)


def test_columns_appear_by_importance(monkeypatch):
    importance = ("rate", "also", "min", "exponent")
    counts = []
    for width in range(50, 160, 5):
        lines = shown(monkeypatch, width, slice(12))
        there = set(cells(lines))
        extra = [column for column in importance if column in there]
        assert there == {"case", "size", "median", *extra}
        assert extra == list(importance[: len(extra)])
        assert ("a wider terminal also shows" in lines[-1]) is ("min" not in there)
        counts.append(len(extra))
    assert counts == sorted(counts)
    assert set(counts) == {0, 1, 2, 3, 4}


def progress(points):
    watch = show.Progress(points, {point.key: 1.0 for point in points})
    for number, point in enumerate(points):
        status = ("ok", "failed", "unsupported")[number % 3]
        yield status, watch.finish(point, status, 3.49e-5, 1.0), len(points) - number - 1


def check(width, points):
    """What each line of progress must hold; the lines."""
    for status, line, left in progress(points):
        text = show.rendered(line, color=False)
        assert max(map(cell_len, text.splitlines())) <= width
        told = " ".join(text.split())
        assert {"ok": "34.9 us", "failed": "FAILED"}.get(status, status) in told
        assert (f"about {show.clock(left)} left" if left else "none left") in told
        yield text


@pytest.mark.parametrize("width", WIDTHS)
def test_progress_of_the_table_fits(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    points = [point for case in CASES.values() for point in case.points("quick")]
    lines = list(check(width, points))
    for point, line in zip(points, lines, strict=True):
        words = line.split()
        assert words[0] == point.case.name
        assert f"{point.case.size}={point.params[point.case.size]}" in words, "the cell is told whole"
    broken = [line for line in lines if "\n" in line]
    assert width < 80 or len(broken) <= 1, "but for the longest cell with the longest result"
    assert f"{len(points) - 1} of {len(points)}" in lines[0]
    assert ("elapsed" in lines[0]) is (width >= 132)


@given(
    width=st.integers(60, 200),
    name=WORDS,
    axes=st.dictionaries(WORDS, st.lists(st.integers() | WORDS, min_size=1, max_size=3, unique=True), max_size=4),
    sizes=st.lists(st.integers(1, 10**9), min_size=1, max_size=3, unique=True),
)
def test_progress_fits_whatever_the_cells_are_called(width, name, axes, sizes):
    grid = {**{axis: tuple(values) for axis, values in axes.items()}, "agents": tuple(sizes)}
    case = Case(name, "agents", {"quick": grid}, dict, print, lambda _: {}, 1.0, lambda _: 1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", str(width))
        for _ in check(width, case.points("quick")):
            pass


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8", "utf-16"])
def test_every_encoding_takes_a_table(encoding):
    code = """
from rich.table import Table
from rich.text import Text
from benches.terminal import show
table = Table("a", "b")
table.add_row(Text("\\u00b5 \\ud800"), Text("[red]\\u2014"))
print(show.rendered(table, color=False))
"""
    environment = {"PYTHONIOENCODING": encoding, "COLUMNS": "80", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode(encoding)
    assert ("┃" in text) is encoding.startswith("utf")
    assert "[red]" in text


def test_without_a_terminal_80_columns_are_taken(monkeypatch):
    monkeypatch.delenv("COLUMNS", raising=False)
    code = "from benches.terminal import show; print(show.width())"
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        cwd=ROOT,
        check=True,
        text=True,
    )
    assert done.stdout == "80\n"


@pytest.mark.parametrize("width", [0, 1, 10, 30])
def test_absurd_widths_are_survived(monkeypatch, width):
    assert shown(monkeypatch, width, slice(3))
    assert show.rendered(Text("a line of words"), color=False)
