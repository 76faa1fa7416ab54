"""The campaign: what is finished is kept, what was cut off goes on, and the tables judge what they should."""

from __future__ import annotations

import json

import numpy as np
import pytest

from benches.campaign import cell as cells
from benches.campaign import tables
from benches.campaign.cell import Training
from benches.campaign.changes import CHANGES, TODAY, changed
from benches.campaign.command import INTERRUPTED, PRESETS, asked, cells_of, main, read
from market import RLTrainer, Scenario
from market.evaluation.optimum import position
from market.evaluation.policies import play, truthful
from market.simulation.dynamics import observe

TINY = {"episodes_per_iteration": 2, "minibatch": 24, "epochs": 1}
OPTIONS = ["--algorithms", "ppo", "--modes", "dtde", "--agents", "2", "--seeds", "0", "--iterations", "3"]
OPTIONS += ["--every", "1", "--episodes", "2", "--change", "tiny", "--processes", "1", "--file"]


@pytest.fixture
def iterations(monkeypatch):
    """The iterations trained so far; the change `tiny` makes them short."""
    monkeypatch.setitem(CHANGES, "tiny", TINY)
    seen, train = [], RLTrainer.train_iteration
    monkeypatch.setattr(RLTrainer, "train_iteration", lambda self: seen.append(1) or train(self))
    return seen


def results(path):
    return [line["result"] for line in read(path)[0]]


def test_what_is_finished_is_not_run_again_and_what_is_cut_off_goes_on(tmp_path, iterations, monkeypatch, capsys):
    whole, cut = tmp_path / "whole.jsonl", tmp_path / "new" / "cut.jsonl"
    assert main([*OPTIONS, str(whole)]) == 0
    assert len(iterations) == 3
    assert "| truthful |" in capsys.readouterr().out

    with whole.open("a") as file:
        file.write('{"settings": {"algori')  # as a kill may leave it
    assert main([*OPTIONS, str(whole)]) == 0
    assert len(iterations) == 3
    assert "1 lines are damaged" in capsys.readouterr().err

    evaluate, seen = cells._evaluated, []

    def interrupted(*arguments):
        seen.append(1)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return evaluate(*arguments)

    monkeypatch.setattr(cells, "_evaluated", interrupted)
    assert main([*OPTIONS, str(cut)]) == INTERRUPTED
    assert (len(results(cut)), len(iterations)) == (1, 6)
    assert main([*OPTIONS, str(cut)]) == 0
    assert len(iterations) == 7, "it goes on from the evaluation of iteration 2"
    ours, theirs = (results(path)[1]["evaluations"] for path in (whole, cut))
    assert ours == theirs
    assert [row["iteration"] for row in ours] == [1, 2, 3]
    assert not list((tmp_path / "new" / "cut.jsonl.parts").iterdir())

    cut.write_text("\n".join(json.dumps(line | {"commit": None}) for line in renamed(read(cut)[0])) + "\n")
    assert main([*OPTIONS, str(cut), "--any-code"]) == 0
    assert len(iterations) == 7
    assert main([*OPTIONS, str(cut)]) == 0
    assert len(iterations) == 10, "other sources of market"
    assert "of 2 states of `market`" in capsys.readouterr().out


def renamed(lines):
    return [line | {"settings": line["settings"] | {"code": "other"}} for line in lines]


def test_a_cell_that_fails_is_one_line_and_the_others_go_on(tmp_path, iterations, monkeypatch, capsys):
    monkeypatch.setattr(cells, "references", lambda cell: 1 / 0)
    assert main([*OPTIONS, str(tmp_path / "file")]) == 1
    assert "FAILED agents=2 seed=0 episodes=2: ZeroDivisionError: division by zero" in capsys.readouterr().err
    assert len(results(tmp_path / "file")) == 1


