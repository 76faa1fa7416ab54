"""Files are UTF-8 and reports are written whatever the locale, the time zone and MPLBACKEND say."""

from __future__ import annotations

import ast
import dataclasses
import json
import os
import subprocess
import sys

import pytest

from benches.measure.machine import ROOT
from benches.measure.runs import FILE
from study_records import record

TEXT = ("read_text", "write_text", "open")


def locale_bound(call):
    """Whether a call reads or writes text in whatever encoding the locale names."""
    name = getattr(call.func, "attr", getattr(call.func, "id", ""))
    given = {keyword.arg for keyword in call.keywords}
    if name not in TEXT:
        return "text" in given or "universal_newlines" in given
    modes = [each.value for each in (*call.args, *(k.value for k in call.keywords)) if isinstance(each, ast.Constant)]
    binary = any(isinstance(mode, str) and set(mode) <= set("rwaxb+") and "b" in mode for mode in modes)
    return not binary and not given & {"encoding", "fileobj"} and not (name == "open" and len(call.args) > 1)


def test_every_text_file_and_pipe_names_its_encoding():
    files = [file for folder in ("market", "benches", ".ci") for file in (ROOT / folder).rglob("*.py")]
    wrong = [
        f"{file.relative_to(ROOT)}:{node.lineno}"
        for file in files
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and locale_bound(node)
    ]
    assert not wrong


@pytest.mark.parametrize(
    "odd",
    [
        {
            "LC_ALL": "C",
            "PYTHONUTF8": "0",
            "PYTHONCOERCECLOCALE": "0",
            "TZ": "Nowhere/Atlantis",
            "MPLBACKEND": "nonsense",
        },
        {"PYTHONIOENCODING": "ascii", "TZ": ":", "MPLBACKEND": "TkAgg"},
    ],
    ids=str,
)
def test_a_report_is_written_in_any_surroundings(tmp_path, odd):
    records = [record("toy/Zoë", {"name": "∞|$x_1$", "agents": n}, seconds=[0.1 * n] * 3) for n in (1, 2, 4, 8)]
    failed = record("toy/Zoë", {"agents": 16}, status="failed", error="=1+1 \ud800 \x1b[31m ∞ <b>")
    lines = [json.dumps(dataclasses.asdict(each)) + "\n" for each in (*records, failed)]
    (tmp_path / FILE).write_text("".join(lines), encoding="utf-8")
    usual = {name: value for name, value in os.environ.items() if name not in ("LANG", "LC_ALL", "DISPLAY")}
    told = (
        "import os, sys; from benches.report import command; status = command.main(sys.argv[1:]); "
        "print(os.environ.get('MPLBACKEND')); exit(status)"
    )
    command = [sys.executable, "-c", told, str(tmp_path)]
    done = subprocess.run(
        command, cwd=ROOT, env=usual | odd, capture_output=True, encoding="utf-8", timeout=120, check=False
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert done.stdout.splitlines()[-1] == odd.get("MPLBACKEND", os.environ.get("MPLBACKEND", "None"))
    assert "\x1b" not in done.stdout
    for name in ("summary.md", "report.html", "scalability_results.csv"):
        assert "Zoë" in (tmp_path / name).read_text(encoding="utf-8")
    assert "'=1+1" in (tmp_path / "scalability_results.csv").read_text(encoding="utf-8")
    assert ">∞|$x_1$" in (tmp_path / "scaling.svg").read_text(encoding="utf-8").replace("  k undetermined", "")
