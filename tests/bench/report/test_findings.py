"""Series of known truth, and the sentences that are made of them: none contradicts the truth, or another one."""

from __future__ import annotations

import re

import pytest

from benches.report.data.series import series_of
from benches.report.data.study import study_of
from benches.report.document import Value
from benches.report.sections import limits, times
from benches.report.sections.findings import findings
from benches.report.sections.kpis import kpis_of
from study_records import iteration, reference, training

SIZES = (1, 5, 10, 20, 50, 100, 200)
TRUTH = {
    ("ctce", "ppo"): ("sub-linear", lambda n: 0.1 + 0.01 * n**0.8),
    ("ctde", "ppo"): ("near-linear", lambda n: 0.1 + 0.01 * n),
    ("dtde", "ppo"): ("super-linear", lambda n: 0.1 + 0.002 * n**1.6),
    ("ctce", "sac"): ("undetermined", lambda n: 0.1),
    ("ctde", "sac"): ("undetermined", lambda n: 0.1 * (1, 9, 2, 30, 4, 60, 5)[SIZES.index(n)]),
    ("dtde", "sac"): ("super-linear", lambda n: 0.2 + 0.002 * n**1.6),
}
BUDGETS = limits.Budgets()


@pytest.fixture(scope="module")
def made():
    """The study and its findings."""
    records = [iteration(*names, agents, law) for names, (_, law) in TRUTH.items() for agents in SIZES]
    for agents in (1, 5, 10, 20):
        records += [training("ctde", "ppo", agents, seed=seed, beside=True) for seed in (42, 43, 44)]
        records += [reference("optimum", agents, seed=seed) for seed in (42, 43, 44)]
    study = study_of([records], {curve.name: curve.law for curve in series_of([records])})
    return study, findings(study, kpis_of([records]), BUDGETS, limits.checks(study))


def test_each_combination_has_one_verdict_and_it_is_the_truth(made):
    study, found = made
    for combination, (truth, _) in TRUTH.items():
        name = times.name_of(combination)
        assert study.laws[combination].verdict == truth, study.laws[combination]
        said = [sentence for sentence in found["Time"] if re.search(rf"as N\^k for .*{name} \(", sentence)]
        open_ = [sentence for sentence in found["Undetermined"] if name in sentence]
        assert (len(said), len(open_)) == ((0, 1) if truth == "undetermined" else (1, 0))
        if said:
            assert f"grows {truth}ly as" in said[0]
            assert study.laws[combination].told in said[0], "the same figures as in the tables"
    (line,) = found["Undetermined"]
    assert "the growth of CTCE SAC (the floor dominates" in line


def test_a_knee_is_told_of_super_linear_growth_alone(made):
    _, found = made
    (knee,) = [sentence for sentence in found["Time"] if sentence.startswith("Doubling the population")]
    assert "DTDE PPO" in knee
    assert not {"CTCE", "CTDE"} & set(re.findall(r"\w+", knee))


def test_the_tables_say_what_the_sentences_say(made):
    study, _ = made
    table = times.section(study).tables[0]
    verdicts = {row[0]: row[table.columns.index("verdict")] for row in table.rows}
    assert verdicts == {times.name_of(names): truth for names, (truth, _) in TRUTH.items()}


def test_predictions_of_the_next_size_are_checked_in_the_same_run(made):
    study, found = made
    checks = limits.checks(study)
    assert {check.agents for check in checks} == {200}
    assert len(checks) >= 4
    assert all(abs(check.error) < 0.1 for check in checks)
    assert any("the times at N = 200, measured in the same run, are off by" in each for each in found["Limits"])


def test_limits_are_of_whole_trainings_and_narrow(made):
    study, _ = made
    by_time, by_memory = limits.affordable(study, ("ctde", "ppo"), BUDGETS)
    assert by_time.mid == pytest.approx((3600 / 50 - 0.1) / 0.01, rel=0.3)
    assert by_time.mid / 2 < by_time.low < by_time.high < 2 * by_time.mid
    assert by_memory.mid > 0, "peaks are those of trainings that had a process each"


def test_columns_that_do_not_vary_are_left_out(made):
    study, _ = made
    for table in (*times.section(study).tables, *limits.section(study, BUDGETS, []).tables):
        assert len({len(row) for row in table.rows}) == 1
    (cells,) = [table for table in times.section(study).tables if table.caption == "Every cell"]
    assert "repetitions" not in cells.columns
    assert "wall seconds" in cells.columns


def test_every_sentence_is_whole(made):
    _, found = made
    assert next(iter(found)) == "Time"
    assert [*found][-1] == "Undetermined"
    for sentences in found.values():
        for sentence in sentences:
            assert sentence.endswith(".")
            assert not re.search(r"\bnan\b|None|inf\b", sentence), sentence
    assert isinstance(times.section(made[0]).tables[0].rows[0][1], Value | str)


def test_times_of_cells_that_were_not_alone_tell_no_law(made):
    records = [training("ctde", "ppo", agents, beside=True) for agents in SIZES]
    (curve,) = series_of([records])
    assert not curve.asked
    assert curve.law.told == "k undetermined"
    both = [*records, *(iteration("ctde", "ppo", agents, lambda n: 0.1 + 0.01 * n) for agents in SIZES)]
    study = study_of([both], {curve.name: curve.law for curve in series_of([both])})
    assert study.case == "train/iteration"
    assert study.memory["ctde", "ppo"].keys() == set(SIZES)
