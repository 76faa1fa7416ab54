"""THE table of cases. pytest-benchmark and asv both read it: to add a benchmark, add a row here.

Importing this module loads neither the market nor torch nor ray, and times nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from benches.case import GATE, Case, Grid, Outcome, Params, Value, Values, table
from benches.rivals import bare, stock
from benches.workloads import digests, feeders, inputs, startup, training
from benches.workloads import references as reference
from benches.workloads.inputs import INPUTS, SEED, number
from benches.workloads.training import ALGORITHMS, EPISODES, PROFILES_AXIS, STEPS

POPULATIONS = (1, 5, 10, 20, 50, 100)
"""Agents of the study; `full` goes on to 1000."""
MORE = (*POPULATIONS, 200, 500, 1000)
MODES = ("ctce", "ctde", "dtde")
MECHANISMS = (
    "average",
    "buyer",
    "seller",
    "bid_ask_spread",
    "nash_bargaining",
    "proportional_surplus",
    "uniform",
    "mcafee",
)
"""Every row of `market.clearing.pricing.RULES`; a test compares. The table is read without loading the market."""
ORDERS = (10, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)
PROCESSES = 4
"""In how many processes the sizes of a series take turns; in the quick profile three, whose intervals are wider. Each
costs a warm-up of every size, so that five would leave too little time for rounds."""
TURNS = {"quick": (1, 10, 50, 100), "study": (*POPULATIONS, 200), "hour": MORE, "full": MORE}
"""Agents of the trainings whose iterations are timed, by profile; `hour` is a study that has an hour or more."""
SEEDS = tuple(range(SEED, SEED + 5))
"""Of the study's trainings and their references, as many as there is time for."""
FEW, SMALL = 3, 20
"""Seeds that come first, and up to so many agents."""
WALK = 72
"""Rounds of an environment step: every step of three episodes."""


def _grids(quick: Grid, full: Grid | None = None) -> dict[str, Grid]:
    """Grids by profile; without one for `full` all are the same."""
    return {"quick": quick, "study": quick, "full": full or quick}


def _agents(quick: tuple[int, ...] = POPULATIONS, **axes: Values) -> dict[str, Grid]:
    sizes = {"quick": quick, "study": POPULATIONS, "full": MORE}
    return {name: {**axes, "agents": values} for name, values in sizes.items()}


def _trainings(iterations: int, agents: tuple[int, ...], seeds: tuple[int, ...] = (SEED,)) -> Grid:
    """Trainings in every mode. Seeds come first: with several, a whole study is finished before the next begins."""
    names: Grid = {"seed": seeds, "mode": MODES, "algorithm": ALGORITHMS}
    return {**names, "iterations": (iterations,), "agents": agents}


def _seeds_first(params: Params) -> tuple[float, ...]:
    """The order of the study's trainings: FEW seeds of small populations, then seed by seed."""
    seed, agents = number(params, "seed") - SEED, number(params, "agents")
    return float(seed >= FEW or agents > SMALL), seed, agents


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
    grids: dict[str, Grid] | None = None,
    **references: Callable[[inputs.Books, int], None],
) -> Case:
    """A way of clearing by the number of orders."""
    return Case(
        name=name,
        version=version,
        size="orders",
        grids=grids or _grids({"orders": ORDERS}, full={"orders": (*ORDERS, 1_000_000)}),
        setup=setup,
        call=call,
        references=references,
        figures={"trades": inputs.count_trades},
        work=lambda params: {"orders": number(params, "orders")},
        rounds=lambda _: INPUTS,
        processes=0 if name == "clear/rule" else PROCESSES,  # the rules have too few sizes for an exponent
    )


def _fact(name: str, call: Callable[[Params, int], Outcome], **params: Value) -> Case:
    """What the gate compares without a clock: costs that no timed call shows, and results."""
    grid: Grid = {axis: (value,) for axis, value in {**params, "agents": params.get("agents", 1)}.items()}
    return Case(
        name=name,
        size="agents",
        grids={GATE: grid},
        setup=lambda params: params,
        call=call,
        work=lambda _: {},
        clock="none",
    )


