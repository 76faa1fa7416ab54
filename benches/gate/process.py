"""The near side of a worker: start it, ask it, give up on it after a time, and leave no process behind."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from benches.measure import threads
from benches.measure.process import Lost, Process

WORKER = Path(__file__).with_name("worker.py")
START_LIMIT = 120.0
"""Seconds within which a worker must have loaded its table."""
Answer = dict[str, Any]


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
        `unsupported` where the case is not built yet, and `idle` where the turn of this worker never came.
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
