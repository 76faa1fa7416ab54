"""The table of cases: grids become points, the study is in it whole, pytest and asv both read it."""

import os
import subprocess
import sys
from pathlib import Path

from benches.case import GATE, PROFILES, Case
from benches.cases import CASES, MODES
from benches.history import core as asv_core
from benches.measure import threads
from benches.workloads.references import POLICIES
from benches.workloads.training import ALGORITHMS
from market.evaluation import policies
from market.rl.hyperparameters import RLAlgorithm

ROOT = Path(__file__).resolve().parents[2]


def toy():
    return Case(
        name="toy/add",
        size="agents",
        grids={"quick": {"agents": (1, 2), "mode": ("a", "b"), "iterations": (3,)}, "full": {"agents": (9,)}},
        setup=dict,
        call=lambda prepared, turn: None,
        work=lambda params: {},
        budget=1.2,
        rounds=lambda params: 4,
    )


def test_a_grid_becomes_points_with_the_size_fastest():
    points = toy().points("quick")
    assert [tuple(point.params.values()) for point in points] == [("a", 3, 1), ("a", 3, 2), ("b", 3, 1), ("b", 3, 2)]
    assert len({point.key for point in points}) == len({point.label for point in points}) == 4
    assert toy().points("study") == []
    assert [point.size for point in toy().points("full")] == [9.0]


def test_a_selection_replaces_axes_and_ignores_those_that_are_missing():
    points = toy().points("full", {"agents": (5, 7), "mode": ("x",)})
    assert [point.params for point in points] == [{"agents": 5}, {"agents": 7}]


def test_the_smallest_points_are_one_per_combination_of_names():
    points = toy().smallest("quick", {"iterations": (1,)})
    assert [point.params for point in points] == [
        {"mode": "a", "iterations": 1, "agents": 1},
        {"mode": "b", "iterations": 1, "agents": 1},
    ]


def test_the_table_imports_without_market_torch_and_ray_and_times_nothing():
    code = (
        "import sys, benches.cases, benches.history.core;"
        "print([name for name in ('market', 'torch', 'ray', 'pytest') if name in sys.modules])"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_cell_has_a_key_and_a_label_of_its_own():
    for profile in PROFILES:
        points = [point for case in CASES.values() for point in case.points(profile)]
        assert len({point.key for point in points}) == len({point.label for point in points}) == len(points)


def test_the_study_is_whole_and_quick_holds_what_can_be_trained():
    study = CASES["train/whole"].points("study")
    combinations = len(MODES) * len(ALGORITHMS)
    assert len(study) == combinations * 6 * 5, "seeds, as many as there is time for"
    order = sorted(study, key=lambda point: CASES["train/whole"].beside(point.params))
    assert {(point.params["seed"], point.size) for point in order[: 12 * combinations]} == {
        (seed, agents) for seed in (42, 43, 44) for agents in (1, 5, 10, 20)
    }
    assert {point.params["seed"] for point in order[12 * combinations : 14 * combinations]} == {42}, (
        "then each population once"
    )
    assert {point.size for point in CASES["train/iteration"].points("study")} == {1, 5, 10, 20, 50, 100, 200}
    assert {point.params["iterations"] for point in study} == {50}
    assert {point.size for point in CASES["train/whole"].points("full")} >= {200, 500, 1000}
    quick = CASES["train/iteration"].points("quick")
    assert {point.params["algorithm"] for point in quick} == set(ALGORITHMS)


def test_the_names_in_the_table_are_those_of_the_registries():
    assert list(ALGORITHMS) == [algorithm.value for algorithm in RLAlgorithm]
    assert tuple(policies.POLICIES) == POLICIES


def test_every_group_of_cases_is_run_by_pytest():
    suite = "".join(path.read_text() for path in (ROOT / "benches" / "pytest_suite").glob("*.py"))
    for group in {case.group for case in CASES.values() if not set(case.grids) <= {GATE}}:
        assert suite.count(f'@pytest.mark.cases("{group}")') == 1


def test_asv_sees_the_table_in_classes_made_from_it():
    view = asv_core.ClearOrders
    assert view.param_names == ["orders"]
    assert max(view.params[0]) == asv_core.LARGEST
    assert CASES["clear/orders"].version in view.version
    assert not [name for name in vars(asv_core) if name.startswith(("time_", "track_", "peakmem_"))]
    first, again = view(), view()
    first.setup(10)
    first.time_call(10)
    again.setup(10)
    assert again.rotation is first.rotation, "inputs are prepared once, though asv calls setup before every sample"


def test_threads_are_pinned_unless_the_user_said_otherwise(monkeypatch):
    for name in threads.VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    held = threads.pin()
    assert held["OMP_NUM_THREADS"] == "3"
    assert held["OPENBLAS_NUM_THREADS"] == "1"
    assert threads.observed()["OPENBLAS_NUM_THREADS"] == "1"
