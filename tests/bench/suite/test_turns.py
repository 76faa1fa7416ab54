"""The sizes of a series take turns in several processes: what that costs no cell, and what it gives a series."""

from __future__ import annotations

import dataclasses
import json
import math
import signal
import subprocess
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench_support import command, environment, lines, make_project, run, statuses
from benches.case import Case, Outcome, Point
from benches.cases import CASES
from benches.measure.runs import Run
from benches.measure.stopwatch import Measurement, measure
from benches.measure.turns import in_turns, plan
from benches.report.data.series import series_of
from benches.suite import lanes
from toy_cases import MENDED


@pytest.fixture
def project(tmp_path):
    return make_project(tmp_path)


def toy(call, sizes=(1, 2, 3), rounds=8, processes=2, **changes):
    case = Case("toy/x", "agents", {"quick": {"agents": sizes}}, dict, call, lambda _: {}, processes=processes)
    return dataclasses.replace(case, rounds=lambda _: rounds, clock="wall", **changes).points("quick")


@given(st.lists(st.floats(1e-4, 10), min_size=1, max_size=8), st.floats(0, 100), st.integers(1, 20))
def test_a_plan_keeps_to_its_time_unless_one_round_of_the_dearest_takes_longer(costs, seconds, most):
    rounds = plan(costs, seconds, [most] * len(costs))
    assert all(1 <= each <= most for each in rounds)
    by_cost = [count for _, count in sorted(zip(costs, rounds, strict=True))]
    assert by_cost == sorted(by_cost, reverse=True)
    spent = sum(count * cost for count, cost in zip(rounds, costs, strict=True))
    least = math.sqrt(max(costs)) * sum(map(math.sqrt, costs))
    assert spent <= 1.5 * max(seconds, least) * (1 + 1e-9), "counts are rounded"
    assert plan(costs, math.inf, [most] * len(costs)) == [most] * len(costs)


def test_each_block_has_every_cell_once_in_an_order_of_its_own():
    order = []
    ended = in_turns(toy(lambda params, turn: order.append(params["agents"])), process=1)
    assert [status for _, status, _ in ended] == ["ok"] * 3
    blocks = np.array(order[3:]).reshape(-1, 3)  # the first calls warm up
    assert len(blocks) == 4, "the rounds are those of all processes together"
    assert (np.sort(blocks, axis=1) == [1, 2, 3]).all()
    assert len({tuple(block) for block in blocks.tolist()}) > 1


def test_dear_cells_have_fewer_rounds_and_share_the_first_blocks():
    points = toy(lambda params, turn: time.sleep(0.002 * params["agents"] ** 2), (1, 10), rounds=40, processes=1)
    (cheap, _, _), (dear, _, _) = in_turns(points, seconds=0.4)
    assert len(dear.seconds) < len(cheap.seconds) <= 40
    assert sum(dear.seconds) < 0.8


def test_a_cell_that_fails_leaves_its_turns_to_the_others():
    def call(params, turn):
        if params["agents"] == 2 and turn == 2:
            raise RuntimeError("boom")
        return Outcome({"phase": 1.0}, {"agents": params["agents"]})

    first, second, third = in_turns(toy(call))
    assert second[1] == "failed"
    assert second[2].startswith("RuntimeError: boom")
    assert not second[0].seconds
    for seen, status, _ in (first, third):
        assert status == "ok"
        assert len(seen.seconds) == len(seen.phases["phase"]) == 4


@pytest.mark.slow  # torch and Ray load
@pytest.mark.parametrize("algorithm", ["ppo", "appo", "sac"])
def test_training_in_turns_is_bit_equal_to_training_alone(algorithm):
    weights, table = {}, CASES["train/iteration"]

    def close(trainer):
        state = trainer.module.state_dict()
        weights.setdefault(trainer.num_agents, []).append({name: value.numpy().copy() for name, value in state.items()})
        table.close(trainer)

    case = dataclasses.replace(table, close=close, rounds=lambda _: 3, processes=1)
    params = {"seed": 42, "mode": "dtde", "algorithm": algorithm, "iterations": 3}
    points = [Point(case, {**params, "agents": agents}) for agents in (1, 2, 3)]
    together = in_turns(points)
    for (seen, status, error), point in zip(together, points, strict=True):
        assert status == "ok", error
        measure(point, alone := Measurement())
        assert alone.facts["return"] == seen.facts["return"]
        assert alone.facts["kpis"] == seen.facts["kpis"]
    for first, second in weights.values():
        assert first.keys() == second.keys()
        assert all((first[name] == second[name]).all() for name in first)


