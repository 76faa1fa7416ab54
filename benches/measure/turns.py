"""The cells of one series side by side in this process, in turns: round by round, in a random order within each block.

The speed of a shared machine drifts by 5 to 20 % within minutes. Cells that take turns see the same drift, so their
ratios do not: cells that are measured one after the other give an exponent that is off by as much as the drift.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import ExitStack

import numpy as np

from benches.case import Point
from benches.measure.records import Status, ending
from benches.measure.stopwatch import REFERENCE_SECONDS, Measurement, Stopwatch

Ended = tuple[Measurement, Status, str | None]


def plan(costs: Sequence[float], seconds: float, most: Sequence[int]) -> list[int]:
    """Rounds of each cell within `seconds`, `most` at most; the dearest has one at least, however long that takes.

    They are in inverse proportion to the square root of the cost, which for noise that is alike gives sums and
    differences of logarithms the least variance (Neyman 1934, doi:10.2307/2342192).
    costs: seconds of a round of each cell.
    """
    if math.isinf(seconds):
        return list(most)
    share = max(seconds / sum(math.sqrt(cost) for cost in costs), math.sqrt(max(costs)))
    wanted = (round(share / math.sqrt(cost)) for cost in costs)
    return [max(1, min(count, limit)) for count, limit in zip(wanted, most, strict=True)]


def in_turns(
    points: Sequence[Point], process: int = 0, seconds: float = math.inf, at: Callable[[int], object] = lambda _: None
) -> list[Ended]:
    """Prepare all cells, warm them up, and measure their rounds in turns; what was seen of each, and how it ended.

    A cell that fails leaves the others alone, and has no rounds.
    process: number of this process among those of the series; the order of the turns is drawn from it.
    seconds: that the rounds may take together; see `plan`.
    at: is told which cell is on.
    """
    processes = max(1, points[0].case.processes)
    ended: list[Ended] = [(Measurement(), "ok", None) for _ in points]

    def carry_on(cell: int, action: Callable[[], object]) -> None:
        at(cell)
        status, error = ending(action)
        if status != "ok":
            ended[cell] = (Measurement(), status, error)

    with ExitStack() as stack:
        watches: dict[int, Stopwatch] = {}
        for cell, point in enumerate(points):
            watch = Stopwatch(point, REFERENCE_SECONDS / processes, ended[cell][0])

            def open_it(watch: Stopwatch = watch) -> None:
                stack.enter_context(watch).warm_up()

            carry_on(cell, open_it)
            watches[cell] = watch
        well = [cell for cell in watches if ended[cell][1] == "ok"]
        costs = [max(1e-9, watches[cell].seen.warmup_seconds or 0.0) for cell in well]
        most = [math.ceil(points[cell].rounds / processes) for cell in well]
        rounds = dict(zip(well, plan(costs, seconds, most), strict=True)) if well else {}
        draw = np.random.default_rng(process)
        for block in range(max(rounds.values(), default=0)):
            for cell in draw.permutation([cell for cell, count in rounds.items() if count > block]).tolist():
                if ended[cell][1] == "ok":
                    carry_on(cell, watches[cell].round)
    for seen, _, _ in ended:
        taken = sum(seen.seconds) * seen.calls + sum(sum(each) for each in seen.references.values())
        seen.elapsed = (seen.setup_seconds or 0.0) + (seen.warmup_seconds or 0.0) + taken
    return ended
