"""How often the interval of an exponent holds the truth, and how wide it is, simulated on a machine that drifts.

`python -m benches.stats.coverage` prints a row per drift and exponent. Each simulated series has the study's sizes, its
processes and its plan of rounds. Times have four kinds of error, all in logarithms: a speed that wanders (Ornstein and
Uhlenbeck) with the standard deviation `drift`, each timing its own, a few timings that something else delayed, and each
process its own way of growing and its own level at each size.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benches.cases import PROCESSES, TURNS
from benches.measure.turns import plan
from benches.stats import scaling

DRIFTS = (0.02, 0.05, 0.1)
LAWS = ((0.8, 0.1), (1.0, 0.12), (1.2, 0.05), (2.0, 0.03))
"""Exponents, each with the share that the floor has of the time of the largest size."""
SIZES = TURNS["study"]
MOST = 12
"""Rounds of a size in one process at most."""


@dataclass(frozen=True)
class Machine:
    """Standard deviations in logarithms; times in seconds.

    drift: of the speed, which forgets itself within `memory`. timing: of each timing, a share `delayed` of which also
    waits for something else. grown, level: of what a process adds from the smallest to the largest size, and at each.
    seconds: of a block of all sizes. budget: of the rounds of a process, in blocks.
    """

    drift: float
    memory: float = 60.0
    timing: float = 0.03
    delayed: float = 0.03
    grown: float = 0.01
    level: float = 0.01
    seconds: float = 5.0
    budget: float = 2.0


def series(
    machine: Machine, exponent: float, floor: float, draw: np.random.Generator, *, turns: bool = True
) -> list[scaling.Samples]:
    """The times of a series by process and size. turns: whether sizes take turns, or follow one another."""
    sizes = np.array(SIZES, np.float64)
    grown = (sizes / sizes[-1]) ** exponent
    costs = floor + (1 - floor) * grown
    costs *= machine.seconds / costs.sum()
    rounds = plan(costs.tolist(), machine.budget * machine.seconds, [MOST] * len(sizes))
    where = np.log(sizes) / math.log(sizes[-1]) - 0.5
    found: list[scaling.Samples] = []
    speed = draw.normal(0, machine.drift)
    for _ in range(PROCESSES):
        own = draw.normal(0, machine.level, len(sizes)) + draw.normal(0, machine.grown) * where
        taken: dict[float, list[float]] = {float(size): [] for size in sizes}
        for cell in _order(rounds, draw, turns=turns):
            kept = math.exp(-float(costs[cell]) / machine.memory)
            speed = kept * speed + math.sqrt(1 - kept**2) * draw.normal(0, machine.drift)
            delay = draw.exponential(0.2) if draw.random() < machine.delayed else 0.0
            error = speed + own[cell] + draw.normal(0, machine.timing) + delay
            taken[float(sizes[cell])].append(float(costs[cell]) * math.exp(error))
        found.append(taken)
    return found


def _order(rounds: Sequence[int], draw: np.random.Generator, *, turns: bool) -> Iterator[int]:
    """Which size is on: block by block in a random order, or all rounds of one after those of the other."""
    if not turns:
        yield from (cell for cell, count in enumerate(rounds) for _ in range(count))
        return
    for block in range(max(rounds)):
        yield from draw.permutation([cell for cell, count in enumerate(rounds) if count > block]).tolist()


@dataclass(frozen=True)
class Coverage:
    """Shares of the simulated studies: whose interval holds the truth, of those that have one, and that have none.

    width, widest: the median of the intervals' widths, and what 95 % of them stay below. spread: of the estimates.
    """

    held: float
    undetermined: float
    width: float
    widest: float
    spread: float


def coverage(machine: Machine, exponent: float, floor: float, studies: int, *, turns: bool = True) -> Coverage:
    """Simulate so many series and fit each."""
    draw = np.random.default_rng([studies, round(1000 * machine.drift), round(100 * exponent)])
    laws = [scaling.fit(series(machine, exponent, floor, draw, turns=turns)) for _ in range(studies)]
    known = [law for law in laws if not law.reason]
    widths = [law.high - law.low for law in known] or [math.nan]
    held = np.mean([law.low <= exponent <= law.high for law in known]) if known else math.nan
    spread = float(np.std([law.exponent for law in known])) if known else math.nan
    return Coverage(
        float(held), 1 - len(known) / studies, float(np.median(widths)), float(np.quantile(widths, 0.95)), spread
    )


def main(arguments: list[str] | None = None) -> int:
    """Print the table."""
    parser = argparse.ArgumentParser("python -m benches.stats.coverage", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--studies", type=int, default=200, help="that each row simulates")
    studies = parser.parse_args(arguments).studies
    print(f"{studies} studies a row, {len(SIZES)} sizes from {SIZES[0]} to {SIZES[-1]}, {PROCESSES} processes")
    print("measured           drift     k   covered  undetermined  width (95 % below)  sd of k")
    for turns in (True, False):
        for drift in DRIFTS:
            for exponent, floor in LAWS:
                found = coverage(Machine(drift), exponent, floor, studies, turns=turns)
                print(
                    f"{'in turns' if turns else 'one after another':<18} {drift:5.0%} {exponent:5.1f} {found.held:9.1%}"
                    f" {found.undetermined:13.1%} {found.width:10.2f} ({found.widest:.2f}) {found.spread:12.3f}",
                    flush=True,
                )
    return 0


if __name__ == "__main__":  # asv imports every module below `benches`
    sys.exit(main())
