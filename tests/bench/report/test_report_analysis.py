"""The study's statistics: intervals, comparisons, convergence, predictions, trends; each with a known answer."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from benches.measure.records import FIFTHS
from benches.report.data.series import series_of
from benches.report.data.study import study_of
from benches.report.document import Table, Value, interval, markdown, number
from benches.report.figures import drawings
from benches.report.sections import kpis as report_kpis
from benches.report.sections import limits as report_limits
from benches.report.sections import times
from benches.stats import forecast, intervals, scaling
from benches.stats.convergence import convergence
from market.evaluation.policies import POLICIES
from study_records import ALGORITHMS, MODES, POPULATIONS, record, seconds, study, training


def study_from(*runs):
    return study_of(runs, {curve.name: curve.law for curve in series_of(runs)})


@pytest.fixture(scope="module")
def whole():
    """The study with two algorithms, up to 500 agents."""
    return study_from(study((*POPULATIONS, 200, 500), algorithms=["ppo", "appo"]))


def test_means_have_students_interval():
    found = intervals.of_mean([1.0, 2.0, 3.0, math.nan])
    assert found.mid == 2.0
    assert found.high - 2.0 == pytest.approx(4.302653 / math.sqrt(3))
    assert found.wide
    assert not intervals.of_mean([5.0]).known
    assert intervals.of_mean([5.0]).wide, "one value tells nothing of its spread"
    assert intervals.of_ratio([math.log(2), math.log(8)]).mid == pytest.approx(4)


def test_a_whole_training_gives_five_estimates_of_its_time():
    found = training("ctce", "ppo", 10)
    assert len(found.decisive) == FIFTHS
    assert np.mean(found.decisive) == pytest.approx(found.facts["training_seconds"])
    slow_start = record("train/whole", {"agents": 1}, facts={"iteration_seconds": [5.0] * 5 + [1.0] * 45})
    assert slow_start.decisive == pytest.approx([70.0] * 5), "none has only early or only late iterations"


def test_cells_have_intervals_over_repetitions_and_noisy_ones_are_marked():
    quiet, noisy = (study_from(study((1, 5, 10), algorithms=["ppo"], noise=n)) for n in (0.01, 1.5))
    assert not any(cell.time.wide for cell in quiet.cells.values())
    assert any(cell.time.wide for cell in noisy.cells.values())
    table = times.section(noisy).tables[-1]
    assert any(cell.marked for row in table.rows for cell in row if isinstance(cell, Value))
    several = study_from(study((1, 5, 10), seeds=(42, 43, 44), algorithms=["ppo"]))
    cell = several.cells["dtde", "ppo", 10]
    assert len(cell.times) == 3
    assert cell.time == intervals.of_mean(list(cell.times.values()))
    assert cell.time.holds(seconds("dtde", "ppo", 10))


def test_the_scaling_factor_is_the_seeds(whole):
    cells = whole.of("ctde", "ppo")
    factor = (cells[-1].time.mid / cells[0].time.mid) / (500 / 1)
    assert times.scaling_factor(cells) == pytest.approx(factor)
    assert math.isnan(times.scaling_factor(cells[:1]))
    for mode, (_, _, exponent) in MODES.items():
        assert whole.laws[mode, "ppo"].exponent == pytest.approx(exponent, abs=0.03)


def test_comparisons_are_paired_and_never_mix_populations(whole):
    (found,) = times.compare(whole, "algorithm")
    assert (found.first, found.second) == ("ppo", "appo")
    assert found.ratio.mid == pytest.approx(1 / ALGORITHMS["appo"], rel=0.01)
    assert found.decided
    assert set(found.blocks) == {*POPULATIONS, 200, 500}
    assert times.best([found]) == ("appo", True)
    modes = {(c.first, c.second): c for c in times.compare(whole, "mode")}
    crossing = modes["ctce", "dtde"]
    assert crossing.blocks[1] > 1 > crossing.blocks[500]
    assert not crossing.decided, "modes that change places are not ranked"
    expected = math.sqrt(np.prod([seconds("ctce", a, 10) / seconds("dtde", a, 10) for a in ("ppo", "appo")]))
    assert crossing.blocks[10] == pytest.approx(expected, rel=0.01)
    name, decided = times.best(list(modes.values()))
    assert (name, decided) == ("ctce", False)


def test_few_populations_decide_nothing():
    (found,) = times.compare(study_from(study((1, 5), algorithms=["ppo", "sac"])), "algorithm")
    assert not found.decided
    assert found.ratio.mid == pytest.approx(1 / 1.6, rel=0.01)


def test_phases_come_from_the_records(whole):
    assert report_limits.phases_of(whole) == ["clearing", "policy", "forward"]
    assert report_limits.first_dominated(whole, ("ctce", "ppo"))["forward"] == 5
    assert sum(whole.cells["ctce", "ppo", 5].phases.values()) == pytest.approx(1)


def test_predictions_from_small_populations_are_checked_at_large_ones(whole):
    checks = report_limits.checks(whole)
    assert {check.agents for check in checks} == {200, 500}
    assert len(checks) == 12
    for check in checks:
        assert abs(check.error) < 0.15
        assert check.predicted.low < check.predicted.mid < check.predicted.high


def test_a_budget_affords_the_population_where_the_law_reaches_it(whole):
    budgets = report_limits.Budgets(seconds=300.0, gib=2.0)
    by_time, by_memory = report_limits.affordable(whole, ("dtde", "ppo"), budgets)
    floor, factor, exponent = MODES["dtde"]
    assert by_time.mid == pytest.approx(((300 - floor) / factor) ** (1 / exponent), rel=0.1)
    assert by_time.low < by_time.mid < by_time.high
    truth = max(np.roots([500, 2e6, 4e8 - 2 * 2**30]).real)
    assert by_memory.mid == pytest.approx(truth, rel=0.01)
    (_, _, limits, *_) = report_limits.section(whole, budgets, []).tables
    assert limits.columns[1:3] == ("agents within 300 s", "agents within 2 GiB")
    shared = study_from([dataclasses.replace(each, isolated=False) for each in study(algorithms=["ppo"])])
    assert math.isnan(report_limits.affordable(shared, ("dtde", "ppo"), budgets)[1].mid), "their peaks tell no law"
    none, all_ = (forecast.affordable(lambda n: intervals.Interval(n, n, n), b).mid for b in (0.5, 1e12))
    assert (none, all_) == (0.0, math.inf)
    undetermined = forecast.seconds_at(scaling.Scaling((), ()), 10)
    assert math.isnan(undetermined.mid)


@pytest.mark.parametrize(
    ("curve", "state", "iteration"),
    [
        (lambda i: 1 - np.exp(-i / 5), "converged", 20),
        (lambda i: np.where(i < 20, 0.0, 1.0), "converged", 25),
        (lambda i: i / 50, "still improving", math.nan),
        (lambda i: 0 * i, "no improvement", math.nan),
        (lambda i: -i / 50, "no improvement", math.nan),
    ],
    ids=["saturating", "step", "linear", "flat", "falling"],
)
def test_convergence(curve, state, iteration):
    noise = np.random.default_rng(0).normal(0, 0.005, 50)
    found = convergence(curve(np.arange(50.0)) + noise, [2.0] * 50)
    assert found.state == state
    assert found.iteration == pytest.approx(iteration, abs=3, nan_ok=True)
    assert found.seconds == pytest.approx(2 * found.iteration, nan_ok=True)
    assert convergence([0.0] * 14, [1.0] * 14).state == "too short"
    assert convergence([0.0] * 5 + [1.0] * 45, [1.0] * 50).state == "converged", "without any noise, too"


def test_kpis_by_population_with_references_and_trends():
    kpis = report_kpis.kpis_of([study(algorithms=["ppo"])])
    assert list(kpis.learned) == ["ctce ppo", "ctde ppo", "dtde ppo"]
    (sentence,) = [each for each in report_kpis.section(kpis).sentences if "foresight" in each]
    assert sentence.endswith("(mpc perfect) reaches 0.93."), "of the optimum, from the records"
    assert set(kpis.references) == {*POLICIES, "optimum"} == set(drawings.REFERENCES)
    assert kpis.at("efficiency", "dtde ppo", 50).mid == pytest.approx(0.5, abs=0.01)
    assert kpis.at("efficiency", "optimum", 50).mid == 1
    assert kpis.at("efficiency_on_training_days", "dtde ppo", 50).mid == pytest.approx(0.6, abs=0.01)
    assert kpis.at("efficiency_gap", "dtde ppo", 50).mid == pytest.approx(0.1, abs=0.01)
    assert set(kpis.values["efficiency_gap"]) == set(kpis.learned), "nothing else learns by heart"
    assert kpis.at("efficiency", "random", 5).mid == -0.5
    assert kpis.at("cost_saving", "ctce ppo", 100).mid == pytest.approx(0.5, abs=0.001), "$ are per agent"
    assert math.isnan(kpis.at("clearing_price", "ctce ppo", 1).mid)
    assert kpis.at("clearing_price", "ctce ppo", 5).holds(100.0)
    trend = kpis.trends["self_consumption", "ctde ppo"]
    assert trend.slope == pytest.approx(0.1, abs=0.005)
    assert trend.significant
    noise = [t for (kpi, _), t in kpis.trends.items() if kpi in ("p2p_share", "loss_share", "gini_savings")]
    assert noise
    assert not any(t.significant for t in noise)
    assert "convergence_iterations" in report_kpis.shown(kpis)


def test_efficiency_needs_the_optimum_of_its_own_seed():
    records = study((5,), seeds=(42, 43), algorithms=["ppo"])
    without = [each for each in records if not (each.case == "reference/optimum" and each.seed == 43)]
    kpis = report_kpis.kpis_of([without])
    assert set(kpis.values["efficiency"]["ctce ppo"][5]) == {42}
    assert set(kpis.values["cost_saving"]["ctce ppo"][5]) == {42, 43}


def test_the_worst_off_agents_saving_is_not_shared_out():
    records = study((5, 10), algorithms=["ppo"])
    for each in records:
        each.facts["evaluation_kpis"] |= {"worst_saving": [-7.0], "share_worse_off": [0.5]}
    kpis = report_kpis.kpis_of([records])
    assert kpis.at("worst_saving", "ctce ppo", 10).mid == -7.0
    notes = {table.caption: table.note for table in report_kpis.section(kpis).tables}
    assert notes["Share worse off (1)"].startswith("Share of agents who pay more than without a market")
    assert notes["Worst saving ($ per agent)"].startswith("Saving of the agent who saves least")


def test_a_kpi_has_the_unit_and_the_formula_of_its_record():
    old = study((5, 10), algorithms=["ppo"])
    own = {"cost_saving": ["ct", "what | was saved", "the toy"], "p2p_share": ["$x$", "<b>", ""], "new": ["kWh", "new"]}
    new = [dataclasses.replace(each, kpi_meanings=own) for each in study((5, 10), seeds=(43,), algorithms=["ppo"])]
    for each in new:
        each.facts["evaluation_kpis"]["new"] = [7.0]
    kpis = report_kpis.kpis_of([new])
    assert kpis.meanings["cost_saving"] == ("ct", "what | was saved", "the toy")
    assert kpis.meanings["new"] == ("kWh", "new", "")
    assert kpis.at("new", "ctce ppo", 10).mid == 7.0
    assert kpis.at("cost_saving", "ctce ppo", 10).mid == pytest.approx(5, abs=0.01), "$ alone are per agent"
    captions = [table.caption for table in report_kpis.section(kpis).tables]
    assert {"Cost saving (ct)", "P2P share ($x$)", "Gini savings (1)"} <= set(captions), "others as the code has them"
    both = report_kpis.kpis_of([old, new])
    assert both.meanings["cost_saving"].unit == "$ per agent"
    assert both.meanings["cost_saving in ct"].unit == "ct"
    assert set(both.values["cost_saving"]["ctce ppo"][5]) == {42}, "units are not mixed"


def test_runs_of_one_seed_are_no_repetitions():
    runs = [study((5,), algorithms=["ppo"]) for _ in range(3)]
    one, three = report_kpis.kpis_of(runs[:1]), report_kpis.kpis_of(runs)
    assert three.at("cost_saving", "ctce ppo", 5) == one.at("cost_saving", "ctce ppo", 5)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (1234567.0, "1,230,000"),
        (0.012345, "0.0123"),
        (9.999, "10.0"),
        (0.0, "0"),
        (-4.45e-16, "0"),
        (math.inf, "∞"),
        (None, "-"),
        (1.2e-7, "1.20e-07"),
        (100, "100"),
        (12345678, "12,345,678"),
    ],
)
def test_numbers_have_three_digits(value, text):
    assert number(value).text == text
    assert interval(intervals.Interval(1.0, 0.5, 1.5), mark_wide=True).marked


def test_a_table_without_rows_is_no_error():
    from benches.report.document import Document, Section

    text = "\n".join(markdown(Document("t", [], [], [Section("s", [], [], [Table("c", ("a", "b"), [])])])))
    assert "| a | b |\n|---|---|" in text