def test_the_sizes_of_a_series_take_turns_in_each_process_and_keep_one_record_each(project):
    status, output = run(project, "--benchmark-only", "--case=toy/rotate", "--benchmark-json=out.json", **{MENDED: "1"})
    assert status == 0, output
    records, problems = Run(project / "results" / "latest").read()
    assert not problems
    shown = {
        each["params"]["agents"]: each["stats"]
        for each in json.loads((project / "out.json").read_text())["benchmarks"]
        if "toy/rotate " in f"{each['group']} "
    }
    for record in records:
        assert record.turns == [3, 3]
        assert not record.missing
        assert [len(each) for each in record.by_process] == [3, 3]
        assert record.decisive == record.cpu_seconds
        if record.case == "toy/rotate":
            assert shown[record.size]["data"] == record.seconds, "pytest-benchmark has the rounds of all processes"
    (curve,) = [each for each in series_of([records]) if each.case == "toy/rotate"]
    assert curve.law.basis == "rounds", "two processes are too few to be left out in turn"


def test_a_cell_that_ends_the_process_is_alone_in_failing(project):
    status, output = run(project, "--benchmark-only", "--case=rotate_end,rotate_fail")
    assert status == pytest.ExitCode.TESTS_FAILED, output
    found = statuses(project)
    assert [found["toy/rotate_end", agents] for agents in (1, 2, 3)] == ["ok", "failed", "ok"]
    assert [found["toy/rotate_fail", agents] for agents in (1, 2, 3)] == ["ok", "failed", "ok"]
    assert "failed: toy/rotate_end agents=2: the cell's process ended without an answer: killed by SIGKILL" in output
    assert "failed: toy/rotate_fail agents=2: RuntimeError: boom" in output
    status, output = run(project, "--benchmark-only", "--resume", **{MENDED: "1"})
    assert status == 0, output
    assert "2 cells to measure" in output


@pytest.mark.slow
def test_a_run_that_is_killed_goes_on_after_the_processes_that_ended(project):
    file, deadline = project / "results" / "latest" / "cases.jsonl", time.monotonic() + 60
    with subprocess.Popen(
        command("--benchmark-only", "--case=toy/rotate"), cwd=project, env=environment(), stdout=subprocess.DEVNULL
    ) as process:
        while not file.exists() or file.read_bytes().count(b"\n") < 4:
            assert time.monotonic() < deadline, "the first process never ended"
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    before = {each["params"]["agents"]: each["seconds"] for each in lines(project)[:4]}
    status, output = run(project, "--benchmark-only", "--resume", **{MENDED: "1"})
    assert status == 0, output
    for record in Run(file.parent.resolve()).read()[0]:
        assert not record.missing
        assert len(record.turns) == 2
        if record.case == "toy/rotate":
            assert record.seconds[: record.turns[0]] == before[record.size], "what was measured is not measured again"


def known_growth(exponent):
    """Loops of N^exponent passes, with a floor as trainings have one."""
    passes = {n: round(2e5 * (0.03 + (n / 200) ** exponent)) for n in (1, 5, 10, 20, 50, 100, 200)}

    def call(params, turn):
        for _ in range(passes[params["agents"]]):
            math.sqrt(2.0)

    return call


@pytest.mark.slow
@pytest.mark.parametrize("exponent", [1.0, 1.5, 2.0])
def test_real_work_of_known_growth_gives_its_exponent_back(exponent, monkeypatch):
    points = toy(known_growth(exponent), (1, 5, 10, 20, 50, 100, 200), rounds=48, processes=4)
    records = []

    class Here:
        """A process that is this one."""

        at = None

        def ask(self, members, limit, **how):
            return [
                {"seen": dataclasses.asdict(seen), "status": status, "error": error}
                for seen, status, error in in_turns(members, **how)
            ]

        def stop(self):
            pass

    monkeypatch.setattr(lanes.isolated, "Process", Here)
    turns = lanes.Turns(points, {}, "quick", records.append, print)
    for point in points:
        turns.measure(point, Measurement())
    (curve,) = series_of([list(turns.records.values())])
    assert curve.law.basis == "processes"
    assert curve.law.exponent == pytest.approx(exponent, abs=0.1)
    assert curve.law.low - 0.03 <= exponent <= curve.law.high + 0.03
    assert curve.law.high - curve.law.low <= 0.3


def test_a_series_tells_every_few_seconds_which_cell_has_its_turn(monkeypatch):
    now, said = [0.0], []
    monkeypatch.setattr("benches.terminal.show.time.monotonic", lambda: now[0])
    points = toy(None)
    on = lanes.Turns(points, {}, "quick", print, said.append)._told(1, points)
    for cell, seconds in ((0, 1.0), (1, 0.5), (2, 1.0), (0, 1.5), (2, 1.0)):
        now[0] += seconds
        on(cell)
    assert said == ["toy/x: process 2 of 2, turn 3, 3 agents", "toy/x: process 2 of 2, turn 5, 3 agents"]
