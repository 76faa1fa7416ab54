"""The gate as its users meet it, over toy checkouts: every verdict, exit status and mishap."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benches.gate import Stopped
from benches.gate import __main__ as gate
from benches.gate import report as gate_report
from benches.gate import result as gate_result
from benches.gate import run as gate_run
from benches.gate.plan import check_out
from benches.measure import machine
from gate_support import EQUAL

# --- the two checkouts


def test_a_commit_is_unpacked_and_leaves_nothing_in_the_repository(tmp_path):
    tree = check_out("HEAD", tmp_path / "base", machine.ROOT)
    assert (tree.folder / "benches" / "cases.py").is_file()
    assert tree.commit == machine.commit()
    assert tree.label == f"HEAD ({tree.commit[:9]})"


@pytest.mark.parametrize("name", ["nothing", "--help", "HEAD~99999", ""])
def test_what_is_neither_commit_nor_checkout_is_refused(name, tmp_path, capsys):
    with pytest.raises(Stopped, match="allowed: a commit of"):
        check_out(name, tmp_path / "base", machine.ROOT)


def test_an_unknown_commit_is_status_2_and_one_line(tmp_path, capsys):
    assert gate.main(["nowhere", "HEAD", "--output", str(tmp_path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("gate: got 'nowhere'; allowed: a commit")


@pytest.mark.parametrize(
    "arguments", [["--budget", "0"], ["--tolerance", "-1"], ["--timeout", "x"], ["--case", ","], ["--profile", "all"]]
)
def test_bad_options(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        gate.main(["HEAD", "HEAD", *arguments])
    assert arguments[1] in capsys.readouterr().err


def test_an_output_folder_that_cannot_be_written(tmp_path, capsys):
    (tmp_path / "file").touch()
    assert gate.main(["HEAD", "HEAD", "--output", str(tmp_path / "file" / "out")]) == 2
    assert "--output: cannot write to" in capsys.readouterr().err


# --- whole runs


def test_equal_tables_are_status_0(compare):
    status, output, found = compare(EQUAL, EQUAL)
    assert status == 0, output
    assert found["cells"][0]["outcome"] == "same"
    assert output.startswith("base and head are the same code: ")
    assert "ok: nothing became slower" in output
    assert found["same_code"]
    assert found["cells"][0]["counters"]["base"] == found["cells"][0]["counters"]["head"]


def test_a_slowdown_is_status_1_in_the_table_the_json_and_the_markdown(compare, tmp_path):
    status, output, found = compare(EQUAL, EQUAL.replace("40", "60"))
    assert status == 1, output
    assert found["cells"][0]["outcome"] == "slower"
    assert found["cells"][0]["time"]["interval"]["ratio"] == pytest.approx(1.5, abs=0.15)
    assert "slower" in output
    assert "same code" not in output
    text = (tmp_path / "out" / "gate.md").read_text()
    assert text.startswith("### Performance gate: REGRESSION")
    assert "| toy/spin n=1 |" in text


def test_slower_and_more_work_are_both_told(compare, tmp_path):
    table = "toy('toy/calls', lambda p, r: calls({}) or spin(40_000))"
    status, output, found = compare(table.format(20), table.format(600))
    assert status == 1, output
    assert found["cells"][0]["outcome"] == "slower, more work"
    assert "| slower, more work |" in (tmp_path / "out" / "gate.md").read_text(encoding="utf-8")


def test_counters_of_cells_with_threads_decide_nothing(compare):
    random = "toy('toy/random', lambda p, r: unlike() or spin(40_000), axes={'threads': (2,)})"
    status, output, found = compare(random, random)
    assert status == 0, output
    assert "work" not in output
    assert "not judged" not in output
    assert "counters of cells with more than one thread vary with scheduling and decide nothing (1 cell)" in output
    assert len(found["cells"][0]["counters"]["base"]) == 1, "but they are kept"


def test_counters_that_differ_between_processes_decide_nothing(compare):
    random = "toy('toy/random', lambda p, r: unlike() or spin(40_000))"
    status, output, found = compare(random, random)
    assert status == 0, output
    assert "not equal in two processes, so not judged: toy/random n=1: python_calls" in output
    assert len(found["cells"][0]["counters"]["base"]) == 3, "a third process counts before it is given up"


def test_more_calls_are_status_1_however_fast_they_are(compare):
    table = "toy('toy/calls', lambda p, r: calls({}) or spin(40_000))"
    status, output, _ = compare(table.format(20), table.format(24))
    assert status == 1
    assert "more work: toy/calls n=1: python_calls" in output


def test_instructions_need_valgrind(compare, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    status, output, _ = compare(EQUAL, EQUAL, "--instructions")
    assert status == 2
    assert "--instructions: valgrind is not installed; allowed: apt-get install valgrind" in output


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="no valgrind on this machine")
def test_instructions_repeat_and_tell_a_slowdown_to_the_per_cent(compare):
    table = "toy('toy/adds', lambda p, r: sum(range({}))), toy('toy/same', lambda p, r: sum(range(9000)))"
    status, output, found = compare(table.format(10_000), table.format(11_000), "--instructions", "--budget", "300")
    assert status == 1, output
    assert "more work: toy/adds n=1: instructions" in output
    counts = {cell["case"]: [cell["instructions"][side][0] for side in ("base", "head")] for cell in found["cells"]}
    assert counts["toy/adds"][1] / counts["toy/adds"][0] == pytest.approx(1.1, abs=0.005)
    assert [len(cell["instructions"]["base"]) for cell in found["cells"]] == [2, 1], "what decides is counted twice"
    assert counts["toy/same"][0] == pytest.approx(counts["toy/same"][1], rel=0.001)


def test_a_failure_on_head_is_status_2_and_the_rest_is_still_judged(compare):
    broken = "toy('toy/other', lambda p, r: {})"
    status, output, found = compare(f"{EQUAL}, {broken.format(None)}", f"{EQUAL}, {broken.format('1 / 0')}")
    assert status == 2, output
    assert "failed: toy/other n=1: head: ZeroDivisionError" in output
    assert found["cells"][0]["outcome"] == "same"


def test_new_removed_changed_and_mended_cases_are_named_and_no_error(compare):
    base = f"{EQUAL}, spinning(9, 'toy/old'), spinning(9, 'toy/edit'), toy('toy/mended', lambda p, r: 1 / 0)"
    head = f"{EQUAL}, spinning(9, 'toy/new'), spinning(9, 'toy/edit', version='2'), spinning(9, 'toy/mended')"
    status, output, _ = compare(base, head)
    assert status == 0, output
    assert "new: toy/new" in output
    assert "new: toy/mended n=1 (fails on base: ZeroDivisionError" in output
    assert "removed: toy/old" in output
    assert "changed, so not compared: toy/edit (version 1 to 2)" in output


@pytest.mark.parametrize(
    ("base", "head", "message"),
    [
        (EQUAL, "spinning(9, 'toy/new')", "no cell is in both tables"),
        (EQUAL, "1 / 0", "benches.cases cannot be imported"),
    ],
)
def test_nothing_measured_is_status_2(compare, base, head, message):
    status, output, _ = compare(base, head)
    assert status == 2
    assert message in output


@pytest.mark.parametrize(("module", "name"), [(gate_report, "table"), (gate_result, "judge_time"), (gate_run, "match")])
def test_an_error_of_the_gates_own_is_status_2(compare, monkeypatch, module, name):
    def fail(*_, **__):
        raise RuntimeError("a [bug]\n of \x1b[31mours")

    monkeypatch.setattr(module, name, fail)
    status, output, found = compare(EQUAL, EQUAL)
    assert status == 2
    assert "gate: an error of the gate's own, which says nothing of HEAD: RuntimeError: a [bug] of \\x1b" in output
    assert "Traceback" in output
    assert "\x1b" not in output
    assert found, "what was measured so far is written"


def test_a_gate_that_does_not_load_is_status_2(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "benches.gate.command", None)
    monkeypatch.delattr("benches.gate.command")
    assert gate.main(["HEAD", "HEAD"]) == 2
    assert "an error of the gate's own" in capsys.readouterr().err


def test_text_that_is_not_ours_is_shown_as_text(compare, tmp_path):
    name = "toy/[red]a|b[/b]\\x1b[31m<b>Zoë"
    broken = "toy('toy/[/no]', lambda p, r: {})"
    base, head = (f"spinning(40_000, '{name}'), {broken.format(call)}" for call in ("None", "{}['[/x]\\n\\x1b<i>']"))
    status, output, found = compare(base, head)
    assert status == 2, output
    assert "│ toy/[red]a|b[/b]\\x1b[31m<b>Zoë n=1 │" in output
    assert "failed: toy/[/no] n=1: head: KeyError: '[/x]\\n\\x1b<i>'" in output
    text = (tmp_path / "out" / "gate.md").read_text(encoding="utf-8")
    assert "| toy/\\[red\\]a\\|b\\[/b\\]\\\\x1b\\[31m&lt;b&gt;Zoë n=1 |" in text
    assert "\x1b" not in output + text
    assert not re.search("<[bi]>", text)
    assert found["cells"][0]["case"] == "toy/[red]a|b[/b]\x1b[31m<b>Zoë", "JSON holds the name itself"


@pytest.mark.parametrize("closed", [False, True])
def test_a_terminal_without_letters_and_a_reader_that_is_gone(checkout, tmp_path, closed):
    folders = [str(checkout(name, "spinning(2000, 'toy/Zoë')")) for name in ("base", "head")]
    command = [sys.executable, "-m", "benches.gate", *folders, "--output", str(tmp_path / "Zoë")]
    environment = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "COLUMNS": "80"}
    with subprocess.Popen(
        command, cwd=machine.ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        if closed:
            process.stdout.close()
        errors = process.stderr.read().decode()
        printed = b"" if closed else process.stdout.read()
    assert process.returncode == 0, errors
    assert closed or b"toy/Zo\\xeb n=1" in printed
    assert "toy/Zoë" in (tmp_path / "Zoë" / "gate.md").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_gate_keeps_what_it_knew_and_leaves_nothing_behind(checkout, tmp_path, number):
    loud = "spinning(40_000), toy('toy/noise', lambda p, r: spin(1000 * (r * 7919 % 50)))"
    folders = [str(checkout(name, cases)) for name, cases in (("base", loud), ("head", loud.replace("7919", "7907")))]
    command = [sys.executable, "-m", "benches.gate", *folders, "--output", str(tmp_path / "out")]
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, cwd=machine.ROOT, env=environment, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "out" / "gate.json").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
        process.send_signal(number)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "interrupted after" in errors
    assert json.loads((tmp_path / "out" / "gate.json").read_text())["probe"]["pairs"] >= 1
    assert not list(tmp_path.glob("gate-*"))
    assert not [p for p in Path("/proc").glob("[0-9]*/cmdline") if str(tmp_path).encode() in p.read_bytes()]
