"""Cells that come last, two at a time, while a run has time; and the options that say how much there is."""

from __future__ import annotations

import time
from typing import ClassVar

import pytest

import toy_cases
from bench_support import environment, lines, make_project, run
from benches.case import Case, Point
from benches.cases import CASES
from benches.measure import isolated
from benches.measure.records import Failed
from benches.measure.stopwatch import Measurement
from benches.suite import lanes, options


@pytest.fixture
def project(tmp_path):
    return make_project(tmp_path)


def point_of(number, agents=1):
    case = Case("toy/x", "agents", {}, dict, print, lambda _: {})
    return Point(case, {"agents": agents, "seed": number})


class Copies:
    """Processes that answer at once, or that die."""

    asked: ClassVar[list[int]] = []

    def ask(self, members, limit, **how):
        (point,) = members
        self.asked.append(point.params["seed"])
        if point.params["seed"] == 3:
            raise Failed("it died")
        time.sleep(0.01)
        return [{"seen": {"seconds": [1.0], "elapsed": 100.0}, "status": "ok", "error": None}]

    def stop(self):
        pass


def test_cells_beside_one_another_are_begun_in_order_while_there_is_time(monkeypatch):
    monkeypatch.setattr(lanes.isolated, "Process", Copies)
    Copies.asked = []
    points, records = [point_of(number) for number in range(8)], []
    beside = lanes.Beside(points, "quick", records.append, time.monotonic() + 50)
    for point in points[:2]:
        seen = Measurement()
        beside.measure(point, seen)
        assert seen.isolated
    assert sorted(Copies.asked) == [0, 1], "others like them take 100 s, and 50 are left"
    with pytest.raises(lanes.LeftOut, match="no time was left"):
        beside.measure(points[2], Measurement())
    beside.close()
    Copies.asked = []
    beside = lanes.Beside(points, "quick", records.append)
    with pytest.raises(Failed, match="it died"):
        beside.measure(points[3], Measurement())
    beside.measure(points[7], Measurement())
    assert sorted(Copies.asked) == list(range(8)), "one that dies does not end the others"
    assert [record.status for record in records].count("failed") == 1
    beside.close()


@pytest.mark.slow
def test_cells_that_come_last_are_left_out_where_no_time_is_left_and_resumed(project):
    limited = ["--benchmark-only", "--profile=study", "--case=toy/late"]
    status, output = run(project, *limited, "--hours=1e-6")
    assert status == 0, output
    assert "3 cells had no time left; go on with: pytest --benchmark-only --resume" in output
    assert not lines(project)
    status, output = run(project, "--benchmark-only", "--resume", "--hours=1")
    assert status == 0, output
    found = lines(project)
    assert sorted(each["size"] for each in found) == [1, 2, 3]
    assert found[0]["size"] != 1, "two run at a time, and size 1 has the largest value of `beside`: one ends before it"
    assert all(each["isolated"] for each in found)
    assert len({each["process"] for each in found}) == 3, "each has a process of its own"


def test_a_study_of_an_hour_has_more_sizes():
    def sizes(**given):
        found = options.Options("study", cases=("train/iteration",), **given).points(CASES)
        return {point.size for point in found}

    assert sizes(hours=0.5) == {1, 5, 10, 20, 50, 100, 200}
    assert sizes(hours=1.0) == {1, 5, 10, 20, 50, 100, 200, 500, 1000}


@pytest.mark.parametrize("hours", ["0", "x", "-1", "nan"])
def test_hours_are_a_number_above_0(project, hours):
    status, output = run(project, "--benchmark-only", "--case=toy/late", f"--hours={hours}")
    assert status == pytest.ExitCode.USAGE_ERROR
    assert f"--hours: got '{hours}'; allowed: a number > 0" in output


def test_a_copy_that_crashes_is_one_failure_and_one_that_hangs_a_timeout(monkeypatch, tmp_path):
    monkeypatch.setattr(isolated, "TABLE", "toy_cases:CASES")
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])
    monkeypatch.chdir(tmp_path)
    process = isolated.Process()
    try:
        (crashed,) = process.ask([Point(toy_cases.CASES["toy/crash"], {"agents": 2})], fork="json")
        assert crashed["status"] == "failed"
        assert "killed by SIGKILL" in crashed["error"]
        (well,) = process.ask([Point(toy_cases.CASES["toy/crash"], {"agents": 1})], fork="json")
        assert well["status"] == "ok"
        with pytest.raises(Failed, match=r"Timeout: no answer within 0\.3 s"):
            process.ask([Point(toy_cases.CASES["toy/hang"], {"agents": 3})], 0.3, fork="json")
    finally:
        process.stop()


def test_the_quick_profile_has_fewer_processes():
    processes = {
        profile: {point.case.processes for point in options.Options(profile, cases=("step/agents",)).points(CASES)}
        for profile in ("quick", "study")
    }
    assert processes == {"quick": {3}, "study": {4}}
