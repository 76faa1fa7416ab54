"""Records survive: they are whole on disk, damaged lines cost themselves alone, the last record of a cell counts."""

import dataclasses
import datetime as dt
import json
import math
import os
import resource
import time

import numpy as np
import pytest

from benches.case import Case, Point, table
from benches.measure.machine import ROOT
from benches.measure.records import record_of
from benches.measure.runs import FILE, Run, failures
from benches.measure.stopwatch import Measurement, Stopwatch
from benches.report import command as report


def toy(name="toy/add", **changes):
    settings = {
        "size": "agents",
        "grids": {"quick": {"agents": (1, 2), "mode": ("a", "b"), "iterations": (3,)}, "full": {"agents": (9,)}},
        "setup": lambda params: [params["agents"]],
        "call": lambda prepared, number: prepared.append(number),
        "work": lambda params: {"orders": float(params["agents"])},
        "budget": 1.2,
        "rounds": lambda params: 4,
    }
    return Case(name=name, **(settings | changes))


def record(size=1, status="ok", error=None, seconds=(0.2, 0.1, 0.3), **facts):
    point = Point(toy(), {"mode": "a", "agents": size})
    seen = Measurement(seconds=list(seconds), cpu_seconds=list(seconds), facts=facts)
    return record_of(point, seen, status=status, error=error, profile="quick")


@pytest.mark.parametrize("change", [{"version": "2"}, {"rounds": lambda params: 5}, {"seed": 1}, {"name": "toy/sub"}])
def test_the_key_changes_with_whatever_makes_it_another_measurement(change):
    assert Point(toy(), {"agents": 1}).key != Point(toy(**change), {"agents": 1}).key
    assert Point(toy(), {"agents": 1}).key == Point(toy(budget=2.0), {"agents": 1}).key


def test_two_cases_with_one_name_are_refused():
    with pytest.raises(ValueError, match="got 'toy/add' twice"):
        table(toy(), toy("toy/other"), toy())


def test_a_record_holds_what_its_figures_depend_on():
    found = record(2)
    assert (found.min, found.median, found.rates) == (0.1, 0.2, {"orders": 10.0})
    assert found.machine["cores"] == os.cpu_count()
    assert found.versions["numpy"] == np.__version__
    assert {"OMP_NUM_THREADS", "PYTHONHASHSEED"} <= set(found.threads)
    assert found.seeds["case"] == 42
    assert found.process == os.getpid()
    assert found.series == "toy/add a"


def test_records_come_back_as_they_were_written(tmp_path):
    run = Run.create(tmp_path)
    written = record(3, kpis={"welfare": np.float64(1.5), "price": np.array([1.0, 2.0])}, missing=math.nan)
    run.append(written)
    (read,), problems = run.read()
    assert problems == []
    assert read.facts == {"kpis": {"welfare": 1.5, "price": [1.0, 2.0]}, "missing": None}
    assert dataclasses.replace(read, facts={}) == dataclasses.replace(written, facts={})
    json.loads(run.file.read_text(), parse_constant=pytest.fail)


def test_a_record_says_what_its_kpis_mean_and_an_old_one_still_loads(tmp_path):
    meanings = {"welfare": ["$", "sum of gains", "a book"]}
    run = Run.create(tmp_path)
    run.append(record(1, kpis={"welfare": 1.5}, kpi_meanings=meanings))
    run.append(record(2))
    old = json.loads(run.file.read_text().splitlines()[1])
    del old["kpi_meanings"]
    run.file.write_text(run.file.read_text() + json.dumps(old | {"key": "old"}) + "\n")
    records, problems = run.read()
    assert problems == []
    assert [each.kpi_meanings for each in records] == [meanings, None, None]
    assert records[0].facts == {"kpis": {"welfare": 1.5}}


def test_a_line_cut_short_is_reported_and_costs_nothing_else(tmp_path):
    run = Run.create(tmp_path)
    run.append(record(1))
    run.append(record(2))
    whole = run.file.read_bytes()
    run.file.write_bytes(whole[:-40])
    records, problems = run.read()
    assert [each.size for each in records] == [1]
    assert len(problems) == 1
    assert "line 2 is damaged or cut short" in problems[0]
    run.append(record(3))
    records, problems = run.read()
    assert [each.size for each in records] == [1, 3], "a record must never be glued to a fragment"
    assert len(problems) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"params": None},
        {"size": "x"},
        {"size": True},
        {"median": None},
        {"seconds": [0.1, -0.2]},
        {"seconds": [0.1, "0.2"]},
        {"references": {"sort": 0.1}},
        {"status": "fine"},
        {"kpi_meanings": {"welfare": "$"}},
        {"kpi_meanings": {"welfare": ["$"]}},
    ],
    ids=str,
)
def test_a_line_whose_values_are_of_another_type_is_reported_and_skipped(tmp_path, change):
    run = Run.create(tmp_path)
    run.append(record(1))
    run.append(record(2))
    first, second = run.file.read_text().splitlines()
    run.file.write_text(f"{json.dumps(json.loads(first) | change)}\n{second}\n")
    (kept,), (problem,) = run.read()
    assert kept.size == 2
    assert f"line 1 is damaged or cut short and was skipped ({next(iter(change))}: got" in problem


