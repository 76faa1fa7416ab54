"""A record: what was measured of one cell, how that ended, and all that its figures depend on, as one line of JSON."""

from __future__ import annotations

import dataclasses
import datetime as dt
import itertools
import os
import statistics
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from benches.case import Params, Point, Unsupported, name_of
from benches.measure import machine, threads
from benches.measure.machine import Facts
from benches.measure.stopwatch import Measurement
from benches.terminal.text import named, told

SCHEMA = 1
FIFTHS = 5
LARGEST = 2**63
"""Numbers stay below it: 64 bits hold them, and no arithmetic of the report overflows."""
Status = Literal["ok", "failed", "unsupported"]


@dataclass(kw_only=True)
class Record(Measurement):
    """One line of `cases.jsonl`: a measurement, and what its figures depend on. Its lists are those of a Measurement.

    min, median, cpu_median: seconds of a call. rates: work per second by name.
    kpi_meanings: unit, formula and source of each KPI among the facts, as they were when it was taken.
    """

    key: str
    case: str
    version: str
    params: Params
    size: float
    unit: str
    clock: str
    budget: float
    status: Status
    error: str | None = None
    rounds: int = 0
    min: float | None = None
    median: float | None = None
    cpu_median: float | None = None
    rates: dict[str, float] = field(default_factory=dict)
    kpi_meanings: dict[str, list[str]] | None = None
    seeds: dict[str, int | str | None] = field(default_factory=dict)
    threads: dict[str, str | int | None] = field(default_factory=dict)
    machine: Facts = field(default_factory=dict)
    versions: Facts = field(default_factory=dict)
    commit: str | None = None
    dirty: bool | None = None
    profile: str = ""
    timestamp: str = ""
    missing: int = 0
    """Processes whose turns are still to come: the cell counts, and a resumed run adds them."""
    schema: int = SCHEMA

    @property
    def series(self) -> str:
        """The case and every parameter but the size and the seed: the cells that one curve joins."""
        return name_of(self.case, self.params, (self.unit, "seed"), words=True)

    @property
    def seed(self) -> int:
        """Of the cell's random inputs."""
        return int(self.params.get("seed", self.seeds.get("case") or 0))

    @property
    def where(self) -> str:
        """The case with all its parameters: `train/whole seed=42 mode=ctde algorithm=ppo ...`."""
        return name_of(self.case, self.params)

    @property
    def ratios(self) -> dict[str, float]:
        """How many times as long as each reference the call took: median over the rounds that have both."""
        return {
            name: statistics.median(mine / its for mine, its in zip(self.seconds, taken, strict=False))
            for name, taken in self.references.items()
            if taken and self.seconds
        }

    @property
    def by_process(self) -> list[list[float]]:
        """`decisive` of each process that the cell took turns in; all of it is one where it was measured alone."""
        starts = [0, *itertools.accumulate(self.turns)] if self.turns else [0, len(self.decisive)]
        return [self.decisive[start:end] for start, end in itertools.pairwise(starts)]

    @property
    def decisive(self) -> list[float]:
        """Seconds per round on the clock that decides for this case.

        Sizes that took turns on one thread are decided on CPU seconds, whatever the clock of the case.
        Of a whole training, whose one round is many iterations: FIFTHS estimates of all iterations, without the
        evaluation; each takes every fifth iteration, so that none has only early or only late ones.
        """
        if self.turns and self.threads.get("OMP_NUM_THREADS") == "1":
            return self.cpu_seconds
        iterations = self.facts.get("iteration_seconds") or ()
        if len(iterations) >= 2 * FIFTHS:
            parts = [iterations[first::FIFTHS] for first in range(FIFTHS)]
            return [statistics.fmean(part) * len(iterations) for part in parts]
        if iterations and self.rounds == 1:
            return [sum(iterations)]
        return self.cpu_seconds if self.clock == "cpu" else self.seconds


def record_of(
    point: Point, seen: Measurement, *, status: Status, error: str | None, profile: str, missing: int = 0
) -> Record:
    """The record of a cell as measured, with everything that its figures depend on."""
    case, measured = point.case, dataclasses.asdict(seen)
    median = statistics.median(seen.seconds) if seen.seconds else None
    return Record(
        key=point.key,
        case=case.name,
        version=case.version,
        params=point.params,
        size=point.size,
        unit=case.size,
        clock=case.clock,
        budget=case.budget,
        status=status,
        error=error,
        rounds=len(seen.seconds),
        min=min(seen.seconds, default=None),
        median=median,
        cpu_median=statistics.median(seen.cpu_seconds) if seen.cpu_seconds else None,
        rates={name: amount / median for name, amount in case.work(point.params).items()} if median else {},
        seeds={"case": point.seed, "PYTHONHASHSEED": os.environ.get("PYTHONHASHSEED")},
        threads=threads.observed(),
        machine=machine.machine(),
        versions=machine.versions(),
        commit=machine.commit(),
        dirty=machine.dirty(),
        profile=profile,
        missing=missing,
        kpi_meanings=measured["facts"].pop("kpi_meanings", None),
        timestamp=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        **measured,
    )


def plain(value: Any) -> Any:
    """`value` in JSON's own types: numpy scalars and arrays unwrapped, numbers that `load` refuses as null."""
    if isinstance(value, Mapping):
        return {told(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, int | float):
        return value if abs(value) < LARGEST else None
    return value if isinstance(value, str | None) else told(value)


class Failed(Exception):
    """What went wrong in another process, as one line."""


def one_line(error: BaseException) -> str:
    """`ValueError: what it says (file.py:12)`; what another process told, as it is."""
    if isinstance(error, Failed):
        return str(error)
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" ({Path(last[0].filename).name}:{last[0].lineno})" if last else ""
    return named(error) + where


def ending(measured: Callable[[], object]) -> tuple[Status, str | None]:
    """How a measurement ended, and why: whatever a cell raises is its record."""
    try:
        measured()
    except Unsupported as reason:
        return "unsupported", str(reason)
    except Exception as error:  # noqa: BLE001
        return "failed", one_line(error)
    return "ok", None


def fail(status: Status, error: str | None) -> None:
    """Raise Unsupported or Failed where a measurement elsewhere ended so."""
    if status != "ok":
        raise (Unsupported if status == "unsupported" else Failed)(error)
