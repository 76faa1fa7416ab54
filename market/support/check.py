"""Checks of what users pass in: what was wrong, what is allowed, in one line. `from market.support import check`."""

from __future__ import annotations

import contextlib
import difflib
import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from functools import partial
from numbers import Integral, Real
from types import NoneType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

MAX_COUNT = 2**31 - 1
"""Largest number of anything: agents, steps, days, nodes, episodes at once."""
LARGEST = float(np.finfo(np.float64).max)
NO_NUMBERS = (bool, np.timedelta64)
"""What Python or numpy counts among the numbers, and no check does."""
_NOTHING: NDArray[Any] = np.empty(0, np.object_)
_MASKED = np.ma.MaskedArray

Kind = TypeVar("Kind", bound=StrEnum)
Entry = TypeVar("Entry")


def shown(value: object, most: int = 60) -> str:
    """`value` as a message shows it: on one line of at most `most` characters, whatever it is."""
    try:
        text = " ".join(repr(value).split())
    except Exception:  # noqa: BLE001 - of integers beyond 4,300 digits, and of objects of others
        text = f"some {type(value).__name__}"
    return text if len(text) <= most else f"{text[: most - 3]}..."


def nearest(word: object, words: Sequence[str]) -> str:
    """The closest of `words` as a "did you mean" to append to a message, or nothing when none is close."""
    spelled = {w.lower(): w for w in words}
    close = difflib.get_close_matches(word.lower(), spelled, n=1, cutoff=0.5) if isinstance(word, str) else ()
    return f"; did you mean {spelled[close[0]]!r}?" if close else ""


def find(registry: Mapping[str, Entry], name: object, field: str) -> Entry:
    """The entry of that name, or a one-line ValueError that lists the names."""
    if not isinstance(name, str) or name not in registry:
        names = list(registry)
        raise ValueError(f"{field}: got {shown(name)}; allowed: {', '.join(names)}{nearest(name, names)}")
    return registry[name]


def choose(kind: type[Kind], value: object, field: str) -> Kind:
    """The member of `kind` for `value`: a member, or a member's value in any case."""
    members = {member.value: member for member in kind}
    return find(members, value.lower() if isinstance(value, str) and value.lower() in members else value, field)


def instance(field: str, value: object, *kinds: Any, allowed: str = "") -> None:
    """A one-line ValueError unless `value` is of one of the kinds. allowed: how the message names them."""
    if not isinstance(value, kinds):
        names = " or ".join("None" if kind is NoneType else kind.__name__ for kind in kinds)
        raise ValueError(f"{field}: got {shown(value)}; allowed: {allowed or names}")


def each(field: str, values: object, kind: Any, allowed: str) -> tuple[Any, ...]:
    """The values as a tuple if they are all of a kind, else a one-line ValueError. allowed: how it names them."""
    found: tuple[Any, ...] = (values,)
    with contextlib.suppress(TypeError):
        found = tuple(values)  # type: ignore[arg-type]
    for value in found:
        instance(field, value, kind, allowed=allowed)
    return found


def number(field: str, value: object, low: float = 0.0, high: float = math.inf, unit: str = "") -> float:
    """`value` as a float when it is a finite number within [low, high], else a one-line ValueError."""
    if type(value) is float and low <= value <= high and value < math.inf:
        return value  # the usual case, on the path of `clear`
    found = math.nan
    if isinstance(value, Real) and not isinstance(value, NO_NUMBERS):
        with contextlib.suppress(OverflowError):
            found = float(value)
    if not (low <= found <= high and math.isfinite(found)):
        bounds = f"a finite number >= {low:.12g}" if math.isinf(high) else f"{low:.12g} to {high:.12g}"
        raise ValueError(f"{field}: got {shown(value)}; allowed: {bounds}{' ' + unit if unit else ''}")
    return found


def fields(thing: object, low: float, high: float, *names: str, unit: str = "") -> None:
    """Make these fields of a frozen dataclass floats within [low, high], or raise a one-line ValueError."""
    for name in names:
        vars(thing)[name] = number(name, getattr(thing, name), low, high, unit)


def flag(field: str, value: object) -> None:
    """A one-line ValueError unless `value` is True or False: any word would count as True."""
    instance(field, value, bool, np.bool_, allowed="True or False")


