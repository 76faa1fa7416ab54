"""The goals of the learner and of the floors: what is measured in turns, against which limits, and what is judged."""

from __future__ import annotations

import math
from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

import market
from benches.case import Case, Point, Unsupported
from benches.goals import learner
from benches.goals.command import GOALS, main
from benches.goals.goal import Goal
from benches.measure.process import Lost

TAKEN = {"learner": [3.0, 4.0, 10.0], "bare": [2.0, 2.0, 4.0], "products": [1.0, 1.0, 1.0]}


@pytest.mark.parametrize(("limit", "met"), [(1.9, False), (2.0, True)])
def test_the_learner_is_judged_by_the_median_over_rounds(limit, met):
    figure = learner.against("bare", "ppo", TAKEN, limit)
    assert figure.value == 2.0
    assert figure.met is met
    assert figure.detail == "ratio of the minima 1.5, 3 rounds; 4.00 x products"


def test_the_limits_are_shares_of_what_an_earlier_commit_takes(monkeypatch, tmp_path):
    asked = []

    class Earlier:
        def __init__(self, checkout, case, params):
            assert (checkout, case) == (tmp_path, "train/learner")
            asked.append(params)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def cpu_seconds(self, prepared, turn):
            raise AssertionError

    def measured(point, rounds):
        assert set(point.case.references) == {"earlier", "bare", "products", "xla"}
        assert point.params == asked[-1]
        return {"learner": [1.0], "earlier": [2.0], "bare": [1.0]}

    monkeypatch.setattr(learner, "check_out", lambda name, place, repository: SimpleNamespace(folder=tmp_path))
    monkeypatch.setattr(learner, "Earlier", Earlier)
    monkeypatch.setattr(learner, "cpu_in_turns", measured)
    figures = list(learner.learner())
    assert len(figures) == 27
    assert {figure.value for figure in figures} == {0.5}
    limits = {figure.name.partition(", ")[2]: figure.limit for figure in figures}
    for mode in ("ctce", "ctde", "dtde"):
        for algorithm, shares in {"ppo": (0.5, 0.65, 0.85), "appo": (0.5, 0.65, 0.85), "sac": (0.6, 0.7, 0.9)}.items():
            for agents, share in zip((1, 10, 100), shares, strict=True):
                assert limits[f"{algorithm}, {mode}, N={agents}"] == share


def test_an_earlier_commit_tells_its_own_cpu_seconds(tmp_path):
    (tmp_path / "benches").mkdir()
    (tmp_path / "benches" / "cases.py").write_text(
        "import time\n"
        "class Case:\n"
        "    setup = staticmethod(lambda params: params['seconds'])\n"
        "    def call(seconds, turn):\n"
        "        end = time.process_time() + seconds * (1 + turn)\n"
        "        while time.process_time() < end: pass\n"
        "    call = staticmethod(call)\n"
        "CASES = {'its own': Case}\n"
    )
    with learner.Earlier(tmp_path, "its own", {"seconds": 0.05}) as earlier:
        assert earlier.cpu_seconds(None, 0) == pytest.approx(0.05, rel=0.5)
        assert earlier.cpu_seconds(None, 3) == pytest.approx(0.20, rel=0.5)
    with learner.Earlier(tmp_path, "another", {}) as earlier, pytest.raises(Lost, match="another"):
        earlier.cpu_seconds(None, 0)


def test_turns_alternate_and_other_processes_count_themselves(monkeypatch):
    """A reference that is not there is left out; the first round is cold, and is no round."""
    now, order = [0.0], []

    def spends(name, seconds):
        def call(_, turn):
            order.append(f"{name}{turn}")
            now[0] += seconds * (100.0 if turn == 0 else 1.0)

        return call

    def missing(*_):
        raise Unsupported("not installed")

    case = Case(
        name="train/learner",
        size="agents",
        grids={},
        setup=lambda params: order.append("open"),
        call=spends("call", 2.0),
        close=lambda prepared: order.append("close"),
        references={"bare": spends("bare", 1.0), "xla": missing, "far": lambda *_: 0.125},
        work=lambda params: {},
    )
    monkeypatch.setattr(learner, "time", SimpleNamespace(process_time=lambda: now[0]))
    taken = learner.cpu_in_turns(Point(case, {"agents": 1}), 2)
    assert taken == {"learner": [2.0, 2.0], "bare": [1.0, 1.0], "far": [0.125, 0.125]}
    assert order == ["open", "call0", "bare0", "call1", "bare1", "call2", "bare2", "close"]


