"""What the gate compares without a clock: costs of starting, memory, and results."""

from __future__ import annotations

import json
import mmap

import pytest

from benches.case import GATE
from benches.cases import ALGORITHMS, CASES, MODES
from benches.gate.verdict import COSTS
from benches.workloads import digests, inputs, startup

FACTS = [case for case in CASES.values() if case.clock == "none"]


def facts(name):
    (point,) = CASES[name].points(GATE)
    return CASES[name].call(CASES[name].setup(point.params), 2).facts


def test_they_are_for_the_gate_alone():
    assert {case.name for case in FACTS} == {
        "start/import",
        "start/clear",
        "start/training",
        "result/market",
        "result/training",
    }
    assert all(set(case.grids) == {GATE} for case in FACTS)


def test_processor_seconds_are_those_of_the_other_process(monkeypatch):
    seconds, printed = startup.processor_seconds("print(sum(range(3_000_000)))")
    assert (0 < seconds < 30, int(printed)) == (True, sum(range(3_000_000)))
    more, _ = startup.processor_seconds("for _ in range(20): sum(range(3_000_000))")
    assert more > 2 * seconds, "it is the work that is seen, not the start of Python"
    with pytest.raises(RuntimeError, match="1 / 0: exit status 1: ZeroDivisionError"):
        startup.processor_seconds("1 / 0")


def test_the_quickest_import_counts(monkeypatch):
    taken = iter([3.0, 2.0, 4.0, 2.5, 3.5])
    monkeypatch.setattr(startup, "processor_seconds", lambda code: (next(taken), ""))
    assert facts("start/import") == {"cpu_seconds": 2.0}


def test_the_first_clear_finds_no_compiled_kernel(monkeypatch):
    seen = []

    def run(code, **environment):
        seen.extend(environment.items())
        return 1.0, ""

    monkeypatch.setattr(startup, "processor_seconds", run)
    assert facts("start/clear") == {"cpu_seconds": 1.0}
    assert [name for name, _ in seen] == ["NUMBA_CACHE_DIR"]


class Hoarder:
    """A trainer that keeps so many bytes more in each iteration."""

    def __init__(self, size):
        self.size, self.kept = size, []

    def train_iteration(self):
        if self.size:
            self.kept.append(mmap.mmap(-1, self.size))  # new pages, whatever memory the process holds free
            self.kept[-1].write(b"x" * self.size)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "low", "high"), [(0, 0, 200e3), (3_000_000, 2.5e6, 3.5e6)])
def test_what_each_iteration_holds_more_is_told(size, low, high, monkeypatch, capsys):
    from benches.workloads import training

    monkeypatch.setattr(training, "trainer", lambda params: Hoarder(size))
    monkeypatch.setattr(training, "close_trainer", lambda trainer: None)
    startup.print_training({"iterations": 12})
    told = json.loads(capsys.readouterr().out)
    assert set(told) <= set(COSTS)
    assert low <= told["growth_bytes"] <= high
    assert told["resident_bytes"] > 10e6


def test_the_markets_digest_repeats_and_sees_a_change_of_the_sixth_digit(monkeypatch):
    found = facts("result/market")
    assert found == facts("result/market")
    assert {name.split()[0] for name in found} >= {"average", "uniform", "mcafee", "feeder", "day", "optimum"}
    assert not set(found) & set(COSTS)
    monkeypatch.setattr(inputs, "FEED_IN_TARIFF", inputs.FEED_IN_TARIFF * (1 + 1e-5))
    changed = {name for name, value in facts("result/market").items() if abs(value - found[name]) > 1e-6 * abs(value)}
    assert "feeder price" in changed


def test_the_order_of_what_is_digested_counts():
    assert digests.weighted([1.0, 2.0]) != digests.weighted([2.0, 1.0])
    assert digests.weighted([float("nan"), 2.0]) == digests.weighted([0.0, 2.0])
    assert digests.weighted([]) == 0.0


@pytest.mark.slow  # nine trainings
def test_the_trainings_digest_holds_every_combination():
    found = facts("result/training")
    for mode in MODES:
        for algorithm in ALGORITHMS:
            assert {f"{mode} {algorithm} return 0", f"{mode} {algorithm} weights"} <= set(found)


@pytest.mark.slow  # compiles, and starts a training
@pytest.mark.parametrize("name", ["start/clear", "start/training"])
def test_each_is_measured_in_a_process_of_its_own(name):
    assert all(value >= 0 for value in facts(name).values())
    assert set(facts(name)) <= set(COSTS)
