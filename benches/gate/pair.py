"""A process pair: one worker of base and one of head, both alive, timed in turns of milliseconds on the same core.

What disturbs the machine for longer than a turn then affects both alike: on a shared machine the speed of a core
changes by half within a hundredth of a second, and differs between cores. What differs between processes, such as where
their memory lies, differs anew in the next pair.
"""

from __future__ import annotations

import contextlib
import math
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benches.gate.plan import Cell
from benches.measure import threads
from benches.measure.process import Lost, Process

Floats = NDArray[np.float64]
Answer = dict[str, Any]
WORKER = Path(__file__).with_name("worker.py")
START_LIMIT = 120.0
"""Seconds within which a worker must have loaded its table."""
SIDES = ("base", "head")
SAMPLE = 0.002
"""Least seconds of a sample, after which it is the other side's turn: shorter calls are repeated within it."""
SAMPLES, FEWEST = 60, 5
SHARE = 0.6
"""Seconds that the samples of a cell may take on one side of one pair, unless FEWEST of them take longer."""
MAX_BATCH = 2000
TRAINING_SHARE, FEWEST_TRAININGS = 2.0, 2
"""The same for a training, which goes on with every call."""
FIRST = 10
"""The first timed round; those before warm up, show the cost and are counted."""


class Failed(Exception):
    """One side could not run a cell."""

    def __init__(self, side: str, text: str) -> None:
        super().__init__(text)
        self.side = side


class Worker(Process):
    """One process over one checkout.

    turns: the file descriptors by which it waits for its turn and gives the turn to the other worker of the pair.
    start_limit: seconds within which it must have loaded its table.
    """

    def __init__(self, checkout: Path, turns: tuple[int, int], start_limit: float = START_LIMIT) -> None:
        super().__init__("-P", str(WORKER), *map(str, turns), passed=turns, cwd=checkout, env=environment(checkout))
        self.start_limit = start_limit
        self._hello: Answer = {}

    def load(self) -> None:
        """Wait until the table is loaded; `receive` tells what went wrong."""
        self._hello = self._hello or self._asked(self.start_limit, self.start_limit)

    def receive(self, limit: float, left: float | None = None) -> Answer:
        """The answer to the oldest request, after `limit` seconds at most.

        It has `error` where the case failed, `lost` besides where the worker died or was killed for want of an answer,
        and `idle` where the turn of this worker never came.
        left: what is left of the limit, where a part has passed.
        """
        self.load()
        return self._hello if "error" in self._hello else self._asked(limit, limit if left is None else left)

    def _asked(self, limit: float, left: float) -> Answer:
        try:
            return dict(self.answer(left))
        except TimeoutError:
            self.stop()
            return {"error": f"no answer within {limit:.0f} s; killed", "lost": True}
        except Lost as error:
            return {"error": str(error), "lost": True}


