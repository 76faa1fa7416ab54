"""The goals that the project has set itself, measured here and now: `python -m benches.goals [name ...]`.

Each row measures one figure and tells whether it is within its limit. Absolute times depend on the machine: they are
printed for people and decide nothing in CI.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benches import threads

threads.pin()  # before numpy loads

import numpy as np  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from benches.case import Point  # noqa: E402
from benches.cases import CASES, MODES  # noqa: E402
from benches.measure import Stopwatch  # noqa: E402

LEARNING_SEEDS = range(5)
LEARNING_AGENTS, LEARNING_ITERATIONS = 10, 50


@dataclass(frozen=True)
class Figure:
    """A measured figure. value: what the limit applies to. detail: what else was seen, for people."""

    name: str
    value: float
    limit: float
    unit: str
    detail: str
    at_least: bool = False

    @property
    def met(self) -> bool:
        """Whether the value is within the limit; not a number never is."""
        return self.value >= self.limit if self.at_least else self.value <= self.limit


def _median(case: str, limit: float, unit_seconds: float, unit: str, name: str, **params: int | str) -> Figure:
    """Median time of a cell of the table."""
    with Stopwatch(Point(CASES[case], params)) as watch:
        watch.warm_up()
        for _ in range(watch.point.rounds):
            watch.round()
    times = np.array(watch.seen.seconds) / unit_seconds
    return Figure(name, float(np.median(times)), limit, unit, f"min {times.min():.3g}, {len(times)} rounds")


def clearing() -> Iterator[Figure]:
    """`clear` of 100,000 random orders."""
    yield _median("clear/orders", 20.0, 1e-3, "ms", "clear 100,000 orders", orders=100_000)


def stepping() -> Iterator[Figure]:
    """One `step` and `observe` of 32 communities of 100 agents."""
    yield _median("step/agents", 10.0, 1e-3, "ms", "step E=32 N=100", episodes=32, agents=100)


def calls() -> Iterator[Figure]:
    """Python function calls of a step, for 10 and for 1000 agents."""
    counts = {agents: python_calls(agents) for agents in (10, 1000)}
    more = counts[1000] - counts[10]
    yield Figure("more Python calls at N=1000 than at N=10", more, 0.0, "calls", f"{counts[10]} calls a step at N=10")


def python_calls(agents: int) -> int:
    """Calls of Python functions in one `step` and `observe` of 4 communities, after a warm-up."""
    from market import Scenario
    from market.simulation import initial, observe, step

    params = Scenario.study(agents).params
    state = initial(params, np.arange(4))
    action = np.random.default_rng(0).uniform(-1, 1, (4, agents, 4))
    state, *_ = step(params, state, action)
    count = 0

    def counting(_frame: object, event: str, _argument: object) -> None:
        nonlocal count
        count += event == "call"

    sys.setprofile(counting)
    try:
        observe(params, step(params, state, action)[0])
    finally:
        sys.setprofile(None)
    return count


def training() -> Iterator[Figure]:
    """One PPO iteration of 100 agents in each mode: 10 episodes x 24 steps, 10 epochs, minibatch 120, hidden 64-64."""
    for mode in MODES:
        name = f"PPO iteration, {mode}, N=100"
        yield _median("train/iteration", 3.0, 1.0, "s", name, mode=mode, algorithm="ppo", iterations=5, agents=100)


def learning() -> Iterator[Figure]:
    """Returns after 50 iterations at N=10, over 5 seeds: the worst trained policy against the best untrained one."""
    from market import RLTrainer, Scenario

    scenario = Scenario.study(LEARNING_AGENTS)
    for mode in MODES:
        before, after = [], []
        for seed in LEARNING_SEEDS:
            with RLTrainer(scenario, "ppo", mode, iters=LEARNING_ITERATIONS, seed=seed) as trainer:
                before.append(trainer.evaluate(10).return_mean)
                trainer.train()
                after.append(trainer.evaluate(10).return_mean)
        detail = f"untrained {min(before):.2f} to {max(before):.2f}, trained {min(after):.2f} to {max(after):.2f}"
        yield Figure(
            f"learning, {mode}, N={LEARNING_AGENTS}", min(after) - max(before), 0.0, "return", detail, at_least=True
        )


GOALS: dict[str, Callable[[], Iterator[Figure]]] = {
    "clearing": clearing,
    "stepping": stepping,
    "calls": calls,
    "training": training,
    "learning": learning,
}


def main(arguments: list[str] | None = None) -> int:
    """Measure the named goals, or all; 0 when every one is met."""
    from market.config import nearest

    parser = argparse.ArgumentParser(prog="python -m benches.goals", description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="name", help=f"any of: {', '.join(GOALS)}")
    names = parser.parse_args(arguments).names or list(GOALS)
    for name in names:
        if name not in GOALS:
            parser.error(f"name: got {name!r}; allowed: {', '.join(GOALS)}{nearest(name, list(GOALS))}")
    table = Table("goal", "measured", "limit", "", "detail", title=f"load average {os.getloadavg()[0]:.2f}")
    missed = 0
    for name in names:
        for figure in GOALS[name]():
            missed += not figure.met
            sign = ">=" if figure.at_least else "<="
            table.add_row(
                figure.name,
                f"{figure.value:.3g} {figure.unit}",
                f"{sign} {figure.limit:g} {figure.unit}",
                "met" if figure.met else "NOT MET",
                figure.detail,
            )
    Console().print(table)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
