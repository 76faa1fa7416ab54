"""pytest-benchmark shows the numbers of our records, however a cell was measured, and matches cells across commits."""

import importlib.metadata
import json
import re

import pytest

from bench_support import ROOT, lines, make_project, run


@pytest.fixture
def project(tmp_path):
    return make_project(tmp_path)


def rounds(project, file="out.json"):
    """The rounds of pytest-benchmark's JSON and those of the records, by cell."""
    theirs = {each["param"]: each["stats"] for each in json.loads((project / file).read_text())["benchmarks"]}
    ours = {}
    for each in lines(project):
        if each["status"] == "ok":
            label = "-".join([each["case"].replace("/", "-"), *(f"{k}={v}" for k, v in each["params"].items())])
            ours[label] = each
    return theirs, ours


def same(project):
    theirs, ours = rounds(project)
    assert theirs.keys() == ours.keys()
    for label, stats in theirs.items():
        assert stats["data"] == ours[label]["seconds"], label
        assert stats["iterations"] == ours[label]["calls"], label
        assert stats["median"] == ours[label]["median"], label
    return len(ours)


@pytest.mark.parametrize("how", [[], ["--isolate"]], ids=["", "isolated"])
def test_the_rounds_are_those_of_the_record(project, how):
    status, output = run(project, "--benchmark-only", "--case=add,broken,train", "--benchmark-json=out.json", *how)
    assert status == 1, output
    assert same(project) == 4 + 2 + 4, "a failed cell is in neither"
    (cell,) = [c for c in json.loads((project / "out.json").read_text())["benchmarks"] if c["params"] == {"agents": 16}]
    assert cell["group"] == "toy/add"
    assert cell["fullname"] == "test_suite.py::test_toy[toy-add-agents=16]"
    assert cell["stats"]["rounds"] == 5
    assert cell["extra_info"]["unit"] == "agents"
    assert cell["extra_info"]["agent_steps/s"] > 0


def test_cells_are_plain_values_and_match_across_runs(project):
    arguments = ["--benchmark-only", "--case=toy/add,train", "--modes=dtde", "--algorithms=ppo", "--benchmark-autosave"]
    status, output = run(project, *arguments)
    assert status == 0, output
    status, output = run(project, *arguments, "--benchmark-compare", "--benchmark-group-by=param:agents,param:mode")
    assert status == 0, output
    assert len(re.findall(r"\(0001_\w+\)", output)) == 6, "every cell has a row of either run"
    assert "benchmark 'agents=1 mode=dtde'" in output
    assert "benchmark 'agents=64 mode=-'" in output
    saved = [json.loads(path.read_text()) for path in (project / ".benchmarks").rglob("*.json")]
    text = json.dumps([each["benchmarks"] for each in saved])
    assert "UNSERIALIZABLE" not in text
    assert " at 0x" not in text


def test_options_that_act_are_left_alone_and_the_others_are_refused_wherever_they_stand(project):
    acting = ["--benchmark-columns=median,rounds,iterations", "--benchmark-sort=mean", "--benchmark-json=out.json"]
    status, output = run(project, "--benchmark-only", "--case=toy/add", "--populations=1", *acting)
    assert status == 0, output
    status, output = run(project, "--benchmark-only", PYTEST_ADDOPTS="--benchmark-max-time=2")
    assert status == pytest.ExitCode.USAGE_ERROR
    assert "--benchmark-max-time: got it for cells" in output


def test_the_release_whose_private_names_are_used_is_pinned():
    project = (ROOT / "pyproject.toml").read_text()
    assert f'"pytest-benchmark=={importlib.metadata.version("pytest-benchmark")}"' in project
    used = [
        path.name for path in ROOT.glob("benches/**/*.py") if re.search(r"_make_stats|benchmark\._", path.read_text())
    ]
    assert used == ["adapter.py"]


@pytest.mark.slow  # starts a cluster
def test_the_rounds_of_a_cluster_are_those_of_the_record(project):
    from ray_support import two_nodes  # Ray loads only now

    with two_nodes() as cluster:
        address = f"--ray-address={cluster.address}"
        status, output = run(project, "--benchmark-only", "--case=add,train", "--benchmark-json=out.json", address)
    assert status == 0, output
    assert same(project) == 4 + 4
