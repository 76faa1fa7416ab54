"""Runs that are killed, interrupted, too slow, too large or not alone: nothing finished is lost, and all is told."""

import json
import shlex
import signal
import subprocess
import time
from pathlib import Path

import pytest

from bench_support import command, environment, lines, make_project, run, statuses
from benches.measure.runs import Run
from toy_cases import HANGING, MENDED, ORPHAN


@pytest.fixture
def project(tmp_path):
    return make_project(tmp_path)


@pytest.mark.slow  # a process for each cell
def test_isolated_cells_outlive_a_crash_and_say_so(project):
    status, output = run(project, "--benchmark-only", "--isolate", "--case=crash,broken,train", "--modes=dtde")
    assert status == 1
    found = statuses(project)
    assert [found["toy/crash", agents] for agents in (1, 2, 3)] == ["ok", "failed", "ok"]
    assert found["train/iteration", 42, "dtde", "sac", 3, 1] == "unsupported"
    trainings = [each for each in lines(project) if each["case"] == "train/iteration" and each["status"] == "ok"]
    assert all(each["isolated"] for each in trainings)
    assert len({each["process"] for each in trainings}) == len(trainings), "a training has a process to itself"
    errors = {each["case"]: each["error"] for each in lines(project) if each["status"] == "failed"}
    assert (
        errors["toy/crash"]
        == "the cell's process ended without an answer: killed by SIGKILL, which usually means out of memory"
    )
    assert errors["toy/broken"].startswith("RuntimeError: boom over two lines (toy_cases.py:")
    assert "in processes of their own" in output
    first = lines(project)[0]
    assert len(first["seconds"]) == 5
    assert first["warmup_seconds"] > 0
    assert first["peak_memory"] > 0
    status, output = run(project, "--benchmark-only", "--resume", **{MENDED: "1"})
    assert status == 0, output
    assert "4 cells to measure, profile quick, in processes of their own" in output


def test_a_run_killed_in_the_middle_loses_nothing_and_resumes(project):
    with subprocess.Popen(
        command("--benchmark-only", "--case", "broken,hang"), cwd=project, env=environment(), stdout=subprocess.DEVNULL
    ) as process:
        deadline = time.monotonic() + 60
        while not (project / HANGING).exists():
            assert process.poll() is None, "the run ended before it reached the case that hangs"
            assert time.monotonic() < deadline, "the run never reached the case that hangs"
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = lines(project)
    assert [each["status"] for each in before] == ["ok", "failed", "ok", "ok", "ok"]
    file = project / "results" / "latest" / "cases.jsonl"
    with file.open("ab") as stream:
        stream.write(json.dumps(before[0] | {"commit": "0123456789"}).encode() + b'\n{"schema":1,"key":"cut sho')
    status, output = run(project, "--benchmark-only", "--resume", **{MENDED: "1"})
    assert status == 0, output
    assert "line 7 is damaged or cut short" in output
    assert "warning: this run has records of commit 0123456; the code is now at" in output
    assert "2 cells to measure" in output, "only the failed and the killed cell are taken again"
    records, _ = Run(file.parent).read()
    assert [record.status for record in records] == ["ok"] * 6
    kept = {each["key"]: each["timestamp"] for each in before if each["status"] == "ok"}
    assert kept.items() <= {record.key: record.timestamp for record in records}.items()
    assert len(list((project / "results").glob("*/cases.jsonl"))) == 2, "a resumed run stays in its folder"
    status, output = run(project, "--benchmark-only", "--resume")
    assert status == 0, "a complete run has nothing to do"
    assert "0 cells to measure" in output