@pytest.mark.slow  # starts Python twice
def test_two_processes_measure_the_same_as_one(tmp_path, iterations):
    options = ["--algorithms", "sac", "--modes", "dtde", "--agents", "1", "--seeds", "0", "--iterations", "1"]
    for processes in ("1", "2"):
        assert main([*options, "--file", str(tmp_path / processes), "--processes", processes]) == 0
    one, two = ({str(line["settings"]): line["result"] for line in read(tmp_path / name)[0]} for name in ("1", "2"))
    assert one.keys() == two.keys()
    assert [r.get("evaluations", r.get("positions")) for r in one.values()] == [
        two[name].get("evaluations", two[name].get("positions")) for name in one
    ]


def test_a_position_is_that_of_the_episodes_that_are_played():
    """Would the gap be that of other days than `evaluate` plays, the two would differ."""
    scenario = Scenario.study(2, 3)
    with RLTrainer(scenario, "sac", "dtde", 1, 2, seed=3) as trainer:
        learned = trainer.policy()

        def as_trained(params, state):
            return np.clip(learned(observe(params, state).astype(np.float32)), -1, 1)

        for held_out in (True, False):
            params, start = cells.evaluated(scenario.unseen if held_out else scenario, 3, 4)
            saved = trainer.evaluate(4, None if held_out else trainer.scenario).kpis["cost_saving"]
            history = play(params, start.episode, as_trained)[1]
            expected = position(params, start, history)
            assert saved / cells.attainable(params, start) == pytest.approx(expected, rel=1e-6)
    rival = cells.references(cells.References(2, 3, 4))["positions"]["truthful"]
    params, start = cells.evaluated(scenario.unseen, 3, 4)
    assert rival == pytest.approx(position(params, start, play(params, start.episode, truthful)[1]).mean())


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--algorithms", "ppo,sca"], "argument --algorithms: got 'sca'; allowed: ppo, appo, sac"),
        (["--modes", ""], "argument --modes: got ''; allowed: values with commas between"),
        (["--change", "gama"], "argument --change: got 'gama'; allowed: today, gamma-0.9"),
        (["--agents", "5,0"], "argument --agents: got '5,0'; allowed: whole numbers >= 1, with commas between"),
        (["--iterations", "2,3"], "argument --iterations: got '2,3'; allowed: a whole number >= 1"),
        (["--preset", "isue"], "argument --preset: invalid choice: 'isue'"),
        (["--file", "/"], "--file: got the folder '/'; allowed: a file"),
    ],
)
def test_bad_arguments_are_one_line(words, said, capsys):
    with pytest.raises(SystemExit) as stopped:
        asked(words)
    assert stopped.value.code == 2
    assert said in capsys.readouterr().err.splitlines()[-1]


def test_a_change_that_an_algorithm_lacks_is_one_line(tmp_path, capsys):
    assert main(["--algorithms", "sac", "--change", "clip-0.1", "--file", str(tmp_path / "file")]) == 2
    assert "change: got 'clip-0.1', which sets clip; allowed: fields of SACHyperparameters" in capsys.readouterr().err


@pytest.mark.parametrize("change", CHANGES)
def test_every_change_sets_what_is_there(change):
    hyperparameters, arguments = changed("ppo", change)
    found = arguments | vars(hyperparameters)
    assert {name: found[name] for name in CHANGES[change]} == CHANGES[change]


def test_a_misspelt_field_of_a_change_is_found(monkeypatch):
    monkeypatch.setitem(CHANGES, "wrong", {"lamda_": 0.5})
    with pytest.raises(ValueError, match=r"which sets lamda_; .*; did you mean 'lambda_'"):
        changed("ppo", "wrong")


def test_presets_ask_for_what_the_campaign_needs():
    assert len(CHANGES) > 10
    sizes = {name: len(cells_of(asked(["--preset", name]))) for name in PRESETS}
    assert sizes == {
        "issue": 3 * 2 + 9 * 2 * 3,
        "campaign": 5 * 5 + 9 * 5 * 5,
        "changes": 3 + 2 * 3 * len(CHANGES),
    }
    assert asked(["--preset", "campaign", "--iterations", "7"]).iterations == 7


