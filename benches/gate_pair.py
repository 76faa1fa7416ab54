"""A process pair: one worker of base and one of head, both alive, timed in turns of a few hundredths of a second.

What disturbs the machine for longer than a turn thus falls on both; what differs between processes (where memory came
to lie) differs anew in the next pair.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benches.gate_plan import Cell
from benches.gate_process import Lost, Refused, Worker

Floats = NDArray[np.float64]
SIDES = ("base", "head")
SAMPLE = 0.01
"""Least seconds of a sample: shorter calls are repeated within it."""
SAMPLES, FEWEST = 20, 3
SHARE = 1.0
"""Seconds that the samples of a cell may take on one side of one pair, unless FEWEST of them take longer."""
TURN = 0.03
"""Seconds for which one side runs before it is the other's turn."""
MAX_BATCH = 2000
FIRST = 10
"""The first timed round; those before warm up, show the cost and are counted."""


class Failed(Exception):
    """One side could not run a cell."""

    def __init__(self, side: str, text: str, *, unsupported: bool = False) -> None:
        super().__init__(text)
        self.side, self.unsupported = side, unsupported


@dataclass(frozen=True)
class Dose:
    """How a cell is timed: `samples` of `batch` calls each, `turn` samples in a row."""

    batch: int
    samples: int
    turn: int


@dataclass(frozen=True)
class Sampled:
    """Seconds per call, one value per sample, by side and clock; sample i of both sides had the same inputs."""

    seconds: Mapping[str, Mapping[str, Floats]]

    def ratios(self, clock: str) -> Floats:
        """Paired log ratios head / base."""
        base, head = (np.maximum(self.seconds[side][clock], 1e-9) for side in SIDES)
        return np.log(head / base)


def dose(cell: Cell, cost: float) -> Dose:
    """How to time a cell whose call takes `cost` seconds."""
    if cell.clock == "wall":  # a training goes on with every call, so it gets the rounds that it was made for
        return Dose(1, max(FEWEST, min(cell.rounds, int(2 * SHARE / cost))), 1)
    batch = max(1, min(MAX_BATCH, math.ceil(SAMPLE / cost)))
    samples = max(FEWEST, min(SAMPLES, int(SHARE / (batch * cost))))
    return Dose(batch, samples, max(1, min(samples, round(TURN / (batch * cost)))))


class Pair:
    """Two workers, to be used with `with`; one that was lost is started anew for the next cell."""

    def __init__(self, folders: Mapping[str, Path], limit: float) -> None:
        self.folders, self.limit = folders, limit
        self._stack = contextlib.ExitStack()
        self._workers: dict[str, Worker] = {}

    def __enter__(self) -> Pair:
        """Start both workers, which load side by side."""
        for side in SIDES:
            self._start(side)
        return self

    def __exit__(self, *error: object) -> None:
        """End both."""
        self._stack.close()

    def _start(self, side: str) -> None:
        self._workers[side] = self._stack.enter_context(Worker(self.folders[side]))

    def ask(self, side: str, **request: Any) -> dict[str, Any]:
        """One side's answer."""
        self._workers[side].send(**request)
        return self._receive(side)

    def _receive(self, side: str) -> dict[str, Any]:
        try:
            return self._workers[side].receive(self.limit)
        except Refused as error:
            raise Failed(side, str(error), unsupported=error.unsupported) from None
        except Lost as error:
            self._workers[side].stop()
            self._start(side)
            raise Failed(side, str(error)) from None

    def both(self, **request: Any) -> dict[str, dict[str, Any]]:
        """Both sides' answers to one request, worked on at the same time. Raises the first Failed, head's if both."""
        for side in SIDES:
            self._workers[side].send(**request)
        found, failed = {}, {}
        for side in SIDES:
            try:
                found[side] = self._receive(side)
            except Failed as error:
                failed[side] = error
        if failed:
            raise failed.get("head") or failed["base"]
        return found

    def listing(self, profile: str) -> dict[str, list[dict[str, Any]]]:
        """The cells of both tables."""
        return {side: a["cells"] for side, a in self.both(do="listing", profile=profile, selection={}).items()}

    @contextlib.contextmanager
    def opened(self, cell: Cell) -> Any:
        """The cell prepared and warm on both sides; gives the seconds that a call takes on the slower one."""
        answers = self.both(do="open", case=cell.case, params=cell.params)
        yield max(answer["cost"] for answer in answers.values())
        self.both(do="close")

    def counters(self) -> dict[str, dict[str, float]]:
        """The deterministic figures of the open cell, by side."""
        return {side: answer["counters"] for side, answer in self.both(do="count").items()}

    def sample(self, how: Dose, turn: int) -> Sampled:
        """Time the open cell in turns: base, head, head, base, ..., or the other way round where `turn` is odd."""
        clocks = ("cpu", "wall")
        seconds: dict[str, dict[str, list[float]]] = {side: {clock: [] for clock in clocks} for side in SIDES}
        for start in range(0, how.samples, how.turn):
            order = SIDES if turn % 2 == 0 else SIDES[::-1]
            turn += 1
            for side in order:
                count = min(how.turn, how.samples - start)
                first = FIRST + start * how.batch
                taken = self.ask(side, do="time", first=first, batch=how.batch, samples=count)
                for clock in clocks:
                    seconds[side][clock] += taken[clock]
        return Sampled(
            {s: {c: np.array(values) / how.batch for c, values in clocked.items()} for s, clocked in seconds.items()}
        )
