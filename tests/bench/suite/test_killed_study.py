"""A study that is killed at random moments, again and again: nothing is lost, and no half record counts."""

from __future__ import annotations

import random
import signal
import subprocess
import time
from pathlib import Path

import pytest

from bench_support import command, environment, make_project, run
from benches.measure.runs import Run
from toy_cases import MENDED


@pytest.fixture
def project(tmp_path):
    return make_project(tmp_path)


def is_at(link, folder):
    """Whether a process works in the folder."""
    try:
        return link.samefile(folder)
    except OSError:  # it has ended
        return False


def kill_soon(project, arguments, file, draw):
    """Start a run, and kill it a random moment after a random number of new records; it leaves no process behind."""
    before = file.read_bytes().count(b"\n") if file.exists() else 0
    wanted, deadline = before + draw.randint(1, 4), time.monotonic() + 120
    with subprocess.Popen(
        command(*arguments), cwd=project, env=environment(**{MENDED: "1"}), stdout=subprocess.DEVNULL
    ) as process:
        while process.poll() is None and not (file.exists() and file.read_bytes().count(b"\n") >= wanted):
            assert time.monotonic() < deadline, f"{wanted - before} more records never came"
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.5))
        process.send_signal(signal.SIGKILL)
        process.wait()
    deadline = time.monotonic() + 30
    while left := [cwd for cwd in Path("/proc").glob("[0-9]*/cwd") if is_at(cwd, project)]:
        assert time.monotonic() < deadline, f"still running: {left}"
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.parametrize("fixed", [True, False])
def test_a_study_that_is_killed_again_and_again_resumes_to_the_records_of_one_that_is_not(project, fixed):
    """kill -9 in cells of this process, in series that take turns in others, and in cells two at a time."""
    seed = 0 if fixed else random.randrange(10**6)
    draw, file = random.Random(seed), project / "results" / "latest" / "cases.jsonl"
    arguments = ["--benchmark-only", "--profile=study", "--hours=1", "--case=add,train,toy/rotate,late", "--repeat=2"]
    text, kept = b"", {}
    for attempt in range(5):
        kill_soon(project, ["--benchmark-only", "--resume"] if attempt else arguments, file, draw)
        assert file.read_bytes().startswith(text), "what was written stays as it was"
        text = file.read_bytes()
        records, problems = Run(file.parent.resolve()).read()
        assert len(problems) <= attempt + 1, "at most the line that was being written is cut short"
        finished = {record.key: record.timestamp for record in records if record.status == "ok" and not record.missing}
        assert kept.items() <= finished.items(), "what was finished is not measured again"
        kept = finished
    status, output = run(project, "--benchmark-only", "--resume", **{MENDED: "1"})
    assert status == 0, f"seed {seed}: {output}"
    resumed = Run(file.parent.resolve()).read()[0]
    assert run(project, *arguments, **{MENDED: "1"})[0] == 0
    whole = Run(file.parent.resolve()).read()[0]

    def seen(records):
        return {r.key: (r.where, r.status, len(r.seconds), len(r.turns), r.missing, r.beside) for r in records}

    assert seen(resumed) == seen(whole), f"seed {seed}"
    assert kept.items() <= {record.key: record.timestamp for record in resumed}.items()
