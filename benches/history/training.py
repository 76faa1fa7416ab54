"""asv's view of a training iteration, by mode, algorithm and number of agents; made from the table."""

from __future__ import annotations

from benches.cases import CASES
from benches.history import view as asv_view
from benches.measure import threads

SIZES = (1, 10, 100)
ONE_CALL = {"number": 1, "repeat": 5, "rounds": 1, "min_run_count": 1, "warmup_time": 0.0}
"""An iteration takes long enough to be timed alone; the first one is not among those that asv sees."""

threads.pin()

globals().update(asv_view.benchmark(CASES["train/iteration"], __name__, lambda size: size in SIZES, **ONE_CALL))
