"""Reads records, which others may have written: checked once here, so `--resume` and the report can rely on them."""

from __future__ import annotations

import builtins
import collections.abc
import dataclasses
import functools
import itertools
import json
import re
import types
import typing
from collections.abc import Callable, Iterator
from typing import Any, get_args, get_origin, get_type_hints

from benches.measure.records import LARGEST, SCHEMA, Record, Status
from benches.terminal.text import one_line

NAME = re.compile(r"[^\W_][\w ./:+-]{0,99}")
"""Of a case, an axis, a phase, a rate, a reference."""
WORD = re.compile(r"[^\W_][\w.+-]{0,99}")
"""Of a mode, an algorithm, a policy."""
WORDS, COUNTS = ("mode", "algorithm", "policy"), ("agents", "iterations")
"""Axes that hold a word, and a whole number from 1 on, in whatever case has them."""
AXES = {
    "train/whole": ("mode", "algorithm", "iterations"),
    "train/iteration": ("mode", "algorithm"),
    "reference/policy": ("policy",),
    "reference/optimum": (),
}
"""What the cells of the study have besides agents, which are their size."""
FACTS: dict[str, Any] = {
    "training_seconds": float,
    "training_episodes": float,
    "gradient_steps": float,
    "env_steps": float,
    "agent_steps": float,
    "iteration_seconds": list[float],
    "iteration_returns": list[float | None],
    "evaluated_iterations": list[int],
    "evaluated_savings": list[list[float | None]],
    "rule_saving": list[float | None],
    "evaluation_kpis": dict[str, list[float | None] | float | None],
    "seen_kpis": dict[str, list[float | None] | float | None],
    "alone_cost": list[float],
    "optimal_cost": list[float],
    "seen_alone_cost": list[float],
    "seen_optimal_cost": list[float],
}
"""Facts that the report reads, where a record has them."""
HINTS = get_type_hints(Record)
SHORTEST, LONGEST = 1e-9, 1e9
"""What a clock can have seen, seconds."""


def parse(line: bytes) -> Record:
    """The record of a line of JSON. Raises ValueError, TypeError or RecursionError with the first thing wrong."""
    raw = load(line)
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
        raise ValueError(f"schema: got {raw.get('schema') if isinstance(raw, dict) else raw!r}; allowed: {SCHEMA}")
    annotated = {each.name: each.type for each in dataclasses.fields(Record)}
    known = {name: value for name, value in raw.items() if name in annotated}
    for name, value in known.items():
        if not fits(value, HINTS[name]):
            allowed = ", ".join(get_args(Status)) if name == "status" else annotated[name]
            raise ValueError(f"{name}: got {value!r:.60}; allowed: {allowed}")
    record = Record(**known)
    for wrong in itertools.chain(_names(record), _params(record), _facts(record), _times(record)):
        raise ValueError(wrong)
    return record


def load(line: bytes) -> Any:
    """What a line of JSON holds: finite numbers within LARGEST, and texts and names as `one_line` shows them.

    Raises ValueError for anything else, and RecursionError where it nests too deep.
    """
    whole = functools.partial(_bounded, kind=int)
    return _shown(json.loads(line, parse_int=whole, parse_float=_bounded, parse_constant=_bounded))


def _bounded(text: str, kind: Callable[[str], float] = float) -> float:
    digits = text[:30] if kind is int else text  # 30 are too many already, and more than 4300 an error of their own
    if not abs(kind(digits)) < LARGEST:
        raise ValueError(f"number: got {text:.30}; allowed: finite ones below 2^63")
    return kind(digits)


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


def _names(record: Record) -> Iterator[str]:
    for name in (record.case, record.unit, *record.params, *record.phases, *record.rates, *record.references):
        if not NAME.fullmatch(name):
            yield f"name: got {name!r:.60}; allowed: letters, digits and _ . / : + -, 100 at most"


def _params(record: Record) -> Iterator[str]:
    params = record.params
    if record.size <= 0 or params.get(record.unit) != record.size:
        yield f"size: got {record.size} {record.unit}; allowed: the number > 0 that params hold by that name"
    needed = AXES.get(record.case)
    if needed is not None and (record.unit != "agents" or not params.keys() >= {*needed}):
        yield f"params: got {', '.join(params)} by {record.unit}; allowed: {', '.join(needed)} by agents"
    for axis, value in params.items():
        if axis in COUNTS and (not isinstance(value, int) or value < 1):
            yield f"{axis}: got {value!r:.60}; allowed: a whole number > 0"
        if axis in WORDS and not WORD.fullmatch(str(value)):
            yield f"{axis}: got {value!r:.60}; allowed: one word"
    seed = params.get("seed", record.seeds.get("case"))
    if not isinstance(seed, int | None):
        yield f"seed: got {seed!r:.60}; allowed: a whole number"


def _facts(record: Record) -> Iterator[str]:
    for name, hint in FACTS.items():
        if name in record.facts and not fits(record.facts[name], hint):
            yield f"{name}: got {record.facts[name]!r:.60}; allowed: {hint}"
    for name, meaning in (record.kpi_meanings or {}).items():
        if len(meaning) < 2:
            yield f"kpi_meanings: got {meaning!r:.60} for {name:.60}; allowed: unit, formula and source"
    for days in ("", "seen_"):
        alone, best = (len(record.facts.get(f"{days}{end}_cost", ())) for end in ("alone", "optimal"))
        if alone != best:
            yield f"costs: got {alone} alone and {best} optimal ones; allowed: as many of each"


def _times(record: Record) -> Iterator[str]:
    single = {"min": record.min, "median": record.median, "training_seconds": record.facts.get("training_seconds")}
    seen = {"seconds": record.seconds, **{name: [] if value is None else [value] for name, value in single.items()}}
    for name in ("seconds", "min", "median"):
        if record.status == "ok" and not seen[name]:
            yield f"{name}: got none of a finished cell; allowed: seconds"
    seen |= {"iteration_seconds": record.facts.get("iteration_seconds", []), **record.references}
    for name, values in seen.items():
        if values and not SHORTEST <= min(values) <= max(values) <= LONGEST:
            yield f"{name}: got {min(values):g} to {max(values):g}; allowed: seconds, {SHORTEST:g} to {LONGEST:g}"
    if min([record.calls, *record.reference_calls.values()]) < 1:
        yield f"calls: got {record.calls}, {record.reference_calls}; allowed: 1 or more a round"
    if record.turns and (min(record.turns) < 0 or sum(record.turns) != len(record.seconds)):
        yield f"turns: got {record.turns!s:.60} for {len(record.seconds)} rounds; allowed: numbers that add up to them"
    if min(record.cpu_seconds, default=0.0) < 0:
        yield f"cpu_seconds: got {min(record.cpu_seconds)}; allowed: 0 or more"
