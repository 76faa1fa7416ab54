"""Change points of series, by Apache Otava: `PYTHON benches/history/detect.py SERIES FOUND`, run by Otava's Python.

Otava wants releases of numpy of its own, so it has an environment of its own; this file needs nothing else. It finds
steps by energy statistics and keeps those that a t-test confirms (Fleming et al. 2023, doi:10.1145/3578244.3583719). A
drift is found as one step or several. What lasts for less than FEWEST commits, as a spike does, is left out.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

FEWEST = 3
"""Commits on either side of a change."""
CHANCE, LEAST = 0.001, 0.03
"""Largest p-value, and smallest share, of a change that is told."""


def changes(values: Sequence[float]) -> list[tuple[int, float, float]]:
    """Index of the first value after each change, and the means before and after it."""
    if len(values) < 2 * FEWEST:
        return []
    from otava.analysis import compute_change_points

    whole = 2 * len(values)  # one window: where several overlap, this release finds a change twice and fails
    found, _ = compute_change_points(list(values), window_len=whole, max_pvalue=CHANCE, min_magnitude=LEAST)
    edges = [0, *(point.index for point in found), len(values)]
    lasting = [min(edges[i] - edges[i - 1], edges[i + 1] - edges[i]) >= FEWEST for i in range(1, len(edges) - 1)]
    return [
        (int(point.index), float(point.stats.mean_1), float(point.stats.mean_2))
        for point, lasts in zip(found, lasting, strict=True)
        if lasts
    ]


def main(series: str, found: str) -> None:
    """Read {name: values} from a JSON file, and write {name: changes}."""
    read: dict[str, list[float]] = json.loads(Path(series).read_text(encoding="utf-8"))
    told = {name: changes(values) for name, values in read.items()}
    Path(found).write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
