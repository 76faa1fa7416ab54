"""asv's view of a training iteration, by mode, algorithm and number of agents; made from the table."""

from __future__ import annotations

from benches.cases import CASES
from benches.history import view as asv_view

SIZES, ALGORITHMS = (10,), ("ppo",)
"""The gate's ratios tell of the other algorithms: each takes a process that loads torch."""
ONE_CALL = {"number": 1, "repeat": 5, "rounds": 1, "min_run_count": 1, "warmup_time": 0.0}
"""An iteration takes long enough to be timed alone; the first one is not among those that asv sees."""

_CASE = CASES["train/iteration"]
_POINTS = _CASE.points("quick", {"algorithm": ALGORITHMS, "agents": SIZES})
globals().update(asv_view.benchmark(_CASE, __name__, _POINTS, **ONE_CALL))