@pytest.mark.slow
def test_an_interrupted_run_reports_what_it_has_and_says_how_to_go_on(project):
    with subprocess.Popen(
        command("--benchmark-only", "--case", "hang"), cwd=project, env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 60
        while not (project / HANGING).exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert len(lines(project)) == 2
    assert "1 cells are missing; go on with: pytest --benchmark-only --resume" in output


@pytest.mark.parametrize("how", [[], pytest.param(["--isolate"], marks=pytest.mark.slow)], ids=["", "isolated"])
def test_a_cell_that_hangs_or_lacks_memory_fails_and_the_others_are_measured(project, how):
    """Isolated cells start Python anew, hence the longer patience."""
    limit = "--timeout=8" if how else "--timeout=2"
    status, output = run(project, "--benchmark-only", "--case=hang,swell,train", "--modes=dtde", limit, *how)
    assert status == pytest.ExitCode.TESTS_FAILED
    found = statuses(project)
    assert [found["toy/hang", agents] for agents in (1, 2, 3)] == ["ok", "ok", "failed"]
    assert [found["toy/swell", agents] for agents in (1, 2, 3)] == ["ok", "failed", "ok"]
    assert found["train/iteration", 42, "dtde", "ppo", 3, 2] == "ok"
    assert "failed: toy/hang agents=3: Failed: Timeout" in output
    assert "failed: toy/swell agents=2: MemoryError: Unable to allocate 1.00 EiB" in output


@pytest.mark.slow
def test_a_full_disk_ends_the_run_with_what_was_finished(project):
    """A limit on the size of a file stands for the full disk: after some records nothing more can be written."""
    limited = f"ulimit -f 8; exec {shlex.join(command('--benchmark-only', '--case=add,train', '--report=yes'))}"
    done = subprocess.run(
        ["bash", "-c", limited],
        cwd=project,
        env=environment(MPLCONFIGDIR=str(project / "matplotlib")),  # its cache does not fit either
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert "INTERNALERROR" not in done.stdout
    assert done.returncode == pytest.ExitCode.INTERRUPTED
    assert "cases.jsonl (File too large); all that finished before is there: free some space and go on" in done.stdout
    finished = lines(project)
    assert 0 < len(finished) < 12
    assert all(each["status"] == "ok" for each in finished), "no half a line"
    status, output = run(project, "--benchmark-only", "--resume", **{MENDED: "1"})
    assert status == 0, output
    assert "damaged" not in output
    assert len(statuses(project)) == 12


@pytest.mark.slow
def test_a_report_that_cannot_be_written_is_told_and_loses_nothing(project):
    assert run(project, "--benchmark-only", "--case=toy/add")[0] == 0
    (project / "results" / "latest" / "scalability_results.csv").mkdir()
    status, output = run(project, "--benchmark-only", "--resume", "--report=yes")
    assert status == pytest.ExitCode.TESTS_FAILED
    assert "the report could not be written (IsADirectoryError: [Errno 21] Is a directory" in output
    assert "the records are whole, and once this is fixed: python -m benches.report" in output
    assert len(lines(project)) == 4


@pytest.mark.slow
def test_a_run_that_another_process_writes_is_left_alone(project):
    assert run(project, "--benchmark-only", "--case=toy/add")[0] == 0
    before = (project / "results" / "latest" / "cases.jsonl").read_bytes()
    other = Run(project / "results" / "latest")
    other.claim()
    status, output = run(project, "--benchmark-only", "--resume", "--case=broken")
    other.release()
    assert status == pytest.ExitCode.USAGE_ERROR
    assert "is being written by another process; allowed: when that one has ended, or a run of its own" in output
    assert (project / "results" / "latest" / "cases.jsonl").read_bytes() == before
    assert run(project, "--benchmark-only", "--resume", "--case=toy/add")[0] == 0, "the claim ends with its owner"


@pytest.mark.slow
def test_runs_at_the_same_time_have_folders_of_their_own(project):
    started = [
        subprocess.Popen(
            command("--benchmark-only", "--case=toy/add"), cwd=project, env=environment(), stdout=subprocess.DEVNULL
        )
        for _ in range(2)
    ]
    try:
        assert [process.wait(300) for process in started] == [0, 0]
    finally:
        for process in started:
            process.kill()
            process.wait()
    assert sorted(len(path.read_text().splitlines()) for path in (project / "results").glob("2*/cases.jsonl")) == [4, 4]


def test_a_cell_that_ends_the_process_with_0_is_a_failure_and_the_run_goes_on(project):
    outputs = []
    for how in ([], ["--isolate"]):
        status, output = run(project, "--benchmark-only", "--case=leave", *how)
        assert status == pytest.ExitCode.TESTS_FAILED, output
        outputs.append(output)
        assert [statuses(project)["toy/leave", agents] for agents in (1, 2, 3)] == ["ok", "failed", "ok"]
    assert "failed: toy/leave agents=2: RuntimeError: the cell called os._exit(0)" in outputs[0]
    assert "failed: toy/leave agents=2: the cell's process ended without an answer: exit status 0" in outputs[1]


@pytest.mark.slow
def test_an_isolated_cell_that_leaves_processes_behind_is_not_waited_for(project):
    began = time.monotonic()
    status, output = run(project, "--benchmark-only", "--isolate", "--case=orphan")
    assert status == pytest.ExitCode.TESTS_FAILED
    assert time.monotonic() - began < 60
    assert [statuses(project)["toy/orphan", agents] for agents in (1, 2, 3)] == ["ok", "failed", "ok"]
    assert "failed: toy/orphan agents=2: the cell's process ended without an answer: killed by SIGKILL" in output
    left = Path("/proc", (project / ORPHAN).read_text(), "stat")
    assert not left.exists() or left.read_text().split()[2] == "Z", "it was ended with the cell's process"


def test_records_that_are_removed_in_the_middle_are_there_again(project):
    status, output = run(project, "--benchmark-only", "--case=add,remove", "--report=yes")
    assert status == 0, output
    assert list(statuses(project).values()) == ["ok"] * 7
    assert output.count("was removed; it is there again, with all that it had") == 2
    assert run(project, "--benchmark-only", "--resume")[0] == 0


def test_a_run_that_lacks_records_does_not_end_with_0(project):
    """Whatever takes them away: here they are cut while nobody looks."""
    plugin = """
def pytest_runtest_logfinish(nodeid):
    if "agents=16" in nodeid:
        open("results/latest/cases.jsonl", "w").close()
"""
    (project / "conftest.py").write_text((project / "conftest.py").read_text() + plugin)
    status, output = run(project, "--benchmark-only", "--case=toy/add")
    assert status == pytest.ExitCode.TESTS_FAILED
    assert "3 cells are missing; go on with: pytest --benchmark-only --resume" in output


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_run_that_is_told_to_end_says_how_to_go_on(project, number):
    if signal.getsignal(number) is signal.SIG_IGN:
        pytest.skip("ignored here, as nohup has it, and then by every run")
    with subprocess.Popen(
        command("--benchmark-only", "--case", "hang"), cwd=project, env=environment(), stdout=subprocess.PIPE, text=True
    ) as process:
        deadline = time.monotonic() + 60
        while not (project / HANGING).exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        process.send_signal(number)
        output, _ = process.communicate(timeout=60)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert len(lines(project)) == 2
    assert "1 cells are missing; go on with: pytest --benchmark-only --resume" in output


@pytest.mark.slow
def test_errors_of_any_kind_are_one_line_of_text(project):
    status, output = run(project, "--benchmark-only", "--case=speak", "--report=yes", PYTHONIOENCODING="ascii")
    assert status == pytest.ExitCode.TESTS_FAILED
    errors = [each["error"] for each in lines(project)[1:]]
    assert errors[0].startswith("Unspeakable: <Unspeakable whose text raises ValueError> (toy_cases.py:")
    assert errors[1].startswith("ValueError: \\ud800 \\x1b[31m| (toy_cases.py:")
    assert "... (10,000,000 characters)" in errors[2]
    assert len(output) < 100_000
    assert "\x1b" not in output


@pytest.mark.slow
def test_a_folder_called_latest_is_told(project):
    (project / "results" / "latest").mkdir(parents=True)
    status, output = run(project, "--benchmark-only", "--case=toy/add", "--populations=1")
    assert status == 0, output
    assert "results/latest is a folder, not a link; it is no name of this run" in output


@pytest.mark.slow
def test_a_report_that_fails_for_any_reason_is_one_line_and_a_status(project):
    broken = """
from benches.report import command as report

def lines(*arguments, **settings):
    yield "a table"
    raise ZeroDivisionError("in the report")

report.lines = lines
"""
    (project / "conftest.py").write_text((project / "conftest.py").read_text() + broken)
    status, output = run(project, "--benchmark-only", "--case=toy/add")
    assert status == pytest.ExitCode.TESTS_FAILED
    assert "the report could not be written (ZeroDivisionError: in the report (conftest.py:" in output
    assert len(lines(project)) == 4
