"""The history's lasting changes: exported from asv and the gate, searched by Otava, told in the site."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benches.gate import report as gate_report
from benches.gate.plan import Tree
from benches.gate.run import Gate
from benches.history import detect, findings
from benches.history.findings import Finding, NotSearched, Value
from benches.measure import machine

OTAVA = machine.ROOT / findings.OTAVA
needs_otava = pytest.mark.skipif(not OTAVA.is_file(), reason="no Otava; `make .venv-otava/.ready` installs it")


def series(name, values):
    return [Value(name, f"commit{number}", float(number), float(value)) for number, value in enumerate(values)]


def noise(count, seed=0, share=0.01):
    return 1 + np.random.default_rng(seed).normal(0, share, count)


@needs_otava
def test_a_step_and_a_drift_are_found_and_a_spike_and_noise_are_not():
    step, spike, late = noise(40), noise(40, 1), noise(40, 2)
    step[25:] *= 1.1
    spike[20] *= 1.5
    late[-1] *= 1.5
    values = {
        "step": step,
        "drift": noise(20, 3) * 1.01 ** np.arange(20),
        "spike": spike,
        "a spike at the end": late,
        "noise": noise(40, 4),
        "short": [1.0, 2.0, 2.0],
    }
    found = findings.searched((each for name in values for each in series(name, values[name])), OTAVA)
    assert {finding.series for finding in found} == {"step", "drift"}
    (step,) = (finding for finding in found if finding.series == "step")
    assert step.commit == "commit25"
    assert str(step).startswith("step: +1")
    assert all(finding.after > finding.before for finding in found)


def test_too_short_a_series_has_no_changes():
    assert detect.changes([1.0] * (2 * detect.FEWEST - 1)) == []


def test_without_otava_that_is_told():
    with pytest.raises(NotSearched, match="there is no Otava; allowed: `make history`"):
        findings.searched(series("a", [1, 2]), Path("nowhere"))


def test_what_otava_says_when_it_fails_is_told():
    with pytest.raises(NotSearched, match="Otava failed: ModuleNotFoundError: No module named 'otava'"):
        findings.searched(series("a", range(10)), Path(sys.executable))


def test_asvs_results_become_series_by_parameters_and_version(tmp_path):
    folder = tmp_path / "box"
    folder.mkdir()
    (folder / "machine.json").write_text(json.dumps({"machine": "box", "version": 1}))
    for number in (1, 2):
        result = {
            "version": 2,
            "commit_hash": f"hash{number}",
            "date": 1000 * number,
            "params": {"machine": "box"},
            "python": "3.11",
            "requirements": {},
            "env_vars": {},
            "env_name": "env",
            "durations": {},
            "result_columns": ["result", "params", "version"],
            "results": {"core.Clear.time_call": [[1.0 * number, None], [["10", "100"]], "v1"]},
        }
        (folder / f"hash{number}-env.json").write_text(json.dumps(result))
    found = sorted(findings.of_asv(tmp_path), key=lambda value: value.when)
    name = "box core.Clear.time_call 10 [v1]"
    assert found == [Value(name, "hash1", 1000.0, 1.0), Value(name, "hash2", 2000.0, 2.0)]
    assert list(findings.of_asv(tmp_path / "nowhere")) == []


def test_the_gates_ratios_are_chained_from_run_to_run(tmp_path):
    runs = [("a", "b", 1.02), ("b", "c", 1.03), ("x", "y", 2.0)]
    file = tmp_path / "history.jsonl"
    file.write_text("".join(json.dumps({"base": b, "head": h, "ratios": {"clear": r}}) + "\n" for b, h, r in runs))
    found = list(findings.of_gate(file))
    assert [(value.series, value.commit) for value in found] == [
        ("gate clear [since a]", "a"),
        ("gate clear [since a]", "b"),
        ("gate clear [since a]", "c"),
        ("gate clear [since x]", "x"),
        ("gate clear [since x]", "y"),
    ]
    assert [value.value for value in found] == pytest.approx([1.0, 1.02, 1.02 * 1.03, 1.0, 2.0])
    assert list(findings.of_gate(tmp_path / "nowhere")) == []


def test_the_gate_remembers_runs_over_two_commits(tmp_path):
    folders = {"base": tmp_path / "a", "head": tmp_path / "b"}
    for side, folder in folders.items():
        (folder / "market").mkdir(parents=True)
        (folder / "market" / "x.py").write_text(side)
    for commit in (None, "c0ffee"):
        gate_report.remember(Gate({side: Tree(side, folder, commit) for side, folder in folders.items()}), tmp_path)
    (line,) = (tmp_path / "history.jsonl").read_text().splitlines()
    assert json.loads(line) == {"base": "c0ffee", "head": "c0ffee", "ratios": {}}


def test_the_site_has_a_page_of_findings_and_one_entry_in_its_menu(tmp_path):
    index = tmp_path / "index.html"
    index.write_text('<ul><li id="nav-li-regressions"><a href="#">Regressions</a></li></ul>')
    for _ in range(2):
        findings.publish([Finding("clear <b>", "abcdef0123456", 1.0, 1.1)], tmp_path)
    assert index.read_text().count(findings.LINK) == 1
    page = (tmp_path / "findings.html").read_text()
    assert "&lt;b&gt;: +10.0% from abcdef012 on" in page
    findings.publish([], tmp_path)
    assert "no lasting change" in (tmp_path / "findings.html").read_text()
    findings.publish([], tmp_path / "nowhere")


def test_the_command_tells_how_much_it_searched(tmp_path, monkeypatch, capsys):
    file = tmp_path / "history.jsonl"
    file.write_text(json.dumps({"base": "a", "head": "b", "ratios": {"clear": 1.1}}))
    monkeypatch.setattr(findings, "searched", lambda values: [Finding("clear", "b" * 40, 1.0, 1.1)])
    assert findings.main(["--asv", str(tmp_path), "--gate", str(file)]) == 0
    assert "1 lasting changes in 1 series over 2 commits\n  clear: +10.0% from bbbbbbbbb on" in capsys.readouterr().out


def test_the_menu_of_this_asv_has_the_entry_that_the_link_follows():
    import asv

    page = (Path(asv.__file__).parent / "www" / "index.html").read_text()
    assert '<li id="nav-li-regressions">' in page
