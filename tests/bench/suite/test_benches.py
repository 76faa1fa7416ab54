"""The benchmark plugin as its users meet it: toy cases in a folder of their own, run by a pytest of its own."""

import json
import subprocess
import sys

import pytest

from bench_support import environment, lines, make_project, run, statuses
from benches.report import command as report


@pytest.fixture
def project(tmp_path):
    return make_project(tmp_path)


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
    assert first["median"] >= 2e-4, "as long as the call takes; on a busy machine longer"
    assert first["phases"]["learning"] == pytest.approx([0.2] * 5)
    assert first["facts"] == {"episodes": 7}
    assert first["rates"]["env_steps"] == pytest.approx(24 / first["median"])
    assert first["warmup_seconds"] > 0
    assert first["threads"]["OMP_NUM_THREADS"] == "1"
    (failed,) = [each for each in lines(project) if each["status"] == "failed"]
    assert failed["error"].startswith("RuntimeError: boom over two lines (toy_cases.py:")
    progress = [line.split() for line in output.splitlines() if line.startswith("toy/add agents=")]
    assert [words[1] for words in progress] == ["agents=1", "agents=4", "agents=16", "agents=64"]
    assert " ".join(progress[0][4:]).startswith("about 0:")
    assert " left, 14 of 15 cells, 0:" in " ".join(progress[0])
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
    assert "train/iteration mode=ctce" in output, "the study's own seed goes without saying"


BAD_OPTIONS = [
    (["--profile=studdy"], "--profile: got 'studdy'; allowed: quick, study, full; did you mean 'study'?"),
    (["--profile=quick,full"], "--profile: got 'quick,full'; allowed: quick, study, full"),
    (["--modes=ctde,dtd"], "--modes: got 'dtd'; allowed: ctce, ctde, dtde; did you mean 'dtde'?"),
    (["--algorithms=pop"], "--algorithms: got 'pop'; allowed: ppo, appo, sac; did you mean"),
    (["--populations=1,x"], "--populations: got '1,x'; allowed: whole numbers >= 1, with commas between"),
    (["--populations=0"], "--populations: got '0'; allowed: whole numbers >= 1"),
    (["--populations="], "--populations: got ''; allowed: whole numbers >= 1"),
    (["--iterations=1,2"], "--iterations: got '1,2'; allowed: a whole number >= 1"),
    (["--repeat=0"], "--repeat: got '0'; allowed: a whole number >= 1"),
    (["--benchmark-min-rounds=9"], "--benchmark-min-rounds: got it for cells that have rounds"),
    (["--benchmark-warmup"], "--benchmark-warmup: got it for cells that have rounds"),
    (["--iterations=-1"], "--iterations: got '-1'; allowed: a whole number >= 1"),
    (["--case=tyo"], "--case: got 'tyo'; allowed: toy/add, toy/broken"),
    (["--resume"], "--resume: run: got 'latest'; allowed: a folder with cases.jsonl; here: none"),
    (["--resume=nope"], "--resume: run: got 'nope'"),
    (["--ray-address=foo"], "ray_address: got 'foo'; allowed: auto, host:port or ray://host:port"),
    (["--ray-address=127.0.0.1:1"], "ray_address: got '127.0.0.1:1'; allowed: that of a running cluster"),
    (["--results=pytest.ini"], "--results: cannot write to"),
    (["--results=/proc/results"], "--results: cannot write to /proc/results"),  # read-only for root, too
]
ASK_ALL = """
import contextlib, io, json, sys, pytest

for arguments in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.redirect_stderr(out):
        status = pytest.main(["-p", "no:cacheprovider", "--benchmark-only", *arguments])
    print(json.dumps([int(status), out.getvalue()]))
"""


def test_bad_options_are_one_line_errors(project):
    """All in one process, for each start takes seconds."""
    command = [sys.executable, "-c", ASK_ALL, json.dumps([arguments for arguments, _ in BAD_OPTIONS])]
    done = subprocess.run(command, cwd=project, env=environment(), capture_output=True, text=True, check=True)
    answers = [json.loads(line) for line in done.stdout.splitlines()]
    for (arguments, message), (status, output) in zip(BAD_OPTIONS, answers, strict=True):
        assert status == pytest.ExitCode.USAGE_ERROR, arguments
        (line,) = [line for line in output.splitlines() if line.startswith("ERROR: ")]
        assert message in line, arguments


def test_damaged_options_of_a_run_are_named(project):
    run(project, "--benchmark-only", "--case=toy/add", "--results=mine")
    (saved,) = (project / "mine").glob("2*/run.json")
    saved.write_text("{}")
    status, output = run(project, "--benchmark-only", "--results=mine", "--resume")
    assert status == pytest.ExitCode.USAGE_ERROR
    assert f"--resume: got a damaged {saved.resolve()} (KeyError: 'selection'); fix it" in output


@pytest.mark.parametrize("option", ["--profile=full", "--iterations=2", "--resume"])
def test_options_of_timed_runs_need_timing(project, option):
    status, output = run(project, option)
    assert status == pytest.ExitCode.USAGE_ERROR
    assert "only for timed runs; add --benchmark-only" in output


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