@pytest.mark.parametrize("junk", [b"\xff\xfe\x00", b"[]", b'{"schema":99}', b'{"schema":1,"key":"x"}', b"null"])
def test_a_foreign_line_is_reported_and_skipped(tmp_path, junk):
    run = Run.create(tmp_path)
    run.file.write_bytes(junk + b"\n")
    run.append(record(1))
    records, problems = run.read()
    assert [each.size for each in records] == [1]
    assert "line 1" in problems[0]


def test_the_last_record_of_a_cell_counts(tmp_path):
    run = Run.create(tmp_path)
    run.append(record(1, "failed", "RuntimeError: boom"))
    run.append(record(2))
    assert [each.size for each in failures(run.read()[0])] == [1]
    assert run.finished() == {record(2).key}
    run.append(record(1))
    assert failures(run.read()[0]) == []
    assert len(run.finished()) == 2


def test_latest_names_the_newest_run_and_runs_never_share_a_folder(tmp_path):
    first, second = Run.create(tmp_path), Run.create(tmp_path)
    assert first.folder != second.folder
    assert (tmp_path / "latest").resolve() == second.folder.resolve()
    assert Run.find(tmp_path).folder == second.folder
    assert Run.find(tmp_path, first.folder.name).folder == first.folder
    assert Run.find(tmp_path, str(first.folder)).folder == first.folder
    with pytest.raises(FileNotFoundError, match=f"got 'nope'.*{FILE}.*{first.folder.name}"):
        Run.find(tmp_path, "nope")


def test_a_clock_that_is_set_back_moves_only_timestamps(tmp_path, monkeypatch):
    moments = iter(dt.datetime(2026, 3, 29, hour, tzinfo=dt.UTC) for hour in range(12, 0, -1))

    class Clock(dt.datetime):
        @classmethod
        def now(cls, tz=None):
            return next(moments)

    falling = iter(range(10**6, 0, -1))
    monkeypatch.setattr(dt, "datetime", Clock)
    monkeypatch.setattr(time, "time", lambda: next(falling))
    first, second = Run.create(tmp_path), Run.create(tmp_path)
    assert first.folder.name > second.folder.name
    assert Run.find(tmp_path).folder == second.folder, "the newest run is the one that was started last"
    with Stopwatch(Point(toy(), {"agents": 1})) as watch:
        watch.warm_up()
        watch.round()
    assert 0 <= min(watch.seen.seconds) <= watch.seen.elapsed < 60
    for each in (record(1), record(2), record(1, seconds=(9.0,))):
        second.append(each)
    assert [(each.size, each.median) for each in second.read()[0]] == [(1, 9.0), (2, 0.2)], "the order of lines counts"
    for path in (ROOT / folder for folder in ("benches", "market")):
        wrong = [str(file) for file in path.rglob("*.py") if "time.time(" in file.read_text()]
        assert not wrong, f"durations come from monotonic clocks: {wrong}"


def test_a_record_that_does_not_fit_on_the_disk_leaves_those_before_as_they_were(tmp_path):
    run = Run.create(tmp_path)
    run.append(record(1))
    whole = run.file.read_bytes()
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 100, usual[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            run.append(record(2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
    assert run.file.read_bytes() == whole
    run.append(record(2))
    assert [each.size for each in run.read()[0]] == [1, 2]


def test_several_runs_are_taken_as_processes(tmp_path, capsys):
    runs = [Run.create(tmp_path) for _ in range(3)]
    for number, run in enumerate(runs):
        for size in (1, 2, 4, 8, 16):
            run.append(record(size, seconds=[(0.1 + 0.1 * size) * (1 + 0.01 * number)] * 3))
    folders = [str(run.folder) for run in runs]
    assert report.main([*folders, "--out", str(tmp_path / "pooled")]) == 0
    output = " ".join(capsys.readouterr().out.split())  # the note takes two lines
    assert "95 % over whole processes, or other repetitions (runs, seeds)" in output
    assert "1.00 [" in output
    assert (tmp_path / "pooled" / "scaling.svg").is_file()
    assert len((tmp_path / "pooled" / "scalability_results.csv").read_text().splitlines()) == 1 + 15


def test_the_report_exits_with_one_when_a_cell_failed(tmp_path, capsys):
    run = Run.create(tmp_path)
    run.append(record(1, "unsupported", "sac is not built yet", seconds=()))
    assert report.main([str(run.folder)]) == 0
    run.append(record(2, "failed", "RuntimeError: boom", seconds=()))
    assert report.main([str(run.folder)]) == 1
    assert "failed: toy/add mode=a agents=2: RuntimeError: boom" in capsys.readouterr().out
    assert "\n2,a,,,,,,failed,RuntimeError: boom" in (run.folder / "scalability_results.csv").read_text()
