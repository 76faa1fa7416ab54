"""Whatever a line of `cases.jsonl` holds, it is skipped with a sentence or the report copes with it."""

from __future__ import annotations

import copy
import csv
import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benches.measure import valid
from benches.measure.records import LARGEST, plain
from benches.measure.runs import Run
from benches.report import command as report
from benches.report.document import Document, Section, Table, markdown
from study_records import KPIS, record, reference, study, training

MISSING = ""
VALUES = (
    *(
        MISSING,
        "null",
        "true",
        "false",
        "0",
        "-1",
        "1",
        "2",
        "1.5",
        "-0.0",
        "5e-324",
        "1e-12",
        "1e12",
        "1e300",
        "-1e300",
    ),
    *(str(2**53 + 1), str(2**63 - 1), str(2**63), str(10**400), "9" * 5000, "NaN", "-Infinity", "1e999"),
    *('""', '"1"', '"x"', '"ppo"', '"agents"', '"a b"', '"_x_"', '"\\ud800"', '"\\u001b[31m\\n\\u0000"'),
    *('"=1+1|<b>$x_1$"', '"ok"', '"failed"', json.dumps("x" * 100_000), "[" * 100_000, "[" * 500 + "]" * 500),
    *("[]", "{}", "[[]]", "[null]", "[0]", "[1]", json.dumps([0.0] * 20), "[-1.0, 1.0]", json.dumps([1e9, 1e-9] * 10)),
    *('["x"]', '{"x": null}', '{"": {}}', '{"x": [1.0]}', '{"x": []}', '{"\\ud800": "="}', '{"$x|": [1.0, null]}'),
    *('{"clearing": [0.0]}', '{"cost_saving": 1.5}', '{"cost_saving": []}', '{"other": [-1e9, 1e9, 1e-300]}'),
)
"""As JSON spells them."""
GOOD = {
    "training": training("ctde", "ppo", 10, kpi_meanings={"cost_saving": ["ct", "saved", "toy"]}),
    "optimum": reference("optimum", 10),
    "reference": reference("truthful", 10),
    "other": record("toy/add", {"name": "x", "agents": 5}, references={"sort": [1.0, 2.0]}, rates={"orders": 1.0}),
}
SMALL = [json.dumps(dataclasses.asdict(each)) for each in study((1, 5, 10, 20), algorithms=["ppo"])]


def places(value, path=()):
    """Every place in a value, with at most two of each list."""
    parts = value.items() if isinstance(value, dict) else enumerate(value[:2]) if isinstance(value, list) else ()
    for name, part in parts:
        yield (*path, name)
        yield from places(part, (*path, name))


def mutated(good, path, value):
    """The line of a record with another value in one place."""
    found = copy.deepcopy(good)
    parent = found
    for name in path[:-1]:
        parent = parent[name]
    parent[path[-1]] = "HERE"
    if value == MISSING:
        del parent[path[-1]]
    return json.dumps(found).replace('"HERE"', value)


def mutations(name):
    good = json.loads(json.dumps(dataclasses.asdict(GOOD[name])))
    return [(path, value, mutated(good, path, value)) for path in places(good) for value in VALUES]


def blank(*given):
    """Instead of a figure."""
    file = given[-1].with_suffix(".svg")
    file.write_text("<svg></svg>", encoding="utf-8")
    return [file]


@pytest.fixture
def quick_report(monkeypatch):
    """Few replicates and blank figures."""
    for name in ("scaling", "time", "phases", "kpis"):
        monkeypatch.setattr(f"benches.report.figures.drawings.draw_{name}", blank)
    for name in ("learning", "profiles"):
        monkeypatch.setattr(f"benches.report.figures.learning.draw_{name}", blank)


def counts(run, line):
    """Whether a line alone is taken for a record; if not, it is told in a sentence."""
    run.file.write_text(line + "\n", encoding="utf-8")
    records, problems = run.read()
    assert len(records) + len(problems) == 1
    assert all(len(problem) < 300 + len(str(run.file)) and problem.isprintable() for problem in problems)
    return bool(records)


def reported(run, *lines):
    """The exit status of the report of a small study with these lines."""
    run.file.write_text("\n".join([*SMALL, *lines]) + "\n", encoding="utf-8")
    return report.main([str(run.folder), "--traceback"])


@pytest.mark.parametrize("name", GOOD)
def test_one_odd_value_costs_at_most_its_own_line(tmp_path, quick_report, name):
    run, taken = Run(tmp_path), 0
    for path, value, line in mutations(name)[::97]:
        if counts(run, line):
            taken += 1
            assert reported(run, line) in (0, 1), (path, value[:60])
    assert taken > 2, "the test would show nothing"


@pytest.mark.slow
@pytest.mark.parametrize("name", GOOD)
def test_more_odd_values_cost_at_most_their_own_line(tmp_path, quick_report, name):
    run = Run(tmp_path)
    for path, value, line in mutations(name)[1::17]:
        if counts(run, line) and path[0] not in ("machine", "versions", "threads"):
            assert reported(run, line) in (0, 1), (path, value[:60])


@pytest.mark.slow
def test_figures_are_drawn_of_whatever_counts(tmp_path, monkeypatch):
    run = Run(tmp_path)
    for name in GOOD:
        for path, value, line in mutations(name)[2::311]:
            if counts(run, line):
                assert reported(run, line) in (0, 1), (path, value[:60])