CASES = table(
    _clearing("clear/orders", "2", inputs.books, inputs.clear_book, sort=inputs.bare_sort, lexsort=inputs.lexical_sort),
    _clearing("clear/trades", "1", inputs.books, inputs.clear_to_trades, sort=inputs.bare_sort, naive=inputs.textbook),
    _clearing("clear/feeder", "3", feeders.books_on_feeder, inputs.clear_to_trades, sort=inputs.bare_sort),
    _clearing(
        "clear/rule",
        "1",
        inputs.books_by_rule,
        inputs.clear_book,
        _grids(
            {"rule": MECHANISMS, "orders": (100, 1_000, 10_000)},
            full={"rule": MECHANISMS, "orders": (100, 1_000, 10_000, 100_000)},
        ),
        average=inputs.clear_at_averages,
        sort=inputs.bare_sort,
    ),
    Case(
        name="clear/batch",
        processes=PROCESSES,
        size="markets",
        grids=_grids({"orders": (100,), "threads": (1, 2), "markets": (1, 4, 16, 64, 256)}),
        setup=inputs.batches,
        call=inputs.run,
        references={"one_thread": partial(inputs.run, threads=1)},
        work=lambda params: {"orders": number(params, "markets") * number(params, "orders")},
        rounds=lambda _: INPUTS,
        budget=1.1,
    ),
    Case(
        name="powerflow/feeder",
        processes=PROCESSES,
        size="snapshots",
        grids=_grids({"snapshots": (1, 10, 100, 1_000)}, full={"snapshots": (1, 10, 100, 1_000, 10_000)}),
        setup=feeders.injections,
        call=inputs.run,
        references={"naive": feeders.textbook_flow},
        work=lambda params: {"snapshots": number(params, "snapshots")},
        rounds=lambda _: INPUTS,
        budget=1.1,
    ),
    Case(
        name="step/agents",
        processes=PROCESSES,
        size="agents",
        grids=_agents(episodes=(32,)),
        setup=inputs.walk,
        call=inputs.env_step,
        work=_steps,
        rounds=lambda _: WALK,
    ),
    Case(
        name="step/episodes",
        processes=PROCESSES,
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
        version="2",
        processes=PROCESSES,
        size="agents",
        grids=_agents(),
        setup=lambda params: params,
        call=inputs.build_scenario,
        warmup=lambda params: inputs.build_scenario(params, 1000),
        work=lambda params: {"agents": number(params, "agents")},
        rounds=lambda params: 20 if number(params, "agents") <= 100 else 5,
        budget=2.1,  # a mesh has N^2 lines
    ),
    Case(
        name="ledger/block",
        processes=PROCESSES,
        size="trades",
        grids=_grids({"trades": (10, 100, 300, 1_000, 3_000, 10_000, 30_000, 100_000)}),
        setup=inputs.trades,
        call=inputs.seal_block,
        work=lambda params: {"trades": number(params, "trades")},
        rounds=lambda _: INPUTS,
        budget=1.1,
    ),
    _fact("start/import", startup.importing),
    _fact("result/market", digests.of_market, agents=5),
    _fact("result/training", digests.of_trainings, modes=",".join(MODES), iterations=3, agents=3),
    Case(
        name="reference/policy",
        version="3",
        beside=_seeds_first,
        size="agents",
        options=(PROFILES_AXIS,),
        grids=_agents((1, 10), seed=(SEED,), policy=reference.POLICIES),
        setup=reference.episodes,
        call=reference.play,
        warmup=reference.warm_up,
        work=lambda params: _training(params, EPISODES),
    ),
    Case(
        name="reference/optimum",
        version="3",
        beside=_seeds_first,
        size="agents",
        options=(PROFILES_AXIS,),
        grids=_agents((1, 10), seed=(SEED,)) | {"study": {"seed": SEEDS, "agents": POPULATIONS}},
        setup=reference.episodes,
        call=reference.solve,
        warmup=lambda _: None,  # nothing is compiled, and a programme of 1000 agents takes half a minute
        work=lambda params: {"episodes": reference.solved(number(params, "agents"))},
        budget=3.0,  # simplex
    ),
    Case(
        name="train/iteration",
        processes=PROCESSES,
        size="agents",
        options=(PROFILES_AXIS,),
        grids={name: _trainings(5 if name == "quick" else 48, agents) for name, agents in TURNS.items()},
        setup=training.trainer,
        call=training.train_iteration,
        close=training.close_trainer,
        work=lambda params: _training(params, EPISODES),
        rounds=lambda params: number(params, "iterations"),
        seconds=1.0,
        clock="wall",
    ),
    Case(
        name="train/learner",
        size="agents",
        grids={
            "quick": {"mode": MODES, "algorithm": ("ppo",), "agents": (1, 10, 100)},
            "full": {"mode": MODES, "algorithm": tuple(bare.BARE), "agents": (1, 10, 100, 1000)},
        },
        setup=bare.Pair,
        call=bare.learner_update,
        close=bare.close_pair,
        references={"bare": bare.bare_update, "products": bare.products, "xla": bare.xla_update},
        work=lambda params: _training(params, EPISODES),
        rounds=lambda params: 10 if number(params, "agents") <= 100 else 3,
        clock="wall",
    ),
    Case(
        name="train/classic",
        size="agents",
        grids={"full": {"agents": (5, 20, 50)}},
        setup=stock.Beside,
        call=stock.our_iteration,
        close=stock.close,
        references={"classic": stock.classic_iteration},
        work=lambda params: _training(params, EPISODES),
        rounds=lambda _: 3,
        clock="wall",
    ),
    Case(
        name="train/whole",
        version="2",
        beside=_seeds_first,
        size="agents",
        options=(PROFILES_AXIS,),
        grids={
            "quick": _trainings(3, (1, 10)),
            "study": _trainings(50, POPULATIONS, SEEDS),
            "full": _trainings(50, MORE),
        },
        setup=training.trainer,
        warmup=training.warm_up_beside,
        call=training.train_whole,
        close=training.close_trainer,
        work=lambda params: _training(params, (number(params, "iterations") + 1) * EPISODES),
        clock="wall",
    ),
    _fact("start/clear", startup.first_clear),
    _fact("start/training", startup.first_training, mode="ctde", algorithm="ppo", iterations=9, agents=10),
)
CASES = {name: replace(case, setup=inputs.keeping_memory(case.setup)) for name, case in CASES.items()}
