"""What a record must hold so that `--resume` and the report can rely on it: checked once, when it is read."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from benches.measure.json_types import fits

if TYPE_CHECKING:
    from benches.measure.records import Record

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
    "evaluation_kpis": dict[str, list[float | None] | float | None],
    "alone_cost": list[float],
    "optimal_cost": list[float],
}
"""Facts that the report reads, where a record has them."""
SHORTEST, LONGEST = 1e-9, 1e9
"""What a clock can have seen, seconds."""


def check(record: Record) -> None:
    """Raise ValueError with the first thing that is wrong."""
    for wrong in itertools.chain(_names(record), _params(record), _facts(record), _times(record)):
        raise ValueError(wrong)


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
    for axis in (axis for axis in COUNTS if axis in params):
        if not isinstance(params[axis], int) or int(params[axis]) < 1:
            yield f"{axis}: got {params[axis]!r:.60}; allowed: a whole number > 0"
    for axis in (axis for axis in WORDS if axis in params):
        if not WORD.fullmatch(str(params[axis])):
            yield f"{axis}: got {params[axis]!r:.60}; allowed: one word"
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
    counts = [len(record.facts.get(name, ())) for name in ("alone_cost", "optimal_cost")]
    if counts[0] != counts[1]:
        yield f"costs: got {counts[0]} alone and {counts[1]} optimal ones; allowed: as many of each"


def _times(record: Record) -> Iterator[str]:
    medians = {"min": record.min, "median": record.median}
    for name in (name for name, value in medians.items() if value is None and record.status == "ok"):
        yield f"{name}: got none of a finished cell; allowed: seconds"
    if record.status == "ok" and not record.seconds:
        yield "seconds: got none of a finished cell; allowed: how long each round took"
    seen = {"seconds": record.seconds, "iteration_seconds": record.facts.get("iteration_seconds", [])}
    seen |= {name: [value] for name, value in medians.items() if value is not None} | record.references
    if "training_seconds" in record.facts:
        seen["training_seconds"] = [record.facts["training_seconds"]]
    for name, values in seen.items():
        if values and not SHORTEST <= min(values) <= max(values) <= LONGEST:
            yield f"{name}: got {min(values):g} to {max(values):g}; allowed: seconds, {SHORTEST:g} to {LONGEST:g}"
    if min([record.calls, *record.reference_calls.values()]) < 1:
        yield f"calls: got {record.calls}, {record.reference_calls}; allowed: 1 or more a round"
    if min(record.cpu_seconds, default=0.0) < 0:
        yield f"cpu_seconds: got {min(record.cpu_seconds)}; allowed: 0 or more"
