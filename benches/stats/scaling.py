"""How time grows with size: t(N) = floor + c N^k, an interval for k, and the knee where growth becomes super-linear.

The fit minimises the soft-L1 loss of the logarithms per size. A plain line through the logarithms would take the floor
for slow growth: k = 0.6 where the truth is 1. Sizes that took turns are compared within a block, so that the drift of
the machine's speed cancels. The interval is Student's over whole processes: each is left out in turn (jackknife, Efron
and Stein 1981, doi:10.1214/aos/1176345462), for processes differ, and a percentile bootstrap of few of them is too
narrow (Hesterberg 2015, doi:10.1080/00031305.2015.1089789). `python -m benches.stats.coverage` simulates.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares
from scipy.special import stdtrit

Floats = NDArray[np.float64]
Samples = Mapping[float, Sequence[float]]
Basis = Literal["processes", "rounds", "none"]

MIN_SIZES = 4
"""Fewest sizes that a law is fitted to."""
MIN_RANGE, MIN_GROWTH = 4.0, 1.2
"""Smallest ratio of sizes and of times that an exponent is taken from."""
MAX_MISFIT, MAX_WIDTH = 0.25, 0.5
"""Largest median error of the fit (in logs), and widest interval, of an exponent that is reported."""
NEAR = 0.3
"""Most that the bounds of a growth that is called near-linear may differ from 1."""
MIN_UNITS, PARTS = 3, 5
"""Fewest processes that an interval is taken from; with fewer, the rounds are dealt out to so many parts at most."""
MAX_EXPONENT = 4.0
MIN_SUPERLINEAR = 1.1
"""Marginal exponent that the largest size must reach for a knee to be more than noise."""
NOISE = 0.05
"""Relative error up to which the loss is quadratic."""
POLISH, SWEEPS = 4, 200
"""Sweeps over a table by medians (Tukey 1977), and by means where it has gaps: no more change what matters."""


class Law(NamedTuple):
    """t(N) = floor + factor N^exponent, seconds."""

    floor: float
    factor: float
    exponent: float

    def time(self, size: float) -> float:
        """Seconds at `size`."""
        return float(self.floor + self.factor * size**self.exponent)


@dataclass(frozen=True)
class Scaling:
    """The fitted law of one series. Times in seconds; sizes ascending [S], typical times [S].

    exponent: k, NaN where the data cannot tell, and then `reason` says why.
    low, high: its 95 % interval over what `basis` says: whole processes, or the rounds of too few of them.
    knee: size from which doubling it more than doubles the time; NaN where that happens at no measured size, or where
        the interval of k reaches down to 1.
    """

    sizes: tuple[float, ...]
    medians: tuple[float, ...]
    exponent: float = math.nan
    low: float = math.nan
    high: float = math.nan
    floor: float = math.nan
    factor: float = math.nan
    knee: float = math.nan
    basis: Basis = "none"
    reason: str = ""
    without_unit: tuple[Law, ...] = ()
    """The laws without each process (or part of the rounds) in turn."""
    without_size: tuple[Law, ...] = ()
    """The laws without each size in turn."""

    @property
    def law(self) -> Law:
        """The fit's numbers, NaN when the exponent is undetermined."""
        return Law(self.floor, self.factor, self.exponent)

    def time(self, size: float) -> float:
        """Seconds that the fit gives for `size`; NaN when the exponent is undetermined."""
        return self.law.time(size)

    @property
    def told(self) -> str:
        """`k = 0.98 [0.95, 1.01]`, or that it is undetermined: how every text and figure names the exponent."""
        if math.isnan(self.exponent):
            return "k undetermined"
        return f"k = {self.exponent:.2f} [{self.low:.2f}, {self.high:.2f}]"

    @property
    def verdict(self) -> str:
        """sub-linear, near-linear or super-linear by where the interval lies, never by the point; else undetermined."""
        if math.isnan(self.low):
            return "undetermined"
        if self.low <= 1 <= self.high:
            return "near-linear" if max(1 - self.low, self.high - 1) <= NEAR else "undetermined"
        return "sub-linear" if self.high < 1 else "super-linear"