@pytest.mark.parametrize(
    ("rounds", "value", "verdict"),
    [
        ([(2.0, 1.0, 2.0)] * 3, 2.0, "met"),
        ([(1.5, 1.0, 2.0)] * 3, 1.5, "NOT MET"),
        ([(1.0, 1.0, 1.0)] * 3, 1.0, "not judged"),
        ([(1.0, 1.0, 1.0), (1.8, 1.0, 1.9), (1.0, 1.0, 1.2)], 1.8, "met"),
        ([(2.0, 1.0, 1.0)] * 3, 2.0, "not judged"),
    ],
)
def test_two_threads_are_judged_where_two_cpus_are_free(capsys, monkeypatch, rounds, value, verdict):
    figure = learner.speed_up(rounds)
    assert figure.value == value
    assert figure.verdict == verdict
    monkeypatch.setitem(GOALS, "threads", Goal(lambda: iter([figure]), 1.0))
    assert main(["threads"]) == (verdict == "NOT MET")
    assert f"{verdict} " in capsys.readouterr().out


def test_what_is_not_judged_is_not_a_failure_in_disguise():
    assert replace(learner.speed_up([(1.0, 1.0, 2.0)]), value=math.nan).verdict == "NOT MET"


def test_the_free_cpus_are_those_that_busy_threads_get():
    assert 0.1 < learner.free_cpus(1) < 1.1
    assert learner.free_cpus(2) < 2.2


def test_the_threads_of_the_two_learners(monkeypatch):
    """Each update runs with the threads of its trainer, in turns and on the same episodes."""
    seen = []

    class Trainer:
        _algorithm = SimpleNamespace(env_runner=SimpleNamespace(sample=lambda: "episodes"))

        def __init__(self, scenario, *_, cpus, seed):
            assert len(scenario.agents) == 2
            self.cpus = cpus

        def __enter__(self):
            return self

        def __exit__(self, *_):
            seen.append("closed")

    def learning(trainer):
        note = lambda episodes: seen.append((trainer.cpus, torch.get_num_threads(), episodes))  # noqa: E731
        return SimpleNamespace(learn=note)

    monkeypatch.setattr(market, "RLTrainer", Trainer)
    monkeypatch.setattr(learner, "BARE", {"ppo": learning})
    monkeypatch.setattr(learner, "LARGE", 2)
    monkeypatch.setattr(learner, "THREAD_ROUNDS", 1)
    (figure,) = learner.threads()
    assert figure.limit == 1.7
    assert figure.at_least
    assert seen == [(1, 1, "episodes"), (2, 2, "episodes")] * 2 + ["closed"] * 2


def test_the_floors_are_measured_beside_the_loop(monkeypatch):
    points = []

    def measured(point, rounds, block):
        points.append(point)
        return {"learner": [3.0, 3.0], "additions": [2.0, 2.0]}

    monkeypatch.setattr(learner, "cpu_in_turns", measured)
    figures = list(learner.floors())
    assert [figure.limit for figure in figures] == [1.0, 2.4, 1.0]
    assert [figure.met for figure in figures] == [False, True, False]
    assert [point.params for point in points] == [{"orders": 100}, {"orders": 1000}, {"episodes": 1, "agents": 100}]
    assert all(set(point.case.references) == {"additions"} for point in points)
    assert [point.case.call.__name__ for point in points] == ["clear_book", "clear_book", "advance"]
