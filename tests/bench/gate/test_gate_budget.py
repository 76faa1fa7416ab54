"""What the gate says of its budget, its plan, its noise, and of what no clock times."""

from __future__ import annotations

import re

import pytest

from gate_support import EQUAL


def test_a_budget_that_decides_nothing_is_status_2_and_says_which_would(compare):
    status, output, _ = compare(EQUAL, EQUAL, "--budget", "0.001")
    assert status == 2
    assert "could not measure" in output
    assert re.search(r"the budget decided nothing; --budget \d+ would", output)


@pytest.mark.slow
def test_what_does_not_fit_the_budget_is_named_and_no_failure(compare):
    table = f"{EQUAL}, toy('toy/slow', lambda p, r: None, setup=lambda p: time.sleep(60))"
    status, output, found = compare(table, table, "--budget", "12")
    assert status == 0, output
    assert re.search(r"not measured \(1 of 2 cells, would need about \d+ s more\): toy/slow n=1", output)
    assert "1 of 2 cells decided" in output
    assert found["seconds"] < 13
    assert [cell["outcome"] for cell in found["cells"]] == ["same", "not measured"]


def test_the_gate_tells_what_it_does_and_how_noisy_the_machine_was(compare):
    _, output, found = compare(EQUAL, EQUAL)
    assert re.search(r"\d+ s left, 0 of 1 cells decided: toy/spin n=1, pair 1", output)
    assert re.search(r"noise of this machine: the probe, .* slowdowns of \d+% are found in 95 % of cases", output)
    assert re.search(r"slower by at most \(95 %\): .* in half of the 1 timed cells", output)
    assert 0.5 < found["probe"]["interval"]["ratio"] < 2


def test_a_plan_of_fewer_cells_names_what_it_leaves_out(compare):
    table = "toy('toy/sizes', lambda p, r: spin(10_000), sizes=(1, 2, 3))"
    status, output, found = compare(table, table, "--cells", "1")
    assert (status, len(found["cells"])) == (0, 1), output
    assert "not in the plan: 2 cells of other sizes; --cells N or --case measures them" in output


@pytest.mark.parametrize(("options", "expected"), [((), 0), (("--same-results",), 1)])
def test_a_changed_result_is_told_and_fails_where_that_is_asked_for(compare, options, expected):
    table = "toy('toy/facts', lambda p, r: Outcome(facts={{'return': {}, 'kpi': 2.0}}), clock='none')"
    status, output, found = compare(f"{EQUAL}, {table.format(1.0)}", f"{EQUAL}, {table.format(1.001)}", *options)
    assert status == expected, output
    assert "result changed: toy/facts n=1: return 1 -> 1.001" in output
    assert found["cells"][1]["outcome"] == "result changed"
    assert "a result changed" in output or expected


def test_facts_that_are_costs_are_gated(compare):
    table = "toy('toy/facts', lambda p, r: Outcome(facts={{'cpu_seconds': {}, 'kpi': 2.0}}), clock='none')"
    status, output, found = compare(table.format(1.0), table.format(1.5))
    assert status == 1, output
    assert "more work: toy/facts n=1: cpu_seconds 1 -> 1.5" in output
    assert len(found["cells"][0]["counters"]["base"]) == 2, "what decides is counted in two processes"
