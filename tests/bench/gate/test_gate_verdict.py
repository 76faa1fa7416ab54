"""What the gate concludes, from made-up measurements: each verdict, and how often it errs."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benches.case import GATE
from benches.cases import CASES
from benches.gate import OK, REGRESSION, UNMEASURED
from benches.gate import verdict as gate_verdict
from benches.gate.pair import SIDES, Sampled
from benches.gate.plan import ALL_SIZES, MOST, Cell, chosen, match, wanted
from benches.gate.result import Result
from benches.gate.run import Gate
from benches.gate.verdict import (
    CONFIRM,
    LOOKS,
    Interval,
    TimeVerdict,
    WorkVerdict,
    agreed,
    judge_time,
    judge_work,
)


def cell(case="a/b", size=10, version="1", clock="cpu", rounds=60):
    return Cell(case, version, {"agents": size}, "agents", float(size), clock, rounds)


def pairs(change, count=LOOKS[0], noise=0.02, between=0.005, seed=0, samples=40):
    """Log ratios of `count` process pairs whose head takes 1 + change times as long."""
    rng = np.random.default_rng(seed)
    return [math.log1p(change) + rng.normal(0, between) + rng.normal(0, noise, samples) for _ in range(count)]


def until_final(change, seed, tolerance=0.05, usual=math.nan, **noise):
    drawn = pairs(change, LOOKS[-1], seed=seed, **noise)
    options = {"tolerance": tolerance, "cells": 40, "usual": usual}
    looks = (judge_time(drawn[:n], **options, last=n == LOOKS[-1]) for n in LOOKS)
    return next(verdict for verdict in looks if verdict.final)


def test_what_is_equal_is_decided_at_the_first_look():
    verdict = judge_time(pairs(0.0))
    assert (verdict.outcome, verdict.final, verdict.pairs) == ("same", True, LOOKS[0])


@pytest.mark.parametrize(("change", "outcome"), [(0.10, "slower"), (0.25, "slower"), (-0.2, "faster")])
def test_a_change_is_suspected_first_and_decided_when_fresh_processes_show_it_too(change, outcome):
    drawn = pairs(change, LOOKS[-1], between=0.002)
    first = judge_time(drawn[: LOOKS[0]])
    assert (first.outcome, first.final, first.suspect) == ("unclear", False, True)
    both = judge_time(drawn[: LOOKS[0] + CONFIRM])
    assert (both.outcome, both.final, both.suspect) == (outcome, True, False)
    assert both.interval.low < 1 + change < both.interval.high


def test_a_suspicion_that_fresh_processes_do_not_share_is_no_finding():
    drawn = pairs(0.10, LOOKS[0], between=0.002) + pairs(0.0, LOOKS[-1] - LOOKS[0], between=0.002, seed=1)
    found = [judge_time(drawn[:count]) for count in LOOKS]
    assert found[0].suspect
    assert {verdict.outcome for verdict in found} == {"unclear", "same"}


def test_between_looks_nothing_is_decided():
    assert not judge_time(pairs(0.25, 7)).final
    assert judge_time(pairs(0.25, 7), last=True).outcome == "slower", "but what is measured last counts"


def test_noise_asks_for_more_pairs_and_then_is_unclear():
    loud = {"noise": 0.3, "between": 0.2}
    assert not judge_time(pairs(0.1, **loud)).final
    verdict = judge_time(pairs(0.0, **loud), last=True)
    assert (verdict.outcome, verdict.final) == ("unclear", True)


def test_one_pair_decides_nothing():
    verdict = judge_time(pairs(0.5, 1), last=True)
    assert verdict.outcome == "unclear"
    assert verdict.interval.high == math.inf


def test_what_repeats_exactly_has_an_interval_of_nothing():
    verdict = judge_time([np.full(10, math.log(1.2))] * 6)
    assert verdict.interval.low == pytest.approx(verdict.interval.high) == pytest.approx(1.2)
    assert verdict.outcome == "slower"


@pytest.mark.parametrize("noise", [{"between": 0.03}, {"noise": 0.1}], ids=str)
def test_looking_again_and_again_raises_no_false_alarm_and_misses_no_slowdown(noise):
    equal = [until_final(0.0, seed, samples=15, **noise).outcome for seed in range(120)]
    assert not {"slower", "faster"} & set(equal), "three runs of 40 cells each"
    assert equal.count("same") >= 114
    slower = [until_final(0.10, seed, samples=15, **noise).outcome for seed in range(40)]
    assert slower.count("slower") >= 38
    assert slower.count("same") == 0


def test_what_scatter_is_usual_lets_fewer_pairs_decide_and_raises_no_false_alarm():
    usual = 0.02**2 + 0.02**2 / 15
    noise = {"between": 0.02, "noise": 0.02, "samples": 15}
    alone, told = ([until_final(0.10, seed, usual=u, **noise) for seed in range(30)] for u in (math.nan, usual))
    assert [verdict.outcome for verdict in told].count("slower") == 30
    assert np.mean([v.pairs for v in told]) < np.mean([v.pairs for v in alone]) - 1
    equal = [until_final(0.0, seed, usual=usual, **noise).outcome for seed in range(120)]
    assert not {"slower", "faster"} & set(equal)


def test_the_chance_of_an_error_is_shared_by_the_cells_of_a_run():
    for cells in (1, 40, 115):
        assert cells * gate_verdict.chance_of(cells) ** 2 == pytest.approx(gate_verdict.RUN_ERROR)


def test_a_long_budget_finds_five_per_cent():
    tolerance = gate_verdict.usual_tolerance(3600)
    found = [until_final(0.05, seed, tolerance=tolerance, between=0.01).outcome for seed in range(40)]
    assert found.count("slower") >= 38
    assert gate_verdict.usual_tolerance(600) == gate_verdict.TOLERANCE


@pytest.mark.parametrize("between", [0.002, 0.03])
def test_the_slowdown_that_the_noise_allows_to_see_is_found(between):
    least = gate_verdict.detectable(pairs(0.0, 20, between=between), 40, 0.05)
    assert 0.05 < least < 0.12
    assert sum(until_final(least + 0.01, seed, between=between).outcome == "slower" for seed in range(40)) >= 36


def test_work_that_grows_shrinks_changes_or_does_not_repeat():
    base = [{"python_calls": 100, "builtin_calls": 50, "peak_bytes": 1000, "trades": 7, "old": 1, "random": 5}] * 2
    head = [
        {"python_calls": 120, "builtin_calls": 40, "peak_bytes": 1004, "trades": 8, "random": 50},
        {"python_calls": 120, "builtin_calls": 40, "peak_bytes": 1008, "trades": 8, "random": 90},
    ]
    verdict = judge_work(base, head)
    assert verdict.more == [("python_calls", 100, 120)]
    assert verdict.less == [("builtin_calls", 50, 40)]
    assert verdict.changed == [("trades", 7, 8)], "another result is told, and is no regression"
    assert (verdict.unsteady, judge_work([], []).more) == (["random"], [])


@pytest.mark.parametrize(
    ("name", "before", "after", "kind"),
    [
        ("cpu_seconds", 1.0, 1.15, ""),
        ("cpu_seconds", 1.0, 1.3, "more"),
        ("resident_bytes", 600e6, 620e6, ""),
        ("resident_bytes", 600e6, 650e6, "more"),
        ("growth_bytes", 4e3, 150e3, ""),
        ("growth_bytes", 4e3, 300e3, "more"),
        ("growth_bytes", 900e3, 1.1e6, ""),
        ("ppo return", 1.0, 1.0 + 1e-7, ""),
        ("ppo return", 1.0, 1.0 + 1e-5, "changed"),
        ("ppo return", 1e6, 1e6 + 0.1, ""),
        ("volatility", math.nan, math.nan, ""),
        ("volatility", math.nan, 1.0, "changed"),
    ],
)
def test_costs_may_grow_by_their_tolerance_and_results_by_nothing(name, before, after, kind):
    one = judge_work([{name: before}], [{name: after}])
    assert bool(one.unsteady) == bool(kind), "one process of each side shows that nothing differs, not what differs"
    two = judge_work([{name: before}] * 2, [{name: after}] * 2)
    assert [each for each in ("more", "less", "changed") if getattr(two, each)] == [kind] * bool(kind)


def test_one_process_decides_nothing():
    verdict = judge_work([{"python_calls": 100}], [{"python_calls": 200}] * 2)
    assert (verdict.more, verdict.unsteady) == ([], ["python_calls"])


@pytest.mark.parametrize(
    ("base", "head", "more", "unsteady"),
    [
        ([8e3, 348e3, 4e3], [1.49e6, 1.38e6, 1.28e6], [("growth_bytes", 348e3, 1.28e6)], []),  # as it was once measured
        ([8e3, 348e3, 4e3], [530e3, 900e3, 1.28e6], [], []),  # apart, but by no more than may pass
        ([8e3, 900e3, 4e3], [1.49e6, 1.38e6, 800e3], [], ["growth_bytes"]),
        ([8e3, 348e3], [1.49e6, 0.98e6], [], ["growth_bytes"]),  # two are too few
    ],
)
def test_a_cost_that_varies_decides_where_no_process_overlaps(base, head, more, unsteady):
    one, other = ([{"growth_bytes": value} for value in side] for side in (base, head))
    verdict, back = judge_work(one, other), judge_work(other, one)
    assert (verdict.more, verdict.less, verdict.unsteady) == (more, [], unsteady)
    assert (len(back.less), back.more, back.unsteady) == (len(more), [], unsteady)


@pytest.mark.parametrize(
    ("name", "values", "found"),
    [
        ("builtin_calls", [53, 53], 53),
        ("builtin_calls", [53, 60], None),
        ("builtin_calls", [10_000, 10_001], None),
        ("builtin_calls", [99, 53, 53], 53),
        ("builtin_calls", [53, 60, 53], None),
        ("builtin_calls", [53, 53, 60], None),
        ("builtin_calls", [53], None),
        ("trades", [7, 8], None),
        ("peak_bytes", [24_567, 24_343], 24_343),
        ("peak_bytes", [24_567, 20_000, 20_008], 20_000),
        ("peak_bytes", [24_567, 20_000], None),
    ],
)
def test_what_the_processes_of_a_side_agree_upon(name, values, found):
    assert agreed(name, values) == found


@given(st.lists(st.integers(0, 3), max_size=5))
def test_a_counter_that_decides_is_equal_in_two_processes(values):
    found = agreed("builtin_calls", values)
    assert found is None or values.count(found) >= max(2, len(values) - 1)


def result(time_outcome, *, more=False, problem=""):
    found = Result(cell(), problem=problem, taken=[Sampled({side: {"cpu": np.ones(3)} for side in SIDES})])
    found.time = TimeVerdict(time_outcome, Interval(1.0, 0.9, 1.1), 4, final=True)
    found.work = WorkVerdict(more=[("python_calls", 1, 2)] if more else [])
    return found


@pytest.mark.parametrize(
    ("shown", "words", "status"),
    [
        (result("slower", more=True), "slower, more work", REGRESSION),
        (result("faster", more=True), "faster, more work", REGRESSION),
        (result("same", more=True), "more work", REGRESSION),
        (result("slower"), "slower", REGRESSION),
        (result("faster"), "faster", OK),
        (result("unclear"), "unclear", UNMEASURED),
        (result("slower", more=True, problem="head: broken"), "failed", UNMEASURED),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_time_and_work_are_both_shown_and_either_is_a_regression(shown, words, status):
    assert shown.outcome == words
    assert Gate({}, results=[shown]).status == status
    assert Gate({}, results=[shown], stopped="interrupted").status == UNMEASURED


def test_a_cell_with_more_than_one_thread_is_judged_by_time_alone():
    for threads, more in ((1, True), (2, False)):
        found = Result(dataclasses.replace(cell(), params={"agents": 10, "threads": threads}))
        found.counters = {"base": [{"builtin_calls": 53}] * 2, "head": [{"builtin_calls": 60}] * 2}
        found.judge(0.05, 1, last=True)
        assert bool(found.work.more) == more
        assert not found.to_count


def test_instructions_decide_when_two_processes_counted_them():
    found = Result(cell())
    found.instructions = {"base": [1000.0], "head": [1100.0]}
    assert found.instructions_differ(0.05)
    assert not found.instructions_differ(0.2)
    found.judge(0.05, 1, last=True)
    assert (found.work.more, found.work.unsteady) == ([], [])
    found.instructions = {"base": [1000.0, 1001.0], "head": [1100.0, 1099.0]}
    found.judge(0.05, 1, last=True)
    assert found.work.more == [("instructions", 1000, 1099)]


def test_tables_are_joined_by_what_means_the_same():
    base = [cell(), cell(size=20), cell("gone/now"), cell("edited/case")]
    head = [cell(), cell(size=30), cell("new/case", 1), cell("new/case", 2), cell("edited/case", version="2")]
    plan = match(base, head, wanted())
    assert plan.cells == [cell()]
    assert plan.new == ["a/b agents=30", "new/case"]
    assert plan.removed == ["a/b agents=20", "gone/now"]
    assert plan.changed == ["edited/case (version 1 to 2)"]


def test_what_is_wanted():
    assert wanted(["b"])(cell())
    assert not wanted(["c"])(cell())
    assert not wanted()(cell(rounds=1)), "a whole training cannot be paired"
    assert not wanted()(cell(size=1_000_000))
    assert not wanted()(cell(clock="wall", size=50))
    assert wanted()(cell(clock="wall", size=100))


def test_a_plan_holds_every_series_and_at_most_so_many_cells():
    cells = [
        Cell(c.name, c.version, dict(p.params), c.size, p.size, c.clock, p.rounds)
        for c in CASES.values()
        for profile in ("quick", GATE)
        for p in c.points(profile)
    ]
    cells = [each for each in cells if wanted()(each)]
    plan = chosen(cells)
    assert len(plan) == MOST < len(cells)
    assert {each.series for each in plan} == {each.series for each in cells}
    for case in ALL_SIZES:
        sizes = sorted(each.size for each in cells if each.case == case)
        assert {each.size for each in plan if each.case == case} == {sizes[0], sizes[len(sizes) // 2], sizes[-1]}
    assert plan == [each for each in cells if each in plan], "in the table's order"
    assert chosen(cells, 10_000) == cells