def whole(field: str, value: object, low: int = 1, high: int = MAX_COUNT) -> int:
    """`value` as an int when it is a whole number within [low, high], else a one-line ValueError."""
    if type(value) is int and low <= value <= high:
        return value  # the usual case, on the path of `clear_batch`
    integral = isinstance(value, Integral) and not isinstance(value, NO_NUMBERS)
    if not integral or not low <= int(value) <= high:  # type: ignore[call-overload]
        limited = high < MAX_COUNT or (integral and int(value) > high)  # type: ignore[call-overload]
        bounds = f"{low} to {high}, a whole number" if limited else f"a whole number >= {low}"
        raise ValueError(f"{field}: got {shown(value)}; allowed: {bounds}")
    return int(value)  # type: ignore[call-overload]


def seed(seed: object) -> int:
    """`seed` as an int when it is a whole number >= 0 that 63 bits hold, else a one-line ValueError."""
    return whole("seed", seed, 0, 2**63 - 1)


def refuse(field: str, values: NDArray[Any], bad: NDArray[np.bool_], allowed: str) -> None:
    """A one-line ValueError for the first bad one of the values, arrays of the same shape, if there is one."""
    if bad.any():
        place = np.argwhere(bad)[0].tolist()
        where = f" at {place if len(place) > 1 else place[0]}" if place else ""
        raise ValueError(f"{field}: got {values[tuple(place)]}{where}; allowed: {allowed}")


def array(
    field: str,
    value: object,
    *shapes: tuple[int | str, ...],
    dtype: type = np.float64,
    low: float = -LARGEST,
    high: float = LARGEST,
    allowed: str = "finite numbers",
) -> NDArray[Any]:
    """A copy of `value` as an array, or a one-line ValueError: nothing is converted that does not stay what it was.

    field: its name in errors.
    value: numbers, or for bools 0 and 1, too; neither masked, complex, durations, words nor objects.
    shapes: those that it may have; a name stands for any length.
    dtype: of the copy; to whole numbers, other types are converted if their values are whole.
    low, high: limits of the values.
    allowed: what the values may be, in errors.
    """
    try:
        raw = np.asarray(value)
    except (TypeError, ValueError, RuntimeError):  # rows of unequal length; tensors with gradients
        raw = _NOTHING
    if raw.dtype.kind not in ("biuf" if dtype is np.bool_ else "iuf") or isinstance(value, _MASKED):
        raise ValueError(f"{field}: got {shown(value)}; allowed: {allowed}, {_written(*shapes)}")
    if raw.shape not in shapes and not any(map(partial(_fits, raw.shape), shapes)):
        hint = "; did you mean its transpose?" if any(map(partial(_fits, raw.shape[::-1]), shapes)) else ""
        raise ValueError(f"{field}: got shape {_written(raw.shape)}; allowed: {_written(*shapes)}{hint}")
    if raw.dtype == dtype:
        copy = raw.copy()
    else:
        with np.errstate(all="ignore"):
            copy = raw.astype(dtype, "C")
        if dtype is not np.float64:
            refuse(field, raw, copy != raw, allowed)
    if dtype is np.bool_ or not copy.size:
        return copy
    if not (np.minimum.reduce(copy, None) >= low and np.maximum.reduce(copy, None) <= high):  # nor is nan
        refuse(field, copy, ~((copy >= low) & (copy <= high)), allowed)
    return copy


def episodes(episode: object, *shapes: tuple[int | str, ...]) -> NDArray[np.int64]:
    """A copy of the numbers of episodes, or a one-line ValueError. shapes: as of `array`."""
    return array("episode", episode, *shapes, dtype=np.int64, low=0, high=np.inf, allowed="whole numbers >= 0")


def _fits(shape: tuple[int, ...], allowed: tuple[int | str, ...]) -> bool:
    pairs = zip(shape, allowed, strict=False)
    return len(shape) == len(allowed) and all(isinstance(may, str) or has == may for has, may in pairs)


def _written(*shapes: tuple[int | str, ...]) -> str:
    return " or ".join(f"[{', '.join(map(str, shape))}]" if shape else "a number" for shape in shapes)
