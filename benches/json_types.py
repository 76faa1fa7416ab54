"""Whether what JSON holds is what an annotation says."""

from __future__ import annotations

import builtins
import collections.abc
import types
import typing
from typing import Any, get_args, get_origin


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
