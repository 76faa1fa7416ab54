"""Results as tables, and as one line."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market import Orders, Scenario
from market.evaluation.policies import POLICIES, play
from market.rl.results import EvaluationResult, IterationRecord, SetUp, TrainingResult
from market.simulation.dynamics import initial
from market.support.tables import WIDTH, in_one_line, long_table

SCENARIO = Scenario.study(3)
START = initial(SCENARIO.params, np.arange(2))
HISTORY = play(SCENARIO.params, np.arange(2), POLICIES["truthful"])[1]


def trained() -> TrainingResult:
    numbers = dict.fromkeys(IterationRecord.__dataclass_fields__, 1.0)
    maps = {"kpis": {"cost": 2.0}, "losses": {"std": 0.5}, "phases": {"forward": 3.0}}
    records = tuple(IterationRecord(**{**numbers, **maps, "iteration": i}) for i in range(4))
    return TrainingResult("ppo", "ctde", 3, 0, 1, "cpu", None, SetUp(0.0, 1.0), records)


def test_a_history_is_a_row_per_step_episode_and_agent() -> None:
    table = HISTORY.to_frame()
    steps, episodes, agents = HISTORY.cost.shape
    assert len(table) == steps * episodes * agents
    for row in table.sample(20, random_state=0).itertuples():
        assert row.cost == HISTORY.cost[row.step, row.episode, row.agent]
        assert row.is_buy == HISTORY.is_buy[row.step, row.episode, row.agent]


def test_a_history_is_a_row_per_step_and_episode() -> None:
    table = HISTORY.to_frame(per="community")
    wide = table.pivot(index="step", columns="episode", values="dso_income").to_numpy()
    assert (wide == HISTORY.dso_income).all()
    with pytest.raises(ValueError, match="per: got 'agents'; allowed: agent, community; did you mean 'agent'"):
        HISTORY.to_frame(per="agents")


def test_a_training_is_a_row_per_iteration() -> None:
    table = trained().to_frame()
    assert table["iteration"].tolist() == [0, 1, 2, 3]
    assert table["kpis.cost"].tolist() == [2.0] * 4
    assert {"losses.std", "phases.forward", "total_seconds"} <= set(table)


def test_an_evaluation_is_a_row_per_episode() -> None:
    table = EvaluationResult(np.array([1.0, 2.0]), np.ones((2, 3)), {"cost": np.array([3.0, 4.0])}).to_frame()
    assert table.to_dict("list") == {"episode": [0, 1], "return": [1.0, 2.0], "cost": [3.0, 4.0]}


@pytest.mark.parametrize(
    "thing", [HISTORY, START, SCENARIO, SCENARIO.params, SCENARIO.params.fleet, SCENARIO.params.grid, trained()]
)
def test_a_repr_is_one_line_that_says_what_it_is(thing: object) -> None:
    told = repr(thing)
    assert told.startswith(f"{type(thing).__name__}(")
    assert "\n" not in told
    assert len(told) <= WIDTH + len(type(thing).__name__) + 2


@given(st.lists(st.one_of(st.floats(), st.integers(-9, 9)), max_size=5))
def test_an_array_is_told_by_shape_and_range(values: list[float]) -> None:
    @in_one_line
    class Held:
        def __init__(self) -> None:
            self.column = np.array(values, np.float64)

    numbers = [value for value in values if value == value]
    limits = f" {min(numbers):g} to {max(numbers):g}" if numbers else ""
    assert repr(Held()) == f"Held(column=[{len(values)}]{limits})"


def test_orders_are_a_table_of_what_was_given() -> None:
    book = Orders(price=[30.0, 40.0], quantity=[1.0, 2.0], is_buy=[False, True])
    assert book.to_frame().to_dict("list") == {
        "position": [0, 1],
        "agent": [0, 1],
        "price": [30.0, 40.0],
        "quantity": [1.0, 2.0],
        "is_buy": [False, True],
    }
    assert repr(book) == "Orders(price=[2] 30 to 40, quantity=[2] 1 to 2, is_buy=[2])"


def test_a_long_table_has_an_index_for_each_axis() -> None:
    table = long_table({"x": np.arange(6).reshape(2, 3)}, "row", "column")
    assert table.to_numpy().tolist() == [[0, 0, 0], [0, 1, 1], [0, 2, 2], [1, 0, 3], [1, 1, 4], [1, 2, 5]]
