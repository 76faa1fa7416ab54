"""What a reader meets first: words that are spelled out, ticks with units, and a warning beside two runs."""

from __future__ import annotations

from benches.report.data.words import GLOSSARY
from benches.report.figures import style
from benches.report.sections import comparison
from study_records import ALGORITHMS, MODES, record


def test_two_runs_are_compared_with_their_loads_and_a_warning():
    cells = [record("train/whole", {"agents": n}) for n in (1, 2)]
    told = next(comparison.findings(comparison.compared(cells, cells)))
    assert "under a load of 0.5 to 0.7 and of 0.5 to 0.7" in told
    assert "Only `make gate` judges whether code became slower." in told


def test_ticks_of_time_are_named_by_their_unit():
    figure = style.canvas(3, 3)
    axes = figure.subplots()
    axes.plot([1, 2], [1.5e-4, 9e-4])
    style.seconds_axis(axes)
    assert [axes.yaxis.get_major_formatter()(t) for t in (2e-4, 1e-3, 5.0)] == ["200 µs", "1 ms", "5 s"]
    axes.set_ylim(1e-6, 1e2)
    style.seconds_axis(axes)
    assert len([t for t in axes.yaxis.get_majorticklocs() if 1e-6 <= t <= 1e2]) <= 9


def test_what_a_report_abbreviates_is_spelled_out():
    names = {name for key in GLOSSARY for name in key.split(", ")}
    assert {mode.upper() for mode in MODES} | {name.upper() for name in ALGORITHMS} <= names