def fit(processes: Sequence[Samples]) -> Scaling:
    """Fit the seconds per round by size.

    processes: rounds by size of each process, or of another whole repetition, such as another seed. Round i of all
        sizes was measured within the same block, if they took turns; the last blocks may lack sizes.

    With at least MIN_UNITS processes the interval is over them. With fewer, it is over parts of their rounds, which
    leaves out what differs between processes.
    """
    sizes = np.array(sorted({float(size) for each in processes for size, taken in each.items() if len(taken)}))
    seconds = [value for each in processes for taken in each.values() for value in taken]
    if min(seconds, default=0.0) <= 0 or not np.isfinite(seconds).all() or sizes[0] <= 0:
        none = f"only 0 of the {MIN_SIZES} sizes that are needed"
        why = "a size or a time is not a positive number" if seconds else none
        return Scaling(tuple(sizes.tolist()), (math.nan,) * len(sizes), reason=why)
    basis, units = _units(processes, sizes)
    table = np.array([_within(each, sizes) for each in units])
    logs = additive(table)
    known = Scaling(tuple(sizes.tolist()), tuple(np.exp(logs).tolist()), basis=basis)
    reason = _too_little(sizes, known.medians, basis)
    if reason:
        return replace(known, basis="none", reason=reason)
    at = np.log(sizes) - np.log(sizes).mean()
    best = _best(at, logs, *_starts(at, logs))
    law = _law(best, sizes)
    reason = _doubt(law, sizes, logs)
    tables = (np.delete(table, unit, axis=0) for unit in range(len(table)))
    units_left = tuple(_law(_best(at, additive(each), best), sizes) for each in tables)
    sizes_left = tuple(_law(_best(np.delete(at, n), np.delete(logs, n), best), sizes) for n in range(len(at)))
    half = reach([each.exponent for each in units_left])
    low, high = law.exponent - half, law.exponent + half
    if not reason and high - low > MAX_WIDTH:
        reason = f"the interval {low:.2f} to {high:.2f} is too wide"
    if reason:
        return replace(known, basis="none", reason=reason)
    knee = _knee(law, sizes) if low > 1 else math.nan
    known = replace(known, low=low, high=high, knee=knee, without_unit=units_left, without_size=sizes_left)
    return replace(known, **law._asdict())


def reach(without: Sequence[float]) -> float:
    """Half of the 95 % interval of a figure, given its values without each unit in turn; NaN with fewer than two."""
    if len(without) < 2:
        return math.nan
    return float(stdtrit(len(without) - 1, 0.975)) * standard_error(without)


def standard_error(without: Sequence[float]) -> float:
    """Of a figure, from its values without each unit in turn (jackknife)."""
    return math.sqrt((len(without) - 1) * float(np.var(without)))


def _units(processes: Sequence[Samples], sizes: Floats) -> tuple[Basis, list[Samples]]:
    """What is left out in turn: whole processes, or parts of the rounds of too few of them.

    Each size must be in two processes, so that it is there whichever is left out.
    """
    whole = [each for each in processes if any(map(len, each.values()))]
    twice = all(sum(bool(len(each.get(size, ()))) for each in whole) > 1 for size in sizes.tolist())
    if len(whole) >= MIN_UNITS and twice:
        return "processes", whole
    least = min((len(taken) for each in whole for taken in each.values()), default=0)
    if least < MIN_UNITS:
        return "none", whole
    parts = min(PARTS, least)
    return "rounds", [{s: taken[first::parts] for s, taken in each.items()} for each in whole for first in range(parts)]


def _within(samples: Samples, sizes: Floats) -> Floats:
    """Logarithms of the typical seconds by size [S] of one process, NaN where it lacks one; whole blocks cancel."""
    most = max(map(len, samples.values()))
    table = np.full((most, len(sizes)), np.nan)
    for column, size in enumerate(sizes.tolist()):
        taken = samples.get(size, ())
        table[: len(taken), column] = np.log(taken)
    return polished(table)


def polished(table: Floats, middle: Callable[..., Floats] = np.nanmedian, sweeps: int = POLISH) -> Floats:
    """Column effects [S] of a table of logarithms [B, S], rows having a level of their own; NaN are gaps, and stay in
    empty columns. With medians the polish of Tukey, with means the least squares that it converges to.
    """
    rows, found = np.zeros((len(table), 1)), np.full(table.shape[1], np.nan)
    there = ~np.isnan(table).all(0)
    for _ in range(sweeps):
        found[there] = middle((table - rows)[:, there], axis=0)
        rows = middle(table - found, axis=1, keepdims=True)
        rows -= middle(rows)
    return found


