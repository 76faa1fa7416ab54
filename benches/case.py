"""What a case is: a name, a grid of parameters per profile, what is prepared, what is timed, and what it may cost."""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Value = int | float | str
Params = Mapping[str, Value]
Values = tuple[Value, ...]
Grid = Mapping[str, Values]

PROFILES = ("quick", "study", "full")
GATE = "gate"
"""The profile of cases that only the gate runs, beside those of the profile it is asked for."""
METHOD = 3
"""How a cell is measured, counted up when its rounds mean something else: blocks of calls since 2, in turns since 3."""


class Unsupported(Exception):
    """A cell of the table that is not built yet: it is recorded as such, and is no failure. So is a reference."""


@dataclass(frozen=True)
class Outcome:
    """What a timed call may tell besides its time: seconds by phase, and figures worth keeping with the record.

    later: gives further facts, and is called when the clock has stopped.
    """

    phases: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    later: Callable[[], Mapping[str, Any]] = dict


@dataclass(frozen=True)
class Case:
    """One row of the table: something to be timed over a grid of parameters.

    name: `group/what`.
    size: the parameter on the size axis, named by what it counts.
    grids: parameter values by profile; a profile that is not named leaves the case out.
    setup(params): prepares once, untimed. close(prepared): releases.
    call(prepared, i): the timed call number i, which must rotate its inputs.
    warmup(prepared): the first, cold execution, timed apart; by default call(prepared, 0).
    work(params): what one call does, by name ("orders", "env_steps"); over the median these are the rates.
    budget: largest acceptable exponent k of t(N) = floor + c N^k; n log n sorting looks like k = 1.19.
    rounds(params): how many rounds are timed at most, each a block of calls where one is short; where sizes take
        turns, in all processes together.
    processes: in how many processes, one after the other, the sizes of a series take turns round by round, so that the
        drift of the machine's speed cancels and processes that differ can be told apart; 0 measures each cell alone.
    seconds: that the rounds of a series in turns may take in one process; dear sizes then have fewer of them.
    beside(params): where a run has a time limit, the cells are measured two at a time after all others, least values
        first, for as long as there is time: what they yield counts, and not how long they take.
    clock: "cpu" (single-threaded, decided on CPU seconds), "wall", or "none": nothing is timed, and what one call
        tells as facts (numbers) is compared between two commits.
    version: change it when the timed work changes.
    seed: of every random input.
    options: axes that only a selection adds.
    references: what the call is compared with, by name; timed after it, round by round on the same inputs.
        One that raises Unsupported is left out of the cell.
    figures(prepared, i): what a call yields rather than costs, by name ("trades"): the same on every machine.
    """

    name: str
    size: str
    grids: Mapping[str, Grid]
    setup: Callable[[Params], Any]
    call: Callable[[Any, int], Outcome | None]
    work: Callable[[Params], dict[str, float]]
    budget: float = 1.25
    rounds: Callable[[Params], int] = lambda _: 1
    processes: int = 0
    seconds: float = math.inf
    beside: Callable[[Params], tuple[float, ...]] | None = None
    clock: Literal["cpu", "wall", "none"] = "cpu"
    version: str = "1"
    seed: int = 42
    options: tuple[str, ...] = ()
    references: Mapping[str, Callable[[Any, int], object]] = field(default_factory=dict)
    figures: Mapping[str, Callable[[Any, int], float]] = field(default_factory=dict)
    warmup: Callable[[Any], object] | None = None
    close: Callable[[Any], object] = lambda _: None

    @property
    def group(self) -> str:
        """The part of the name before the slash: what a person asks for."""
        return self.name.split("/", 1)[0]

    def warm_up(self, prepared: Any) -> None:
        """The first, cold execution."""
        if self.warmup is None:
            self.call(prepared, 0)
        else:
            self.warmup(prepared)

    def points(self, profile: str, selection: Mapping[str, Values] | None = None) -> list[Point]:
        """Every parameter combination of a profile, sizes fastest; `selection` replaces the values of axes it names.

        A profile has the cases that name it; axes that the case does not have are ignored, but for its `options`.
        """
        grid = self.grids.get(profile)
        if grid is None:
            return []
        selected = selection or {}
        chosen = {axis: selected[axis] for axis in self.options if axis in selected}
        for axis, values in grid.items():
            chosen[axis] = selected.get(axis) or values
        axes = [axis for axis in chosen if axis != self.size] + [self.size]
        combinations = itertools.product(*(chosen[axis] for axis in axes))
        return [Point(self, dict(zip(axes, values, strict=True))) for values in combinations]

    def smallest(self, profile: str, selection: Mapping[str, Values] | None = None) -> list[Point]:
        """The points of `points` whose every number is the least of its axis: one per combination of names."""
        points = self.points(profile, selection)
        axes = {axis for point in points for axis, value in point.params.items() if not isinstance(value, str)}
        least = {axis: min(float(point.params[axis]) for point in points) for axis in axes}
        return [point for point in points if all(point.params[axis] == value for axis, value in least.items())]


@dataclass(frozen=True)
class Point:
    """One cell: a case with its parameters. It knows its work, its place on the size axis and its key."""

    case: Case
    params: Params

    @property
    def size(self) -> float:
        """Where the cell stands on the size axis."""
        return float(self.params[self.case.size])

    @property
    def rounds(self) -> int:
        """How many rounds are timed."""
        return self.case.rounds(self.params)

    @property
    def seed(self) -> int:
        """Of the cell's random inputs: the case's own, unless seeds are an axis."""
        return int(self.params.get("seed", self.case.seed))

    @property
    def label(self) -> str:
        """`group-what-a=1-b=ppo`: unique in the table, usable as a test id."""
        return name_of(self.case.name.replace("/", "-"), self.params).replace(" ", "-")

    @property
    def key(self) -> str:
        """Short digest of what makes two measurements the same one: a record of it need not be taken again."""
        what = [METHOD, self.case.name, self.case.version, sorted(self.params.items()), self.rounds, self.seed]
        return hashlib.sha256(json.dumps(what, separators=(",", ":")).encode()).hexdigest()[:16]


def name_of(case: str, params: Params, without: Container[str] = (), *, words: bool = False) -> str:
    """`train/whole mode=ctde agents=10`: a cell, or those that differ in the axes `without`. words: `ctde` for text."""
    parts = {axis: value for axis, value in params.items() if axis not in without}
    return " ".join([case, *(v if words and isinstance(v, str) else f"{axis}={v}" for axis, v in parts.items())])


def table(*cases: Case) -> dict[str, Case]:
    """The cases by name; two with one name are an error."""
    found = {case.name: case for case in cases}
    if len(found) != len(cases):
        names = [case.name for case in cases]
        raise ValueError(f"cases: got {max(names, key=names.count)!r} twice; allowed: each name once")
    return found
