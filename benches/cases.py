"""THE table of cases. pytest-benchmark and asv both read it: to add a benchmark, add a row here.

Importing this module loads neither the market nor torch nor ray, and times nothing.
"""

from __future__ import annotations

from collections.abc import Callable

from benches import inputs, training
from benches.case import PROFILES, Case, Grid, Params, table
from benches.inputs import INPUTS, number
from benches.training import EPISODES, STEPS

POPULATIONS = (1, 5, 10, 20, 50, 100)
"""Agents of the study; `full` goes on to 1000."""
MORE = (*POPULATIONS, 200, 500, 1000)
MODES = ("ctce", "ctde", "dtde")
ALGORITHMS = ("ppo", "appo", "sac")
ORDERS = (10, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
WALK = 72
"""Rounds of an environment step: every step of three episodes."""


def _grids(quick: Grid, study: Grid | None = None, full: Grid | None = None) -> dict[str, Grid]:
    """Grids by profile; one that is not given is as the one before it."""
    study = study or quick
    return dict(zip(PROFILES, (quick, study, full or study), strict=True))


def _agents(
    quick: tuple[int, ...], study: tuple[int, ...], full: tuple[int, ...], **axes: tuple[int, ...]
) -> dict[str, Grid]:
    return {name: {**axes, "agents": values} for name, values in zip(PROFILES, (quick, study, full), strict=True)}


def _steps(params: Params) -> dict[str, float]:
    """Work of one step of E communities."""
    communities = number(params, "episodes")
    return {"agent_steps": communities * number(params, "agents"), "env_steps": communities}


def _training(params: Params, episodes: int) -> dict[str, float]:
    """Work of so many training (and evaluation) episodes."""
    return {"agent_steps": episodes * STEPS * number(params, "agents"), "env_steps": episodes * STEPS}


def _clearing(
    name: str,
    version: str,
    setup: Callable[[Params], inputs.Books],
    call: Callable[[inputs.Books, int], None],
    **references: Callable[[inputs.Books, int], None],
) -> Case:
    """A way of clearing by the number of orders."""
    return Case(
        name=name,
        version=version,
        size="orders",
        grids=_grids({"orders": ORDERS}, full={"orders": (*ORDERS, 1_000_000)}),
        setup=setup,
        call=call,
        references=references,
        figures={"trades": inputs.count_trades},
        work=lambda params: {"orders": number(params, "orders")},
        rounds=lambda _: INPUTS,
        budget=1.25,  # n log n sorting looks like k = 1.19
    )


CASES = table(
    _clearing("clear/orders", "2", inputs.books, inputs.clear_book, sort=inputs.bare_sort, lexsort=inputs.lexical_sort),
    _clearing("clear/trades", "1", inputs.books, inputs.clear_to_trades, sort=inputs.bare_sort, naive=inputs.textbook),
    _clearing("clear/feeder", "2", inputs.books_on_feeder, inputs.clear_to_trades, sort=inputs.bare_sort),
    Case(
        name="clear/batch",
        size="markets",
        grids=_grids({"orders": (100,), "markets": (1, 4, 16, 64, 256)}),
        setup=inputs.batches,
        call=inputs.clear_batch,
        work=lambda params: {"orders": number(params, "markets") * number(params, "orders")},
        rounds=lambda _: INPUTS,
        budget=1.1,
    ),
    Case(
        name="step/agents",
        size="agents",
        grids=_agents(POPULATIONS, POPULATIONS, MORE, episodes=(32,)),
        setup=inputs.walk,
        call=inputs.env_step,
        work=_steps,
        rounds=lambda _: WALK,
        budget=1.25,
    ),
    Case(
        name="step/episodes",
        size="episodes",
        grids=_grids({"agents": (100,), "episodes": (1, 2, 4, 8, 16, 32, 64, 128, 256)}),
        setup=inputs.walk,
        call=inputs.env_step,
        work=_steps,
        rounds=lambda _: WALK,
        budget=1.1,
    ),
    Case(
        name="scenario/build",
        size="agents",
        grids=_agents(POPULATIONS, POPULATIONS, MORE),
        setup=lambda params: params,
        call=inputs.build_scenario,
        warmup=lambda params: inputs.build_scenario(params, 1000),
        work=lambda params: {"agents": number(params, "agents")},
        rounds=lambda params: 20 if number(params, "agents") <= 100 else 5,
        budget=2.1,  # a mesh has N^2 lines
    ),
    Case(
        name="ledger/block",
        size="trades",
        grids=_grids({"trades": (10, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)}),
        setup=inputs.trades,
        call=inputs.seal_block,
        work=lambda params: {"trades": number(params, "trades")},
        rounds=lambda _: INPUTS,
        budget=1.1,
    ),
    Case(
        name="train/iteration",
        size="agents",
        grids={
            "quick": {"mode": MODES, "algorithm": training.algorithms, "iterations": (5,), "agents": POPULATIONS},
            "full": {"mode": MODES, "algorithm": ALGORITHMS, "iterations": (5,), "agents": MORE},
        },
        setup=training.trainer,
        call=training.train_iteration,
        close=training.close_trainer,
        work=lambda params: _training(params, EPISODES),
        rounds=lambda params: number(params, "iterations"),
        budget=1.25,
        clock="wall",
    ),
    Case(
        name="train/whole",
        size="agents",
        grids={
            "quick": {"mode": MODES, "algorithm": training.algorithms, "iterations": (3,), "agents": (1, 10)},
            "study": {"mode": MODES, "algorithm": ALGORITHMS, "iterations": (50,), "agents": POPULATIONS},
            "full": {"mode": MODES, "algorithm": ALGORITHMS, "iterations": (50,), "agents": MORE},
        },
        setup=training.trainer,
        warmup=training.warm_up_beside,
        call=training.train_whole,
        close=training.close_trainer,
        work=lambda params: _training(params, (number(params, "iterations") + 1) * EPISODES),
        rounds=lambda _: 1,
        budget=1.25,
        clock="wall",
    ),
)