def environment(checkout: Path) -> dict[str, str]:
    """What both sides are given alike: one thread, one order of sets, no reports to outside, the checkout's code."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {
        **kept,
        **threads.pin(),
        "PYTHONPATH": str(checkout),
        "PYTHONHASHSEED": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "MPLBACKEND": "Agg",
    }


@dataclass(frozen=True)
class Opened:
    """What is known of an open cell, on the slower side.

    setup, cost: seconds of its preparation and of a call.
    alone: whether CPU seconds miss nothing, as no other process and no accelerator computes.
    """

    setup: float
    cost: float
    alone: bool


@dataclass(frozen=True)
class Sampled:
    """Seconds per call, one value per sample, by side and clock; sample i of both sides had the same inputs."""

    seconds: Mapping[str, Mapping[str, Floats]]

    def ratios(self, clock: str) -> Floats:
        """Paired log ratios head / base."""
        base, head = (np.maximum(self.seconds[side][clock], 1e-9) for side in SIDES)
        return np.log(head / base)


def dose(cell: Cell, cost: float) -> tuple[int, int]:
    """How to time a cell whose call takes `cost` seconds: calls of a sample, and number of samples."""
    if cell.clock == "wall":  # a training goes on with every call, so it gets no more rounds than it was made for
        return 1, max(FEWEST_TRAININGS, min(cell.rounds, int(TRAINING_SHARE / cost)))
    batch = max(1, min(MAX_BATCH, math.ceil(SAMPLE / cost)))
    return batch, max(FEWEST, min(SAMPLES, int(SHARE / (batch * cost))))


class Pair(contextlib.AbstractContextManager["Pair"]):
    """Two workers, which load side by side; when one is lost, both are started anew for the next cell.

    limit: seconds for one answer. deadline: monotonic time after which no answer is waited for.
    """

    def __init__(
        self, folders: Mapping[str, Path], limit: float, number: int = 0, start_limit: float = START_LIMIT
    ) -> None:
        self.folders, self.limit, self.number = folders, limit, number
        self.start_limit = min(START_LIMIT, max(1.0, start_limit))
        self.deadline = math.inf
        self._stack = contextlib.ExitStack()
        self._workers: dict[str, Worker] = {}
        self._start()

    def __exit__(self, *error: object) -> None:
        """End both."""
        self._stack.close()

    def _start(self) -> None:
        """Two workers, each of which can give the other its turn."""
        self._stack.close()
        there, back = os.pipe(), os.pipe()
        try:
            for side, ends in zip(SIDES, ((there[0], back[1]), (back[0], there[1])), strict=True):
                self._workers[side] = self._stack.enter_context(Worker(self.folders[side], ends, self.start_limit))
        finally:
            for end in (*there, *back):
                os.close(end)  # the workers have theirs; with these open none would see that the other one ended

    def ask(self, requests: Mapping[str, Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
        """A request for each side, worked on at the same time; their answers.

        Raises Failed for the side that is to blame; head, if both are.
        """
        for side in SIDES:
            self._workers[side].send(requests[side])
        for side in SIDES:
            self._workers[side].load()
        end = min(time.monotonic() + self.limit, self.deadline)
        found = {side: self._workers[side].receive(self.limit, max(0.0, end - time.monotonic())) for side in SIDES}
        failed = [side for side in SIDES if "error" in found[side]]
        idle = any("idle" in answer for answer in found.values())
        lost = any("lost" in answer for answer in found.values())
        if idle or lost or (failed and "samples" in requests["base"]):  # turns may be left over in the pipes
            self._start()
        if failed:
            raise Failed(failed[-1], found[failed[-1]]["error"])
        if idle:
            raise Failed("head", "both sides waited for their turn")
        return found

    def both(self, **request: Any) -> dict[str, dict[str, Any]]:
        """The same request for both sides."""
        return self.ask(dict.fromkeys(SIDES, request))

    def listing(self, profile: str) -> dict[str, list[Cell]]:
        """The cells of both tables."""
        answers = self.both(do="listing", profile=profile)
        return {side: [Cell(**row) for row in answer["cells"]] for side, answer in answers.items()}

    @contextlib.contextmanager
    def opened(self, cell: Cell) -> Iterator[Opened]:
        """The cell prepared and warm on both sides."""
        answers = self.both(do="open", case=cell.case, params=cell.params).values()
        setup, cost = (max(answer[name] for answer in answers) for name in ("setup", "cost"))
        yield Opened(setup, cost, all(answer["alone"] for answer in answers))
        self.both(do="close")

    def sample(self, batch: int, samples: int, clock: str) -> Sampled:
        """Time the open cell, side by side in turns. Base begins in every other pair; the cores take turns, too.

        batch: calls of a sample.
        samples: of either side.
        clock: the one that decides; both sides keep to one core for CPU seconds.
        """
        cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else [None]
        request = {
            "do": "time",
            "first": FIRST,
            "batch": batch,
            "samples": samples,
            "core": cores[self.number // 2 % len(cores)] if clock == "cpu" else None,
            "limit": 0.8 * min(self.limit, max(0.1, self.deadline - time.monotonic())),
        }
        leader = SIDES[self.number % 2]
        answers = self.ask({side: {**request, "leads": side == leader} for side in SIDES})
        clocks = ("cpu", "wall")
        return Sampled({side: {c: np.array(answers[side][c]) / batch for c in clocks} for side in SIDES})
