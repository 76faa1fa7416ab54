"""Makes asv's classes from the table: `time_`, `peakmem_` and `track_` of a case, and the exponent of its curve.

asv prepares anew before every sample, so what is prepared is kept for as long as the parameters stay the same.
"""

from __future__ import annotations

import functools
import importlib.util
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from benches.case import Case, Point, Value
from benches.cases import CASES
from benches.measure import counters
from benches.measure.counters import Rotation
from benches.measure.stopwatch import Measurement, measure

Axes = tuple[str, ...]
TIMEOUT = 300
"""Seconds for one benchmark with one set of parameters; a new environment compiles the kernels first."""
CURVE_ROUNDS = 7
"""Rounds per size that a fitted exponent is taken from."""


@functools.lru_cache(maxsize=1)
def rotation(name: str, values: tuple[Value, ...], axes: Axes) -> Rotation:
    """The cell of a case with these parameters; the last one asked for is kept."""
    return Rotation(CASES[name], dict(zip(axes, values, strict=True)))


def _skip_before_the_rooms() -> None:
    """asv runs HEAD's benchmarks over the market of each commit, and skips those that raise this."""
    if importlib.util.find_spec("market.support") is None:
        raise NotImplementedError("this commit's modules have other names: its market is from before the rooms")


def _tracked(unit: str, title: str, value: Callable[[Rotation], float]) -> Callable[..., float]:
    def track(self: Any, *_: Value) -> float:
        return value(self.rotation)

    track.unit, track.pretty_name = unit, title  # type: ignore[attr-defined]
    return track


def benchmark(case: Case, module: str, points: Sequence[Point], **attributes: Any) -> dict[str, type]:
    """asv's class for a case, by its name, with these of its cells."""
    axes: Axes = tuple(points[0].params)
    name, size = _class_name(case), case.size.removesuffix("s")

    def setup(self: Any, *values: Value) -> None:
        _skip_before_the_rooms()
        self.rotation = rotation(case.name, values, axes)

    def run(self: Any, *_: Value) -> None:
        self.rotation()

    def figure(of: Callable[[Any, int], float]) -> Callable[[Rotation], float]:
        return lambda cell: of(cell.prepared, next(cell.turns))

    tracked: dict[str, tuple[str, str, Callable[[Rotation], float]]] = {
        "python_calls": ("calls", "Python calls", lambda cell: counters.calls(cell)["python_calls"]),
        f"peak_bytes_per_{size}": ("bytes", f"peak bytes per {size}", lambda c: counters.peak_bytes(c) / c.size),
        **{yielded: (yielded, yielded, figure(of)) for yielded, of in case.figures.items()},
    }
    body = {
        "params": [list(dict.fromkeys(point.params[axis] for point in points)) for axis in axes],
        "param_names": list(axes),
        "setup": setup,
        "time_call": run,
        "peakmem_call": run,
        "__doc__": f"{case.name} by {case.size}",
        **attributes,
    }
    for key, (unit, title, value) in tracked.items():
        body[f"track_{key}"] = _tracked(unit, f"{name}: {title}", value)
    return {name: _class(name, case, module, body)}


def curve(case: Case, module: str, points: Sequence[Point]) -> dict[str, type]:
    """asv's class for the fitted exponent of a case over its sizes; nan where the data do not tell."""
    name = f"{_class_name(case)}Curve"
    timed = replace(case, references={}, rounds=lambda _: CURVE_ROUNDS)

    def setup(_self: object) -> None:
        _skip_before_the_rooms()

    def track_exponent(_self: object) -> float:
        from benches.stats import scaling  # scipy loads only now

        samples: dict[float, list[float]] = {}
        for point in points:
            seen = Measurement()
            measure(Point(timed, point.params), seen)
            samples.setdefault(point.size, []).extend(seen.cpu_seconds)
        found = scaling.fit([samples])
        return found.exponent if not found.reason else math.nan

    track_exponent.unit, track_exponent.pretty_name = "exponent", f"{name}: exponent"  # type: ignore[attr-defined]
    about = f"k of t(N) = floor + c N^k, {case.name} by {case.size}"
    return {name: _class(name, case, module, {"setup": setup, "track_exponent": track_exponent, "__doc__": about})}


def _class_name(case: Case) -> str:
    return "".join(part.capitalize() for part in case.name.split("/"))


def _class(name: str, case: Case, module: str, body: dict[str, Any]) -> type:
    """What every benchmark of asv has; the version says when a history begins anew."""
    return type(name, (), {"version": f"{case.name} {case.version}", "timeout": TIMEOUT, "__module__": module, **body})
