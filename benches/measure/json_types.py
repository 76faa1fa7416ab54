"""JSON that others may have written: read with bounds, and compared with what an annotation says."""

from __future__ import annotations

import builtins
import collections.abc
import json
import types
import typing
from collections.abc import Callable
from typing import Any, get_args, get_origin

from benches.terminal.text import one_line

LARGEST = 2**63
"""Numbers stay below it: 64 bits hold them, and no arithmetic of the report overflows."""


def load(line: bytes) -> Any:
    """What a line of JSON holds: finite numbers within LARGEST, and texts and names as `one_line` shows them.

    Raises ValueError for anything else, and RecursionError where it nests too deep.
    """
    return _shown(json.loads(line, parse_int=_whole, parse_float=_bounded, parse_constant=_bounded))


def _bounded(text: str, kind: Callable[[str], float] = float) -> float:
    if not abs(kind(text)) < LARGEST:
        raise ValueError(f"number: got {text:.30}; allowed: finite ones below 2^63")
    return kind(text)


def _whole(text: str) -> float:
    return _bounded(text[:30], int)  # 30 digits are too many already, and more than 4300 are an error of their own


def _shown(value: Any) -> Any:
    match value:
        case str():
            return one_line(value)
        case list():
            return [_shown(each) for each in value]
        case dict():
            return {one_line(name): _shown(each) for name, each in value.items()}
    return value


def fits(value: Any, hint: Any) -> bool:
    """Whether a value read from JSON is of the type `hint`, inside too."""
    parts = get_args(hint)
    match get_origin(hint):
        case typing.Literal:
            return value in parts
        case types.UnionType | typing.Union:
            return any(fits(value, part) for part in parts)
        case builtins.list:
            return isinstance(value, list) and all(fits(each, parts[0]) for each in value)
        case builtins.dict | collections.abc.Mapping:
            return isinstance(value, dict) and all(fits(each, parts[1]) for each in value.values())
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    return hint is Any or (isinstance(value, hint) and (hint is bool or not isinstance(value, bool)))
