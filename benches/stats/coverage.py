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
from typing import NamedTuple

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
MEMORY, BLOCK, BUDGET = 60.0, 5.0, 2.0
"""Seconds in which the speed forgets itself, and of a block of all sizes; blocks for the rounds of a process."""
TIMING, DELAYED, OWN = 0.03, 0.03, 0.01
"""Standard deviation of each timing, a share of which also waits for something else, and of what a process adds at each
size, and from the smallest to the largest; in logarithms.
"""


def series(
    drift: float, exponent: float, floor: float, draw: np.random.Generator, *, turns: bool = True
) -> list[scaling.Samples]:
    """The times of a series by process and size. turns: whether sizes take turns, or follow one another."""
    sizes = np.array(SIZES, np.float64)
    costs = floor + (1 - floor) * (sizes / sizes[-1]) ** exponent
    costs *= BLOCK / costs.sum()
    rounds = plan(costs.tolist(), BUDGET * BLOCK, [MOST] * len(sizes))
    where = np.log(sizes) / math.log(sizes[-1]) - 0.5
    found: list[scaling.Samples] = []
    speed = draw.normal(0, drift)
    for _ in range(PROCESSES):
        own = draw.normal(0, OWN, len(sizes)) + draw.normal(0, OWN) * where
        taken: dict[float, list[float]] = {float(size): [] for size in sizes}
        for cell in _order(rounds, draw, turns=turns):
            kept = math.exp(-float(costs[cell]) / MEMORY)
            speed = kept * speed + math.sqrt(1 - kept**2) * draw.normal(0, drift)
            delay = draw.exponential(0.2) if draw.random() < DELAYED else 0.0
            error = speed + own[cell] + draw.normal(0, TIMING) + delay
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


class Coverage(NamedTuple):
    """Shares of the simulated studies: whose interval holds the truth, of those that have one, and that have none.

    width, widest: the median of the intervals' widths, and what 95 % of them stay below. spread: of the estimates.
    """

    held: float
    undetermined: float
    width: float
    widest: float
    spread: float


def coverage(drift: float, exponent: float, floor: float, studies: int, *, turns: bool = True) -> Coverage:
    """Simulate so many series and fit each. drift: standard deviation of the speed, in logarithms."""
    draw = np.random.default_rng([studies, round(1000 * drift), round(100 * exponent)])
    laws = [scaling.fit(series(drift, exponent, floor, draw, turns=turns)) for _ in range(studies)]
    known = [law for law in laws if not law.reason]
    if not known:
        return Coverage(math.nan, 1.0, math.nan, math.nan, math.nan)
    widths = [law.high - law.low for law in known]
    held = np.mean([law.low <= exponent <= law.high for law in known])
    figures = held, 1 - len(known) / studies, *np.quantile(widths, (0.5, 0.95)), np.std([law.exponent for law in known])
    return Coverage(*map(float, figures))


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
                found = coverage(drift, exponent, floor, studies, turns=turns)
                print(
                    f"{'in turns' if turns else 'one after another':<18} {drift:5.0%} {exponent:5.1f} {found.held:9.1%}"
                    f" {found.undetermined:13.1%} {found.width:10.2f} ({found.widest:.2f}) {found.spread:12.3f}",
                    flush=True,
                )
    return 0


if __name__ == "__main__":  # asv imports every module below `benches`
    sys.exit(main())
