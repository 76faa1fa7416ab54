"""The benchmark plugin as its users meet it: toy cases in a folder of their own, run by a pytest of its own."""

import json
import os
import random
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benches import report
from benches.results import Run
from toy_cases import HANGING, MENDED

ROOT = Path(__file__).resolve().parent.parent
CONFTEST = """
import toy_cases
from benches import cases, isolated

isolated.TABLE = "toy_cases:CASES"

cases.CASES.clear()
cases.CASES.update(toy_cases.CASES)
pytest_plugins = ["benches.plugin"]
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


@pytest.fixture
def project(tmp_path):
    """A folder whose pytest uses the plugin with a toy table."""
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_suite.py").write_text(SUITE)
    (tmp_path / "pytest.ini").write_text("[pytest]\nstrict = true\nfilterwarnings = error\naddopts = --report=no\n")
    return tmp_path


def command(*arguments):
    return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *arguments]


def environment(**changes):
    return {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "COLUMNS": "150", **changes}


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


def test_without_timing_each_case_runs_once_at_its_smallest_size(project):
    status, output = run(project, "-v")
    assert status == 0, output
    assert "toy-add-agents=1] PASSED" in output
    assert "agents=2" not in output
    assert "toy-broken-agents=1] PASSED" in output
    assert "mode=dtde-algorithm=ppo-iterations=1-agents=1] PASSED" in output
    assert "algorithm=sac-iterations=1-agents=1] SKIPPED (sac is not built yet)" in output
    assert "test_nothing_to_do_with_benchmarks PASSED" in output
    assert not (project / "results").exists()


def test_a_timed_run_records_everything_and_reports_at_the_end(project):
    status, output = run(project, "--benchmark-only", "--report=yes", "--case", "add,broken,train")
    assert status == 1, "a failed case must show in the exit status"
    found = statuses(project)
    assert len(found) == 4 + 3 + 8
    assert found["toy/broken", 2] == "failed"
    assert found["toy/broken", 3] == "ok", "the run goes on after a failure"
    assert found["train/iteration", 42, "ctce", "sac", 3, 1] == "unsupported"
    first = lines(project)[0]
    assert len(first["seconds"]) == len(first["cpu_seconds"]) == 5
    assert first["median"] == pytest.approx(2e-4, rel=0.9)
    assert first["phases"]["learning"] == [0.2] * 5
    assert first["facts"] == {"episodes": 7}
    assert first["rates"]["env_steps"] == pytest.approx(24 / first["median"])
    assert first["warmup_seconds"] > 0
    assert first["threads"]["OMP_NUM_THREADS"] == "1"
    (failed,) = [each for each in lines(project) if each["status"] == "failed"]
    assert failed["error"].startswith("RuntimeError: boom over two lines (toy_cases.py:")
    assert "[ 1/15] toy/add" in output
    assert "left" in output
    assert "failed: toy/broken agents=2: RuntimeError: boom over two lines" in output
    assert (
        "unsupported: train/iteration seed=42 mode=ctce algorithm=sac iterations=3 agents=1: sac is not built yet"
        in output
    )
    for name in ("scalability_results.csv", "scalability_results.parquet", "scaling.svg", "summary.md", "report.html"):
        written = project / "results" / "latest" / name
        assert written.stat().st_size > 500
        assert str(written.resolve()) in output


def test_a_run_without_failures_exits_with_zero_though_some_cells_are_unsupported(project):
    status, output = run(project, "--benchmark-only", "--case", "train", "--algorithms", "SAC,ppo", "--modes", "dtde")
    assert status == 0, output
    assert sorted(statuses(project).values()) == ["ok", "ok", "unsupported", "unsupported"]


def test_a_cell_whose_inputs_cannot_be_prepared_is_one_failure(project):
    status, output = run(project, "--benchmark-only", "--case", "unready")
    assert status == 1
    assert statuses(project) == {("toy/unready", 1): "ok", ("toy/unready", 2): "failed"}
    assert lines(project)[1]["error"].startswith("ValueError: no inputs (toy_cases.py:")
    assert "1 failed, 1 passed" in output


def test_options_select_the_cells(project):
    status, output = run(
        project, "--benchmark-only", "--case=train", "--populations=7,5", "--algorithms=ppo", "--iterations=2"
    )
    assert status == 0, output
    assert set(statuses(project)) == {
        ("train/iteration", 42, mode, "ppo", 2, agents) for mode in ("ctce", "dtde") for agents in (5, 7)
    }


def test_repeat_gives_each_training_several_seeds_and_a_record_for_each(project):
    status, output = run(
        project, "--benchmark-only", "--case=train,add", "--populations=1", "--modes=ctce", "--repeat=3"
    )
    assert status == 0, output
    found = statuses(project)
    assert set(found) == {("toy/add", 1)} | {
        ("train/iteration", seed, "ctce", algorithm, 3, 1) for seed in (42, 43, 44) for algorithm in ("ppo", "sac")
    }
    assert [each["seeds"]["case"] for each in lines(project)[1:]] == [42, 42, 43, 43, 44, 44], "a whole study a time"
    assert len({each["key"] for each in lines(project)}) == 7
    assert "seed=43 mode=ctce" in output
    assert "train/iteration    mode=ctce" in output, "the study's own seed goes without saying"


@pytest.mark.slow  # a process for each cell
def test_isolated_cells_outlive_a_crash_and_say_so(project):
    status, output = run(project, "--benchmark-only", "--isolate", "--case=crash,broken,train", "--modes=dtde")
    assert status == 1
    found = statuses(project)
    assert [found["toy/crash", agents] for agents in (1, 2, 3)] == ["ok", "failed", "ok"]
    assert found["train/iteration", 42, "dtde", "sac", 3, 1] == "unsupported"
    assert all(each["isolated"] for each in lines(project) if each["status"] == "ok")
    processes = [each["process"] for each in lines(project) if each["status"] == "ok"]
    assert len(set(processes)) == len(processes)
    errors = {each["case"]: each["error"] for each in lines(project) if each["status"] == "failed"}
    assert errors["toy/crash"] == "the cell's process ended without an answer: killed by SIGKILL"
    assert errors["toy/broken"].startswith("RuntimeError: boom over two lines (toy_cases.py:")
    assert "each in a process of its own" in output
    first = lines(project)[0]
    assert len(first["seconds"]) == 5
    assert first["warmup_seconds"] > 0
    assert first["peak_memory"] > 0
    status, output = run(project, "--benchmark-only", "--resume", **{MENDED: "1"})
    assert status == 0, output
    assert "4 cells to measure, profile quick, each in a process of its own" in output


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--profile=studdy"], "--profile: got 'studdy'; allowed: quick, study, full; did you mean study?"),
        (["--modes=ctde,dtd"], "--modes: got 'dtd'; allowed: ctce, ctde, dtde; did you mean dtde?"),
        (["--algorithms=pop"], "--algorithms: got 'pop'; allowed: ppo, appo, sac; did you mean"),
        (["--populations=1,x"], "--populations: got 'x'; allowed: whole numbers >= 1"),
        (["--populations=0"], "--populations: got '0'; allowed: whole numbers >= 1"),
        (["--populations="], "--populations: got ''; allowed: values with commas"),
        (["--iterations=1,2"], "--iterations: got '1,2'; allowed: one whole number >= 1"),
        (["--repeat=0"], "--repeat: got '0'; allowed: whole numbers >= 1"),
        (["--isolate", "--benchmark-json=out.json"], "--isolate: got --benchmark-json too; allowed: without it"),
        (["--iterations=-1"], "--iterations: got '-1'; allowed: whole numbers >= 1"),
        (["--case=tyo"], "--case: got 'tyo'; allowed: toy/add, toy/broken"),
        (["--resume"], "--resume: run: got 'latest'; allowed: a folder with cases.jsonl; here: none"),
        (["--resume=nope"], "--resume: run: got 'nope'"),
        (["--results=pytest.ini"], "--results: cannot write to"),
        (["--results=/proc/results"], "--results: cannot write to /proc/results"),  # read-only for root, too
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_bad_options_are_one_line_errors(project, arguments, message):
    status, output = run(project, "--benchmark-only", *arguments)
    assert status == pytest.ExitCode.USAGE_ERROR
    (line,) = [line for line in output.splitlines() if line.startswith("ERROR: ")]
    assert message in line


@pytest.mark.parametrize("option", ["--profile=full", "--iterations=2", "--resume"])
def test_options_of_timed_runs_need_timing(project, option):
    status, output = run(project, option)
    assert status == pytest.ExitCode.USAGE_ERROR
    assert "only for timed runs; add --benchmark-only" in output


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
def test_a_run_killed_at_a_random_cell_resumes_to_the_same_set_of_records(project):
    arguments = ["--benchmark-only", "--case=add,broken,train", "--repeat=2"]
    after = random.randrange(1, 15)
    with subprocess.Popen(
        command(*arguments), cwd=project, env=environment(**{MENDED: "1"}), stdout=subprocess.DEVNULL
    ) as process:
        file, deadline = project / "results" / "latest" / "cases.jsonl", time.monotonic() + 60
        while not file.exists() or file.read_bytes().count(b"\n") < after:
            assert time.monotonic() < deadline, f"the run never finished {after} cells"
        process.send_signal(signal.SIGKILL)
        process.wait()
    status, output = run(project, "--benchmark-only", "--resume", **{MENDED: "1"})
    assert status == 0, f"killed after {after} cells: {output}"
    resumed = {record.key for record in Run(file.parent.resolve()).read()[0]}
    assert run(project, *arguments, **{MENDED: "1"})[0] == 0
    assert resumed == {record.key for record in Run(file.parent.resolve()).read()[0]}
    assert len(resumed) == 4 + 3 + 2 * 8


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


def test_a_full_disk_ends_the_run_with_what_was_finished(project):
    """A limit on the size of a file stands for the full disk: after some records nothing more can be written."""
    limited = f"ulimit -f 8; exec {shlex.join(command('--benchmark-only', '--case=add,train', '--report=yes'))}"
    done = subprocess.run(
        ["bash", "-c", limited], cwd=project, env=environment(), capture_output=True, text=True, timeout=60, check=False
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


def test_a_report_that_cannot_be_written_is_told_and_loses_nothing(project):
    assert run(project, "--benchmark-only", "--case=toy/add")[0] == 0
    (project / "results" / "latest" / "scalability_results.csv").mkdir()
    status, output = run(project, "--benchmark-only", "--resume", "--report=yes")
    assert status == pytest.ExitCode.TESTS_FAILED
    assert "the report could not be written ([Errno 21] Is a directory" in output
    assert "once there is room: python -m benches.report" in output
    assert len(lines(project)) == 4


def test_a_run_that_another_process_writes_is_left_alone(project):
    assert run(project, "--benchmark-only", "--case=toy/add")[0] == 0
    before = (project / "results" / "latest" / "cases.jsonl").read_bytes()
    with Run(project / "results" / "latest").claim():
        status, output = run(project, "--benchmark-only", "--resume", "--case=broken")
    assert status == pytest.ExitCode.USAGE_ERROR
    assert "is being written by another process; allowed: when that one has ended, or a run of its own" in output
    assert (project / "results" / "latest" / "cases.jsonl").read_bytes() == before
    assert run(project, "--benchmark-only", "--resume", "--case=toy/add")[0] == 0, "the claim ends with its owner"


def test_runs_at_the_same_time_have_folders_of_their_own(project):
    started = [
        subprocess.Popen(
            command("--benchmark-only", "--case=toy/add"), cwd=project, env=environment(), stdout=subprocess.DEVNULL
        )
        for _ in range(2)
    ]
    assert [process.wait(60) for process in started] == [0, 0]
    assert sorted(len(path.read_text().splitlines()) for path in (project / "results").glob("2*/cases.jsonl")) == [4, 4]


def test_the_report_of_a_finished_run_is_made_from_the_records_alone(project, capsys, monkeypatch):
    assert run(project, "--benchmark-only", "--case", "toy/add")[0] == 0
    folder = project / "results" / "latest"
    assert {path.name for path in folder.iterdir()} == {"cases.jsonl", "run.json"}, "--report=no"
    (folder / "run.json").unlink()
    monkeypatch.chdir(project)
    assert report.main(["results/latest"]) == 0
    output = capsys.readouterr().out
    assert "64 agents" in output
    assert "agent-steps/s" in output
    header, *rows = (folder / "scalability_results.csv").read_text().splitlines()
    assert header.startswith("num_agents,training_mode,algorithm,training_time")
    assert len(rows) == 4
    assert (folder / "scaling.png").read_bytes().startswith(b"\x89PNG")
    assert report.main(["results/nothing"]) == 2
    assert "got 'results/nothing'" in capsys.readouterr().err


def test_the_usual_options_of_pytest_benchmark_still_work(project):
    status, output = run(project, "--benchmark-only", "--case=toy/add", "--benchmark-json=out.json")
    assert status == 0, output
    found = json.loads((project / "out.json").read_text())["benchmarks"]
    assert len(found) == 4
    assert found[0]["group"] == "toy/add"
    assert found[0]["extra_info"]["agents"] == 1
    assert found[0]["extra_info"]["unit"] == "agents"
    assert found[0]["extra_info"]["agent_steps/s"] > 0
    assert found[0]["stats"]["rounds"] == 5


def test_collecting_leaves_no_folder(project):
    status, output = run(project, "--benchmark-only", "--collect-only", "-q")
    assert status == 0, output
    assert not (project / "results").exists()


@pytest.mark.slow  # starts a cluster
def test_cells_are_measured_on_the_nodes_of_a_cluster(project):
    """Two nodes take turns, a crash spares the others, and each record tells where it comes from."""
    from ray_support import two_nodes  # Ray loads only now

    with two_nodes() as cluster:
        status, output = run(
            project,
            "--benchmark-only",
            f"--ray-address={cluster.address}",
            "--case=toy/add,crash,train",
            "--modes=dtde",
        )
    assert status == 1, output
    found = statuses(project)
    assert [found["toy/crash", agents] for agents in (1, 2, 3)] == ["ok", "failed", "ok"]
    assert found["train/iteration", 42, "dtde", "sac", 3, 1] == "unsupported"
    assert found["toy/add", 64] == "ok"
    assert len(lines(project)) == len(found), "each record is written once"
    assert all(each["isolated"] for each in lines(project) if each["status"] == "ok")
    assert len({each["machine"]["ray_node"] for each in lines(project)}) == 2
