"""Every case of every profile runs, and pytest-benchmark shows the rounds of its record: two sizes of each series."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from bench_support import ROOT, environment
from benches.case import PROFILES
from benches.cases import CASES
from benches.measure.runs import Run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


def measured(folder, *arguments):
    """Runs the suite over the small table; the records, and pytest-benchmark's cells by name."""
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "small_table", "--benchmark-only"]
    files = [f"--results={folder / 'results'}", f"--benchmark-json={folder / 'out.json'}"]
    done = subprocess.run(
        [*command, *files, *arguments],
        cwd=ROOT,
        env=environment(NUMBA_NUM_THREADS="1"),
        capture_output=True,
        text=True,
        timeout=1100,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    records, problems = Run.find(folder / "results").read()
    assert not problems
    return records, json.loads((folder / "out.json").read_text())["benchmarks"]


def same(records, shown):
    theirs = {(each["group"].split()[0], *each["params"].values()): each["stats"] for each in shown}
    ours = {(record.case, *record.params.values()): record for record in records}
    assert theirs.keys() == ours.keys()
    for cell, record in ours.items():
        assert theirs[cell]["data"] == record.seconds, cell
        assert theirs[cell]["iterations"] == record.calls, cell


@pytest.mark.parametrize("profile", PROFILES)
def test_every_case_of_a_profile_runs(profile, tmp_path):
    records, shown = measured(tmp_path, "--profile", profile, "--report=yes")
    assert {record.case for record in records} == {name for name, case in CASES.items() if profile in case.grids}
    assert {record.status for record in records} == {"ok"}
    same(records, shown)


def test_the_rounds_are_the_records_in_other_processes(tmp_path):
    same(*measured(tmp_path, "--isolate", "--report=no"))


def test_the_rounds_are_the_records_on_a_cluster(tmp_path):
    from ray_support import two_nodes  # Ray loads only now

    with two_nodes() as cluster:
        same(*measured(tmp_path, f"--ray-address={cluster.address}", "--report=no", "--case=clear,powerflow,train"))