def test_a_cell_of_an_unknown_shape_is_named_and_the_study_stays(tmp_path, capsys, quick_report):
    lines = [
        mutated(json.loads(SMALL[-1]), ("facts", "iteration_seconds"), '{"a": 1}'),
        mutated(json.loads(SMALL[-1]), ("params", "mode"), "[[1]]"),
        "[" * 100_000,
    ]
    assert reported(Run(tmp_path), *lines) == 0
    told = [line for line in capsys.readouterr().out.splitlines() if line.startswith("warning: ")]
    assert len(told) == 3
    assert "iteration_seconds: got {'a': 1}; allowed: list[float]" in told[0]
    assert "maximum recursion depth" in told[2]


@pytest.mark.parametrize("kpis", [{}, {"cost_saving": []}, {name: [None] for name in KPIS}, {"unknown": 1.0}], ids=str)
def test_kpis_that_nothing_is_known_of_have_no_figure(tmp_path, kpis):
    run = Run(tmp_path)
    each = dataclasses.replace(reference("truthful", 10), facts={"evaluation_kpis": kpis})
    run.file.write_text(json.dumps(dataclasses.asdict(each)) + "\n", encoding="utf-8")
    assert report.main([str(tmp_path), "--traceback"]) == 0
    assert not (tmp_path / "kpis.svg").exists()


def test_a_report_that_fails_is_one_line_and_a_status(tmp_path, capsys, monkeypatch):
    class Unspeakable(Exception):
        def __str__(self):
            raise ValueError("no words")

    def fail(*_):
        raise Unspeakable

    monkeypatch.setattr("benches.report.data.table.write", fail)
    run = Run(tmp_path)
    run.file.write_text("\n".join(SMALL) + "\n", encoding="utf-8")
    assert report.main([str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "the report failed: Unspeakable: <Unspeakable whose text raises ValueError>; the records are unt" in line
    assert run.file.read_text(encoding="utf-8").splitlines() == SMALL
    with pytest.raises(Unspeakable):
        report.main([str(tmp_path), "--traceback"])


def test_records_that_cannot_be_read_are_one_line_and_a_status(tmp_path, capsys, monkeypatch):
    run = Run(tmp_path)
    run.file.touch()

    def deny(_):
        raise PermissionError(13, "Permission denied", str(run.file))

    monkeypatch.setattr("pathlib.Path.read_bytes", deny)
    assert report.main([str(tmp_path)]) == 2
    assert f"Permission denied: '{run.file}'" in capsys.readouterr().err


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats() | st.text(), st.lists) | st.just(10**400))
def test_what_is_written_is_read_again(value):
    json_line = json.dumps(plain({"": value})).encode()
    valid.load(json_line)
    numbers = [each for each in [value] if isinstance(each, int | float) and not abs(each) < LARGEST]
    assert plain(numbers) == [None] * len(numbers), "what cannot be read is not written"


def test_an_object_without_a_text_is_written_as_such():
    class Unspeakable:
        def __str__(self):
            raise ValueError("no words")

    assert plain({"x": Unspeakable()}) == {"x": "<Unspeakable whose text raises ValueError>"}


@given(st.lists(st.text(), min_size=3, max_size=3))
def test_a_table_keeps_its_columns_whatever_its_cells_hold(cells):
    table = Table("caption", ("a", *cells[:2]), [cells, cells])
    text = "\n".join(markdown(Document(cells[0], [("runs", cells[1])], {}, [Section("s", [cells[2]], [], [table])])))
    lines = text.splitlines()
    rows = [line.replace("\\\\", "").replace("\\|", "") for line in lines if line.startswith("| ")]
    assert len(rows) == 3
    assert {row.count("|") for row in rows} == {4}
    assert len(lines) == len(list(markdown(Document("", [("", "")], {}, [Section("", [""], [], [table])])))), (
        "no breaks"
    )
    assert "<" not in text.replace("&lt;", "")


def test_cells_of_the_flat_table_are_no_formulas(tmp_path):
    each = dataclasses.replace(GOOD["other"], facts={"=x": "=1+1", "-y": -1.5}, profile="@SUM(1)")
    run = Run(tmp_path)
    run.file.write_text(json.dumps(dataclasses.asdict(each)) + "\n", encoding="utf-8")
    assert report.main([str(tmp_path), "--traceback"]) == 0
    with (tmp_path / "scalability_results.csv").open(encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["'=x"], row["'-y"], row["profile"]) == ("'=1+1", "-1.5", "'@SUM(1)")


def test_every_case_of_the_table_makes_records_that_count():
    from benches.cases import CASES

    grids = [case.points(profile) for case in CASES.values() for profile in case.grids]
    for point in (point for grid in grids for point in (grid[0], grid[-1])):
        each = dataclasses.replace(
            GOOD["other"], case=point.case.name, params=point.params, size=point.size, unit=point.case.size,
            references={name: [1.0] for name in point.case.references}, rates=point.case.work(point.params),
        )  # fmt: skip
        assert valid.parse(json.dumps(dataclasses.asdict(each)).encode()).case == point.case.name
