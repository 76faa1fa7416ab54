"""A folder whose pytest uses the plugin of the benchmarks with a table of toy cases, and runs of it."""

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFTEST = """
import toy_cases
from benches import cases
from benches.measure import isolated
from benches.suite import lanes

lanes.PRELOADED = "json"
isolated.TABLE = "toy_cases:CASES"

cases.CASES.clear()
cases.CASES.update(toy_cases.CASES)
pytest_plugins = ["benches.suite.plugin"]
"""
SUITE = """
import pytest

@pytest.mark.cases("toy")
def test_toy(measure):
    measure()

@pytest.mark.cases("train")
def test_train(measure):
    measure()

def test_nothing_to_do_with_benchmarks():
    pass
"""


SETTINGS = """
[pytest]
strict = true
filterwarnings = error
timeout_func_only = true
addopts = --report=no
"""


def make_project(folder):
    (folder / "conftest.py").write_text(CONFTEST)
    (folder / "test_suite.py").write_text(SUITE)
    (folder / "pytest.ini").write_text(SETTINGS)
    return folder


def command(*arguments):
    return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]


def environment(**changes):
    return {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests' / 'helpers'}", "COLUMNS": "150", **changes}


def run(project, *arguments, **changes):
    """Exit status and output of a pytest in the project."""
    done = subprocess.run(
        command(*arguments),
        check=False,
        cwd=project,
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert "INTERNALERROR" not in done.stdout, done.stdout
    return done.returncode, done.stdout + done.stderr


def lines(project, which="latest"):
    return [json.loads(line) for line in (project / "results" / which / "cases.jsonl").read_text().splitlines()]


def statuses(project):
    return {
        (each["case"], *each["params"].values()): each["status"] for each in lines(project)
    }  # a later line of the same cell wins