def additive(table: Floats) -> Floats:
    """Column effects [S] of a table [G, S] by least squares, rows having a level of their own; NaN are gaps."""
    return polished(table, np.nanmean, SWEEPS) if np.isnan(table).any() else np.asarray(table.mean(0))


def _too_little(sizes: Floats, times: Sequence[float], basis: Basis) -> str:
    """Why no exponent can be taken from these times, or nothing."""
    if len(sizes) < MIN_SIZES:
        return f"only {len(sizes)} of the {MIN_SIZES} sizes that are needed"
    if sizes[-1] < MIN_RANGE * sizes[0]:
        return f"sizes span a factor {sizes[-1] / sizes[0]:.1f}; at least {MIN_RANGE:g} is needed"
    if times[-1] < MIN_GROWTH * min(times):
        return f"the floor dominates: time grows {times[-1] / min(times):.2f}-fold, under {MIN_GROWTH:g}"
    return f"under {MIN_UNITS} rounds of one process" if basis == "none" else ""


def _doubt(law: Law, sizes: Floats, logs: Floats) -> str:
    """Why the exponent of this fit is not to be trusted, or nothing."""
    misfit = float(np.median(np.abs(np.log(law.floor + law.factor * sizes**law.exponent) - logs)))
    if misfit > MAX_MISFIT:
        return f"no power law fits: typical error {math.expm1(misfit):.0%}"
    if law.exponent > MAX_EXPONENT - 0.01:
        return f"the exponent runs to the bound {MAX_EXPONENT:g}"
    return ""


def _knee(law: Law, sizes: Floats) -> float:
    """Size at which the marginal exponent d log t / d log N of the law passes 1, i.e. c N^k (k - 1) = floor.

    NaN where that is at no measured size, or where the marginal exponent of the largest stays below MIN_SUPERLINEAR.
    """
    last = law.factor * sizes[-1] ** law.exponent
    if law.exponent <= 1 or law.exponent * last < MIN_SUPERLINEAR * (law.floor + last):
        return math.nan
    found = (law.floor / (law.factor * (law.exponent - 1))) ** (1 / law.exponent)
    return float(found) if sizes[0] < found <= sizes[-1] else math.nan


def _starts(at: Floats, logs: Floats) -> Floats:
    """Starting points [R, 3]: log floor, log growth at the middle size, k."""
    middle, lowest = np.interp(0.0, at, logs), float(logs.min())
    return np.array(
        [(lowest + math.log(share), middle, k) for share, k in ((0.01, 0.5), (0.01, 1), (0.5, 1), (0.95, 2))]
    )


def _model(p: Floats, at: Floats) -> tuple[Floats, Floats]:
    """Log times [S] by the parameters [3] at the centred log sizes [S], and their slopes [S, 3]."""
    growth = p[1] + p[2] * at
    total = np.logaddexp(p[0], growth)
    share = np.exp(growth - total)
    return total, np.stack([1 - share, share, share * at], axis=-1)


def _law(p: Floats, sizes: Floats) -> Law:
    log_floor, log_growth, k = p.tolist()
    return Law(math.exp(log_floor), math.exp(log_growth - k * float(np.log(sizes).mean())), k)


def _best(at: Floats, logs: Floats, *starts: Floats) -> Floats:
    """Parameters [3] of least soft-L1 error in logs, the best of what is found from each of the starts [3].

    at: centred logarithms of the sizes [S].
    logs: of the seconds [S].
    """
    low = np.array([logs.min() - 12, logs.min() - 12, 0.0])
    high = np.array([logs.min() + 1, logs.max() + 1, MAX_EXPONENT])
    how: dict[str, Any] = {"bounds": (low, high), "method": "dogbox", "loss": "soft_l1", "f_scale": NOISE}

    def error(p: Floats) -> Floats:
        return _model(p, at)[0] - logs

    def slopes(p: Floats) -> Floats:
        return _model(p, at)[1]

    found = [least_squares(error, np.clip(start, low, high), slopes, **how) for start in starts]
    return np.asarray(min(found, key=lambda each: each.cost).x)
