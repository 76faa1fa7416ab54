"""Makes asv's classes from the table: `time_`, `peakmem_` and `track_` of a case, and the exponent of its curve.

asv prepares anew before every sample, so what is prepared is kept for as long as the parameters stay the same.
"""

from __future__ import annotations

import functools
import importlib.util
import itertools
import math
import time
from collections.abc import Callable, Mapping
from typing import Any

from benches.case import Case, Value
from benches.cases import CASES
from benches.measure import counters

Axes = tuple[str, ...]
TIMEOUT = 300
"""Seconds for one benchmark with one set of parameters; a new environment compiles the kernels first."""
CURVE_ROUNDS = 7
"""Rounds per size that a fitted exponent is taken from."""


class Rotation:
    """The prepared inputs of one cell, warmed up, and the number of the next round."""

    def __init__(self, case: Case, params: Mapping[str, Value]) -> None:
        self.case, self.size = case, float(params[case.size])
        self.prepared = case.setup(params)
        if case.warmup is None:
            case.call(self.prepared, 0)
        else:
            case.warmup(self.prepared)
        self.turns = itertools.count(1)

    def __call__(self) -> None:
        """The next call."""
        self.case.call(self.prepared, next(self.turns))


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


def benchmark(case: Case, module: str, sizes: Callable[[float], bool], **attributes: Any) -> dict[str, type]:
    """asv's class for a case, by its name, with those of the quick profile's cells whose size passes `sizes`."""
    cells = [point.params for point in case.points("quick") if sizes(point.size)]
    axes: Axes = tuple(cells[0])
    name = "".join(part.capitalize() for part in case.name.split("/"))

    def setup(self: Any, *values: Value) -> None:
        _skip_before_the_rooms()
        self.rotation = rotation(case.name, values, axes)

    def run(self: Any, *_: Value) -> None:
        self.rotation()

    body: dict[str, Any] = {
        "params": [list(dict.fromkeys(cell[axis] for cell in cells)) for axis in axes],
        "param_names": list(axes),
        "version": f"{case.name} {case.version}",
        "timeout": TIMEOUT,
        "setup": setup,
        "time_call": run,
        "peakmem_call": run,
        "track_python_calls": _tracked("calls", f"{name}: Python calls", lambda r: counters.calls(r)["python_calls"]),
        f"track_peak_bytes_per_{case.size.removesuffix('s')}": _tracked(
            "bytes",
            f"{name}: peak bytes per {case.size.removesuffix('s')}",
            lambda r: counters.peak_bytes(r) / r.size,
        ),
        "__doc__": f"{case.name} by {case.size}",
        "__module__": module,
        **attributes,
    }
    for figure, value in case.figures.items():
        body[f"track_{figure}"] = _tracked(figure, f"{name}: {figure}", functools.partial(_figure, value))
    return {name: type(name, (), body)}


def _figure(value: Callable[[Any, int], float], cell: Rotation) -> float:
    return value(cell.prepared, next(cell.turns))


def curve(case: Case, module: str, sizes: Callable[[float], bool]) -> dict[str, type]:
    """asv's class for the fitted exponent of a case over its sizes; nan where the data do not tell."""
    name = "".join(part.capitalize() for part in case.name.split("/")) + "Curve"

    def setup(_self: object) -> None:
        _skip_before_the_rooms()

    def track_exponent(_self: object) -> float:
        from benches.stats import scaling  # scipy loads only now

        samples: dict[float, list[float]] = {}
        for point in case.points("quick"):
            if not sizes(point.size):
                continue
            cell = Rotation(case, point.params)
            for _ in range(CURVE_ROUNDS):
                began = time.process_time()
                repeats = 0
                while repeats == 0 or time.process_time() - began < 0.005:
                    cell()
                    repeats += 1
                samples.setdefault(point.size, []).append((time.process_time() - began) / repeats)
        found = scaling.fit([samples], replicates=0)
        return found.exponent if not found.reason else math.nan

    track_exponent.unit, track_exponent.pretty_name = "exponent", f"{name}: exponent"  # type: ignore[attr-defined]
    body = {
        "version": f"{case.name} {case.version}",
        "timeout": TIMEOUT,
        "setup": setup,
        "track_exponent": track_exponent,
        "__doc__": f"k of t(N) = floor + c N^k, {case.name} by {case.size}",
        "__module__": module,
    }
    return {name: type(name, (), body)}
