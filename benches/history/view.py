"""Makes asv's classes from the table: `time_` and `track_` of a case.

asv prepares anew before every sample, so what is prepared is kept for as long as the parameters stay the same.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

from benches.case import Case, Point, Value
from benches.cases import CASES
from benches.measure import counters
from benches.measure.counters import Rotation

Axes = tuple[str, ...]
ONCE = {"rounds": 1, "repeat": (3, 10, 2.0)}
"""asv times in one process of its own, up to two seconds: its second round would load everything anew."""
TIMEOUT = 300
"""Seconds for one benchmark with one set of parameters; a new environment compiles the kernels first."""


@functools.lru_cache(maxsize=1)
def rotation(name: str, values: tuple[Value, ...], axes: Axes) -> Rotation:
    """The cell of a case with these parameters; the last one asked for is kept."""
    return Rotation(CASES[name], dict(zip(axes, values, strict=True)))


def _tracked(unit: str, title: str, value: Callable[[Rotation], float]) -> Callable[..., float]:
    def track(self: Any, *_: Value) -> float:
        return value(self.rotation)

    track.unit, track.pretty_name = unit, title  # type: ignore[attr-defined]
    return track


def benchmark(case: Case, module: str, points: Sequence[Point], **attributes: Any) -> dict[str, type]:
    """asv's class for a case, by its name, with these of its cells."""
    axes: Axes = tuple(points[0].params)
    name = "".join(part.capitalize() for part in case.name.split("/"))

    def setup(self: Any, *values: Value) -> None:
        self.rotation = rotation(case.name, values, axes)

    def run(self: Any, *_: Value) -> None:
        self.rotation()

    def figure(of: Callable[[Any, int], float]) -> Callable[[Rotation], float]:
        return lambda cell: of(cell.prepared, next(cell.turns))

    tracked: dict[str, tuple[str, str, Callable[[Rotation], float]]] = {
        "python_calls": ("calls", "Python calls", lambda cell: counters.calls(cell)["python_calls"]),
        **{yielded: (yielded, yielded, figure(of)) for yielded, of in case.figures.items()},
    }
    body = {
        "params": [list(dict.fromkeys(point.params[axis] for point in points)) for axis in axes],
        "param_names": list(axes),
        "setup": setup,
        "time_call": run,
        "__doc__": f"{case.name} by {case.size}",
        **ONCE,
        **attributes,
    }
    for key, (unit, title, value) in tracked.items():
        body[f"track_{key}"] = _tracked(unit, f"{name}: {title}", value)
    version = f"{case.name} {case.version}"  # says when a history begins anew
    return {name: type(name, (), {"version": version, "timeout": TIMEOUT, "__module__": module, **body})}