def line(positions, seed=0, change=TODAY, std=0.3, code="a", **result):
    cell = Training("ppo", "dtde", 5, seed, 10 * len(positions), 10, change)
    rows = [
        {"iteration": 10 * k, "position": value, "training_position": value and value + 0.1, "losses": {"std": std}}
        for k, value in enumerate(positions, start=1)
    ]
    return {
        "settings": {**cell._asdict(), "code": code},
        "result": {"evaluations": rows, "seconds": 1.5, "cpu_seconds": 1.0} | result,
    }


def rivals(seed=0, **positions):
    settings = {"agents": 5, "seed": seed, "episodes": 10, "code": "a"}
    return {"settings": settings, "result": {"positions": positions}}


def rows(text, first):
    """The rows of the table whose first heading is `first`, as dictionaries."""
    (table,) = [part for part in text.split("\n\n") if part.startswith(f"| {first} |")]
    heads, _, *found = ([word.strip() for word in row.strip("| ").split("|")] for row in table.splitlines())
    return [dict(zip(heads, row, strict=True)) for row in found]


def learned(text):
    (row,) = [row for row in rows(text, "algorithm") if "best 50" in row]
    return row


def test_a_training_that_rises_and_stays_is_stable_and_one_that_falls_is_not():
    rises, falls = [0.1 * k for k in range(1, 6)] + [0.6] * 5, [0.6] * 5 + [0.5] * 5
    row = learned(tables.of([line(rises), rivals(truthful=0.5, zero_intelligence=0.2)]))
    assert (row["50"], row["100"], row["25"]) == ("0.50", "0.60", "-")
    assert (row["best 50"], row["last 50"], row["falls by"], row["stable"]) == ("0.60", "0.60", "0.00", "yes")
    assert (row["training days"], row["std"]) == ("0.70", "0.30 to 0.30")
    assert row["above truthful and zero intelligence"] == "yes"
    row = learned(tables.of([line(falls), rivals(truthful=0.55, zero_intelligence=0.2)]))
    assert (row["best 50"], row["last 50"], row["falls by"], row["stable"]) == ("0.60", "0.50", "0.10", "NO")
    assert row["above truthful and zero intelligence"] == "NO"


def test_seeds_are_averaged_and_references_of_other_seeds_decide_nothing():
    lines = [line([0.4] * 5, 0), line([0.6] * 5, 1), rivals(0, truthful=0.3, zero_intelligence=0.2)]
    row = learned(tables.of(lines))
    assert (row["seeds"], row["last 50"], row["range over seeds"]) == ("2", "0.50", "0.40 to 0.60")
    assert row["above truthful and zero intelligence"] == "-"
    lines.append(rivals(1, truthful=0.5, zero_intelligence=0.1))
    assert learned(tables.of(lines))["above truthful and zero intelligence"] == "yes"
    (truthful, zero) = rows(tables.of(lines), "what does not learn")
    assert truthful["N=5, 10 episodes"] == "0.40 (0.30 to 0.50)"
    assert zero["what does not learn"] == "zero_intelligence"


def test_a_change_is_judged_in_pairs_of_seeds():
    before, gains = (0.2, 0.5, 0.8), (0.09, 0.1, 0.11)
    lines = [line([value] * 5, seed) for seed, value in enumerate(before)]
    lines += [line([value + gain] * 5, k, "relu") for k, (value, gain) in enumerate(zip(before, gains, strict=True))]
    (row,) = [row for row in rows_of_changes(tables.of([*lines, line([0.9] * 5, 7, "relu")])) if row]
    assert (row["change"], row["seeds"], row["last 50"]) == ("relu", "3", "0.60")
    assert row["more than today (95 %)"] == "+0.100 [+0.075, +0.125]"
    assert row["sure"] == "yes"


def rows_of_changes(text):
    (table,) = [part for part in text.split("\n\n") if "more than today" in part]
    return rows(table, "algorithm")


def test_a_value_that_is_missing_is_a_dash():
    row = learned(tables.of([line([None] * 5, std=None), rivals(truthful=None, zero_intelligence=0.1)]))
    assert (row["last 50"], row["std"], row["worse off"]) == ("-", "-", "-")
    assert row["above truthful and zero intelligence"] == "NO"
    assert tables.of([]) == "no finished cells"
