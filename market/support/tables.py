"""How objects with many arrays show themselves: a line instead of their numbers, and tables for pandas."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Class = TypeVar("Class", bound=type)
WIDTH = 200
"""Characters of a line at most."""


def in_one_line(kind: Class) -> Class:
    """Gives a class a `repr` of one line: arrays by shape and range, sequences by their length."""

    def told(self: object) -> str:
        parts = (_told(name, value) for name, value in vars(self).items() if name[0] != "_" and value is not None)
        text = ", ".join(parts)
        return f"{kind.__name__}({text if len(text) <= WIDTH else text[: WIDTH - 3] + '...'})"

    kind.__repr__ = told  # type: ignore[assignment]
    return kind


def _told(name: str, value: Any) -> str:
    if isinstance(value, np.ndarray):
        numbers = value[~np.isnan(value)] if value.dtype.kind in "iuf" else value[:0]
        limits = f" {numbers.min():g} to {numbers.max():g}" if numbers.size else ""
        return f"{name}=[{', '.join(map(str, value.shape))}]{limits}"
    if isinstance(value, tuple | list) and value and not isinstance(value[0], int | float | str):
        return f"{name}={len(value)} x {type(value[0]).__name__}"
    if dataclasses.is_dataclass(value) or isinstance(value, Mapping):
        return f"{name}={type(value).__name__}(...)"
    return f"{name}={value:g}" if isinstance(value, float) else f"{name}={' '.join(repr(value).split())}"


def long_table(columns: Mapping[str, NDArray[Any]], *axes: str) -> pd.DataFrame:
    """A row for each place of arrays of one shape, with its index on those axes in front that have a name."""
    import pandas as pd

    first = next(iter(columns.values()))
    places = np.indices(first.shape).reshape(first.ndim, first.size)
    index = dict(zip(axes, places, strict=False))
    return pd.DataFrame(index | {name: x.ravel() for name, x in columns.items()})
