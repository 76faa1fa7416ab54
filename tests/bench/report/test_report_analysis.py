"""The study's statistics: intervals, comparisons, predictions, trends, aggregates; each with a known answer."""

from __future__ import annotations

import dataclasses
import json
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
from benches.report.sections import quality, times
from benches.stats import forecast, intervals, scaling
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
    assert all(process == 0 for *_, process in cell.times)
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
    assert set(found.blocks) == {*POPULATIONS, 200, 500}
    assert {found.faster(agents) for agents in found.blocks} == {"appo"}
    assert times.fastest([found]) == {"appo": [*POPULATIONS, 200, 500]}
    modes = {(c.first, c.second): c for c in times.compare(whole, "mode")}
    crossing = modes["ctce", "dtde"]
    assert crossing.blocks[1].mid > 1 > crossing.blocks[500].mid
    expected = math.sqrt(np.prod([seconds("ctce", a, 10) / seconds("dtde", a, 10) for a in ("ppo", "appo")]))
    assert crossing.blocks[10].mid == pytest.approx(expected, rel=0.01)
    fastest = times.fastest(list(modes.values()))
    assert 500 in fastest["ctce"]
    assert 1 not in fastest.get("ctce", []), "modes that change places are ranked where they stand"


def test_few_populations_decide_nothing():
    (found,) = times.compare(study_from(study((1, 5), algorithms=["ppo", "sac"])), "algorithm")
    assert not found.ratio.known
    assert found.ratio.mid == pytest.approx(1 / 1.6, rel=0.01)


def test_phases_come_from_the_records(whole):
    assert report_limits.phases_of(whole) == ["clearing", "policy", "forward"]
    assert report_limits.dominant(whole.cells["ctce", "ppo", 5]) == "forward"
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
    (_, limits, *_) = report_limits.section(whole, budgets, []).tables
    assert limits.columns[1] == "agents within 300 s"
    assert "The same in all rows: agents within 2 GiB 740 [" in limits.note, "all have the same memory"
    shared = study_from([dataclasses.replace(each, isolated=False) for each in study(algorithms=["ppo"])])
    assert not shared.memory
    assert math.isnan(report_limits.affordable(shared, ("dtde", "ppo"), budgets)[1].mid), "their peaks tell no law"
    none, all_ = (forecast.affordable(lambda n: intervals.Interval(n, n, n), b).mid for b in (0.5, 1e12))
    assert (none, all_) == (0.0, math.inf)
    undetermined = forecast.seconds_at(scaling.Scaling((), ()), 10)
    assert math.isnan(undetermined.mid)


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

    text = "\n".join(markdown(Document("t", [], {}, [Section("s", [], [], [Table("c", ("a", "b"), [])])])))
    assert "| a | b |\n|---|---|" in text


def test_aggregates_have_the_values_that_are_known():
    from scipy import stats

    from benches.stats import aggregate

    rng = np.random.default_rng(1)
    scores = {agents: rng.normal(0.5, 0.1, 5).tolist() for agents in (1, 5, 10)}
    everything = np.concatenate([scores[agents] for agents in scores])
    middle = aggregate.stratified(scores, aggregate.interquartile_mean)
    assert middle.mid == pytest.approx(stats.trim_mean(everything, 0.25))
    assert middle.low < middle.mid < middle.high
    one = aggregate.stratified({1: [0.5], 5: [0.7]}, aggregate.interquartile_mean)
    assert one == pytest.approx(intervals.Interval(0.6), nan_ok=True), "a seed each says nothing of seeds"
    better = {agents: [value + 0.05 for value in each] for agents, each in scores.items()}
    slow = [np.mean([[(x > y) + (x == y) / 2 for y in scores[n]] for x in better[n]]) for n in scores]
    assert aggregate.improvement(better, scores).mid == pytest.approx(np.mean(slow))
    assert aggregate.improvement(scores, scores).mid == 0.5
    assert aggregate.improvement({1: [2.0, 3.0]}, {1: [0.0, 1.0], 9: [7.0]}) == (1.0, 1.0, 1.0)
    shares = aggregate.profile(scores, np.array([-1.0, 0.5, 2.0]))
    assert [share.mid for share in shares] == pytest.approx([1.0, (everything > 0.5).mean(), 0.0])


def test_the_stratified_interval_holds_as_often_as_it_says():
    from benches.stats import aggregate

    rng, held = np.random.default_rng(0), 0
    for _ in range(100):
        scores = {agents: rng.normal(agents / 100, 0.1, 5).tolist() for agents in (1, 5, 10, 20, 50, 100)}
        found = aggregate.stratified(scores, lambda runs: runs.mean(-1))
        held += found.holds(np.mean([1, 5, 10, 20, 50, 100]) / 100)
    assert held >= 85


def test_time_to_quality_is_censored_where_a_seed_never_has_it():
    kpis = report_kpis.kpis_of([study((5, 20), seeds=(42, 43, 44), algorithms=["ppo"])])
    when = quality.reached(kpis, "ctce ppo", 5, None)
    assert when.mean.mid == pytest.approx(np.mean([first(seed, 5, 0.2) for seed in (42, 43, 44)]))
    never = quality.reached(kpis, "ctce ppo", 5, quality.LEVEL)
    assert never.shown.text == "> 50 (0 of 3)"
    some = quality.Reached((10.0, math.nan, 20.0), 50)
    assert math.isnan(some.mean.mid)
    assert some.shown.text == "> 50 (2 of 3)"
    assert quality.reached(kpis, "ctce ppo", 7, None) is None
    assert quality.converged([(5, 0.0), (10, 0.5), (15, 0.96), (20, 1.0)]) == 15
    assert math.isnan(quality.converged([(5, 1.0), (10, 0.5)]))


def first(seed, agents, level):
    facts = training("ctce", "ppo", agents, seed=seed).facts
    evaluated = zip(facts["evaluated_iterations"], facts["evaluated_savings"], strict=True)
    return next(iteration for iteration, saved in evaluated if np.mean(saved) / agents >= level)


def test_the_export_is_what_marl_eval_reads(tmp_path):
    kpis = report_kpis.kpis_of([study((5, 20), seeds=(42, 43), algorithms=["ppo"])])
    read = json.loads(quality.export(kpis, tmp_path / "x.json").read_text())
    runs = read["local_energy_market"]["agents_20"]["DTDE PPO"]
    assert set(runs) == {"seed_42", "seed_43"}
    assert runs["seed_42"]["step_1"]["step_count"] == 10 * 20 * 24
    assert len(runs["seed_42"]["step_1"]["position"]) == 1
    assert "position" in runs["seed_42"]["absolute_metrics"]
