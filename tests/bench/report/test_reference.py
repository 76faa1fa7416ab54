"""The archived study: its records are still read, and give the report that stands beside them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benches.measure.runs import Run
from benches.report.command import main

ROOT = Path(__file__).parents[3]
REFERENCE = ROOT / "benches" / "docs" / "reference"


def findings(summary: Path) -> str:
    return summary.read_text(encoding="utf-8").partition("## Key findings")[2].partition("\n## ")[0]


def test_the_reference_run_is_whole() -> None:
    records, problems = Run(REFERENCE).read()
    assert not problems
    trainings = [record for record in records if record.case == "train/whole"]
    assert {record.params["mode"] for record in trainings} == {"ctce", "ctde", "dtde"}
    assert {record.params["algorithm"] for record in trainings} == {"ppo", "appo", "sac"}
    assert {record.params["agents"] for record in trainings} >= {1, 5, 10, 20}
    timed = [record for record in records if record.case == "train/iteration"]
    assert {record.params["agents"] for record in timed} == {1, 5, 10, 20, 50, 100, 200}
    assert all(record.status == "ok" for record in records)


@pytest.mark.slow  # draws all figures
def test_its_report_is_the_one_that_stands_there(tmp_path: Path) -> None:
    assert main([str(REFERENCE), "--out", str(tmp_path)]) == 0
    found = findings(tmp_path / "summary.md")
    assert found == findings(REFERENCE / "summary.md"), "the report has changed: copy the new summary.md and figures"


def test_pages_show_figures_that_are_there() -> None:
    summary = (REFERENCE / "summary.md").read_text(encoding="utf-8")
    for figure in re.findall(r"!\[[^\]]*\]\(([^)]+)\)", summary):
        assert (REFERENCE / figure).is_file(), figure
