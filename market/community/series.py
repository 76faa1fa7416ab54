"""Series in kWh or $/MWh from arrays and CSV files, checked on entry."""

from __future__ import annotations

import csv
import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from market.support import check
from market.support.arrays import Floats, Ints

MAX_NUMBER = 1e12
"""Largest number of a series: a billion times what a neighbourhood uses, and its sums are still finite."""
NUMBER = re.compile(r"\s*[-+]?[\d.]+(e[-+]?\d+)?\s*", re.IGNORECASE)
Source = ArrayLike | str | os.PathLike[str]


def check_numbers(
    field: str, value: object, dims: Sequence[int] = (1,), unit: str = "numbers", row: str = "agents"
) -> Floats:
    """A copy of `value` as float64, or a one-line ValueError.

    field: its name in errors.
    value: finite numbers >= 0, at least one: a number, [T], or a row of T for each agent or day.
    dims: allowed numbers of dimensions, of 0, 1 and 2.
    unit: in errors.
    row: what the rows are, in errors.
    """
    shapes, allowed = ((), ("steps",), (row, "steps")), f"finite {unit} >= 0 and <= {MAX_NUMBER:g}"
    values = check.array(field, value, *(shapes[count] for count in dims), low=0.0, high=MAX_NUMBER, allowed=allowed)
    if not values.size:
        raise ValueError(f"{field}: got shape {list(values.shape)}; allowed: at least one step")
    return values


def resample(energy: ArrayLike, hours: float, steps: int, step_hours: float) -> Floats:
    """Energy in steps of another length, [S] or [N, S] to [T] or [N, T], kWh.

    energy: kWh in steps of `hours`, at least as long as the result. Power is even within a step, so no energy is lost.
    hours, step_hours: length of a step before and after, h.
    steps: T.

    Prices do not add up: multiply their result by hours / step_hours.
    """
    given = check_numbers("energy", energy, (1, 2))
    hours = check.number("hours", hours, 1e-6, 8784.0, "h")
    step_hours = check.number("step_hours", step_hours, 1e-6, 8784.0, "h")
    needed, reach = check.whole("steps", steps) * step_hours, given.shape[-1] * hours
    if reach < needed * (1 - 1e-9):
        raise ValueError(f"energy: got {given.shape[-1]} values, {reach:g} h; allowed: at least {needed:g} h")
    if hours == step_hours:
        return given[..., :steps]
    total = np.cumsum(np.insert(given, 0, 0.0, axis=-1), axis=-1)
    edges, known = np.arange(steps + 1) * step_hours / hours, np.arange(total.shape[-1])
    until = np.apply_along_axis(lambda energy: np.interp(edges, known, energy), -1, total)
    return np.maximum(np.diff(until), 0.0)


def as_profile(source: Source, steps: int, num_agents: int, field: str) -> Floats:
    """A profile per agent [N, T], in the unit of the source.

    source: an array [N, T], a row per agent; an array [T] or a number for all agents; or a CSV file, see `numbers_of`.
    field: its name in errors.
    """
    shape = check.whole("num_agents", num_agents), check.whole("steps", steps)
    values = check.array(field, numbers_of(source, field), (), shape[1:], shape)
    return np.array(np.broadcast_to(values, shape))


def first_steps(days: int, steps: int, step_hours: float) -> Ints:
    """The steps of a long series at which days begin, [D]: at midnight, or the step nearest to it.

    steps, step_hours: of a day, T and h. One of more than 24 h takes as many whole days as it needs.
    """
    apart = 24 * math.ceil(steps * step_hours / 24 - 1e-9)
    return np.rint(np.arange(days) * apart / step_hours).astype(np.int64)


def cut_days(series: Floats, steps: int, step_hours: float) -> Floats:
    """The whole days in `series` [N, S], as [N, D, T].

    series: per step, from midnight on, S >= T.
    steps, step_hours: of a day, T and h.
    """
    first = first_steps(1 + series.shape[-1] // steps, steps, step_hours)
    first = first[first + steps <= series.shape[-1]]
    return np.asarray(series[:, first[:, None] + np.arange(steps)])


def days_of(source: Source, steps: int, step_hours: float, num_agents: int, field: str) -> Floats:
    """Days of a profile per agent, [N, D, T], in the unit of the source.

    source: as in `as_profile`, of one day or of whole days from midnight on.
    steps, step_hours: of a day, T and h.
    field: its name in errors.
    """
    values, (_, day) = numbers_of(source, field), first_steps(2, steps, step_hours)
    size = values.shape[-1] if values.ndim and values.shape[-1] % day == 0 else steps
    return cut_days(as_profile(values, size, num_agents, field), steps, step_hours)


def numbers_of(source: Source, field: str, dims: Sequence[int] = (0, 1, 2)) -> Floats:
    """Numbers >= 0 of an array or a CSV file, in the unit of the source: [], [T] or [N, T].

    source: a CSV file has a header row, then a row per step, with one column for all agents or one per agent.
    field: its name in errors.
    dims: allowed numbers of dimensions.
    """
    values = _read_csv(Path(source), field) if isinstance(source, str | os.PathLike) else source
    return check_numbers(field, values, dims)


def _read_csv(path: Path, field: str) -> Floats:
    """The numbers under the header row: [T] from one column, else [columns, T]."""
    got = check.shown(str(path), 200)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, ValueError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{field}: got {got}; allowed: a CSV file that can be read ({reason})") from None
    if not rows or all(map(NUMBER.fullmatch, rows[0])):
        raise ValueError(f"{field}: got {got} without a header; allowed: a row of names, then a row per step")
    values = np.empty((len(rows) - 1, len(rows[0])))
    for number, row in enumerate(rows[1:]):
        try:
            values[number] = [float(cell) for cell, _ in zip(row, rows[0], strict=True)]
        except ValueError:
            where = f"row {number + 2} of {path}; allowed: {len(rows[0])} numbers"
            raise ValueError(f"{field}: got {check.shown(row)} in {where}") from None
    return values[:, 0] if len(rows[0]) == 1 else values.T
