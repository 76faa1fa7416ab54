"""The goals that the project has set itself, measured here and now: `python -m benches.goals [name ...]`.

Each row measures one figure and tells whether it is within its limit. Absolute times depend on the machine: they are
printed for people and decide nothing in CI.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections.abc import Callable, Iterator

from benches import counters, show, threads

threads.pin()  # before numpy loads

import numpy as np  # noqa: E402
from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from benches.goal import Figure  # noqa: E402
from benches.goal import measured_median as _median  # noqa: E402
from benches.goal import measured_ratio as _ratio  # noqa: E402
from benches.goal import measured_record as _record  # noqa: E402
from benches.goals_training import TRAINING_GOALS  # noqa: E402
from benches.inputs import books_of, clear_book  # noqa: E402


def clearing() -> Iterator[Figure]:
    """`clear` of 100,000 random orders; of a million against the bare sort of their keys, on a feeder with all fees."""
    yield _median("clear/orders", 20.0, 1e-3, "ms", "clear 100,000 orders", orders=100_000)
    medians = {}
    for size in (10_000, 100_000, 1_000_000):
        record = _record("clear/orders", orders=size)
        medians[float(size)] = record.cpu_seconds
        if size >= 100_000:
            yield _ratio(record, "lexsort", 0.5)
        if size == 1_000_000:
            yield _ratio(record, "sort", 2.0)
    growth = math.log(np.median(medians[1e6]) / np.median(medians[1e4])) / math.log(100)
    yield Figure("growth of clearing, 10,000 to 1,000,000", growth, 1.1, "exponent", "between the medians of CPU time")
    yield _ratio(_record("clear/feeder", orders=1_000_000), "sort", 6.0)
    batch = _record("clear/batch", markets=256, orders=100, threads=1)
    each = np.array(batch.seconds) / 256 * 1e6
    yield Figure("clear a market of 100, in a batch of 256", float(np.median(each)), 8.0, "us", f"min {each.min():.3g}")
    both = _record("clear/batch", markets=256, orders=1_000, threads=2)
    faster = np.array(both.references["one_thread"]) / np.array(both.seconds)
    detail = f"of the minima {min(both.references['one_thread']) / min(both.seconds):.3g}, {len(faster)} rounds"
    name = "speed-up on 2 threads, a batch of 256 markets of 1,000"
    yield Figure(name, float(np.median(faster)), 1.0, "times", detail, at_least=True)
    yield Figure("extra memory of clear, 1,000,000 orders", _extra_memory(1_000_000), 200.0, "bytes an order", "peak")


def _extra_memory(size: int) -> float:
    """Peak bytes an order that `clear` takes beyond its input."""
    prepared = books_of(size, 2)
    clear_book(prepared, 0)
    return counters.peak_bytes(lambda: clear_book(prepared, 1)) / size


def stepping() -> Iterator[Figure]:
    """One `step` and `observe` of 32 communities of 100 agents."""
    yield _median("step/agents", 10.0, 1e-3, "ms", "step E=32 N=100", episodes=32, agents=100)


def calls() -> Iterator[Figure]:
    """Python function calls of a step, for 10 and for 1000 agents."""
    counts = {agents: python_calls(agents) for agents in (10, 1000)}
    apart = abs(counts[1000] - counts[10])
    yield Figure("Python calls apart, N=1000 and N=10", apart, 0.0, "calls", f"{counts[10]} calls a step at N=10")


def python_calls(agents: int) -> int:
    """Calls of Python functions in one `step` and `observe` of 4 communities, after a warm-up."""
    from market import Scenario
    from market.simulation import initial, observe, step

    params = Scenario.study(agents).params
    state = initial(params, np.arange(4))
    action = np.random.default_rng(0).uniform(-1, 1, (4, agents, 4))

    def advance() -> None:
        observe(params, step(params, state, action)[0])

    advance()
    return counters.calls(advance)["python_calls"]


GOALS: dict[str, Callable[[], Iterator[Figure]]] = {
    "clearing": clearing,
    "stepping": stepping,
    "calls": calls,
    **TRAINING_GOALS,
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
    missed, progress = 0, Console(stderr=True)
    for name in names:
        for figure in GOALS[name]():
            missed += not figure.met
            verdict = "met" if figure.met else "NOT MET"
            progress.print(f"{figure.name}: {figure.value:.3g} {figure.unit}, {verdict}", highlight=False)
            sign = ">=" if figure.at_least else "<="
            table.add_row(
                figure.name,
                f"{figure.value:.3g} {figure.unit}",
                f"{sign} {figure.limit:g} {figure.unit}",
                verdict,
                figure.detail,
            )
    (Console() if sys.stdout.isatty() else Console(width=show.MIN_WIDTH)).print(table)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
