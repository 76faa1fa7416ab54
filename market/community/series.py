"""Series of your own, from arrays, numbers or CSV files, checked on entry."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from market.clearing.orders import Floats
from market.config import check_positive_int, check_range

Source = ArrayLike | str | os.PathLike[str]


def resample(energy: ArrayLike, hours: float, steps: int, step_hours: float) -> Floats:
    """Energy by step of `hours` h as energy by step of `step_hours` h: [..., S] to [..., T = steps], kWh.

    Power >= 0 is even within a given step, so nothing is lost: the sums over common hours are the same. The given
    series has to reach as far as the steps. Prices do not add up: resample(price * hours, ...) / step_hours.
    """
    given = np.asarray(energy, np.float64)
    if not given.ndim or not (np.isfinite(given) & (given >= 0)).all():
        raise ValueError(f"energy: got {energy!r:.60}; allowed: finite numbers >= 0, [..., steps]")
    check_range("hours", hours, 1e-6, 8784.0, "h")
    check_range("step_hours", step_hours, 1e-6, 8784.0, "h")
    needed, reach = check_positive_int("steps", steps) * step_hours, given.shape[-1] * hours
    if reach < needed * (1 - 1e-9):
        raise ValueError(f"energy: got {given.shape[-1]} values, {reach:g} h; allowed: at least {needed:g} h")
    if hours == step_hours:
        return given[..., :steps]
    total = np.concatenate((np.zeros((*given.shape[:-1], 1)), np.cumsum(given, -1)), -1)
    place = np.minimum(np.arange(steps + 1) * step_hours / hours, given.shape[-1])
    before = np.minimum(place.astype(np.int64), given.shape[-1] - 1)
    until = total[..., before] + (place - before) * given[..., before]
    return np.maximum(np.diff(until, axis=-1), 0.0)


def as_profile(source: Source, steps: int, num_agents: int, field: str) -> Floats:
    """A measured profile [N, T], in kW or $/MWh as it comes: from an array [N, T], an array [T] or a number for all
    agents, or a CSV file with a header row, then a row per step, with one column per agent or a single one for all.

    Numbers are finite and at least 0. `field` names the profile in errors.
    """
    values = numbers_of(source, field)
    if values.ndim == 2 and len(values) != num_agents:
        raise ValueError(f"{field}: got {len(values)} profiles; allowed: {num_agents}, one per agent, or one [steps]")
    if values.ndim and values.shape[-1] != steps:
        raise ValueError(f"{field}: got {values.shape[-1]} values; allowed: {steps}, one per step")
    return np.array(np.broadcast_to(values, (num_agents, steps)))


def numbers_of(source: Source, field: str) -> Floats:
    """What `as_profile` takes, as numbers >= 0 in kW or $/MWh as they come: [], [T] or [N, T]."""
    if isinstance(source, str | os.PathLike):
        values = _read_csv(Path(source), field)
    else:
        try:
            values = np.array(source, np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"{field}: got {source!r:.60}; allowed: numbers, [steps] or [agents, steps]") from None
    if values.ndim > 2:
        raise ValueError(f"{field}: got an array of shape {values.shape}; allowed: [steps] or [agents, steps]")
    bad = np.argwhere(~((values >= 0) & (values < np.inf)))
    if len(bad):
        where = tuple(bad[0].tolist())
        raise ValueError(f"{field}: got {values[where]} at {list(where)}; allowed: finite numbers >= 0")
    return values


def _read_csv(path: Path, field: str) -> Floats:
    """The numbers under the header row: [T] from one column, else [columns, T]."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [row for row in csv.reader(file) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = getattr(error, "strerror", None) or error
        raise ValueError(f"{field}: got {str(path)!r}; allowed: a CSV file that can be read ({reason})") from None
    if not rows:
        raise ValueError(f"{field}: got {str(path)!r}, which is empty; allowed: a header row and a row per step")
    values = np.empty((len(rows) - 1, len(rows[0])))
    for number, row in enumerate(rows[1:], start=2):
        if len(row) != len(rows[0]):
            raise ValueError(f"{field}: got {len(row)} columns in row {number} of {path}; allowed: {len(rows[0])}")
        try:
            values[number - 2] = [float(cell) for cell in row]
        except ValueError:
            raise ValueError(f"{field}: got {row} in row {number} of {path}; allowed: numbers") from None
    return values[:, 0] if len(rows[0]) == 1 else values.T
