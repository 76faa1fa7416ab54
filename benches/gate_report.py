"""What a run of the gate says: a table for the terminal, JSON for programs, Markdown for a pull request."""

from __future__ import annotations

import dataclasses
import json
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table

from benches import machine, show
from benches.gate_pair import SIDES
from benches.gate_run import OK, REGRESSION, Gate, Result
from benches.gate_verdict import ERROR, ShapeVerdict

SCHEMA = 1
HEADINGS = ("case", "base", "head", "head / base", "interval", "wall", "pairs", "verdict")
STYLES = {"slower": "red", "more work": "red", "failed": "red", "faster": "green", "unclear": "yellow"}
SENTENCES = {
    OK: "ok: nothing became slower",
    REGRESSION: "REGRESSION",
    2: "could not measure",
}


def headline(gate: Gate) -> str:
    """One line: the result, what was compared, how long it took."""
    trees = f"{gate.trees['base'].label} -> {gate.trees['head'].label}"
    effort = f"{len(gate.results)} cells, {gate.pairs} process pairs, {gate.seconds:.0f} s"
    return f"{SENTENCES[gate.status]}: {trees}, {effort}"


def _row(result: Result) -> tuple[str, ...]:
    interval, base, head = result.time.interval, result.medians("base"), result.medians("head")
    if not result.taken:
        return (result.cell.label, "-", "-", "-", "-", "-", "0", result.outcome)
    bounds = f"{interval.low:.3f} to {interval.high:.3f}" if math.isfinite(interval.high) else "-"
    seconds = [show.seconds(sorted(side)[len(side) // 2]) for side in (base, head)]
    numbers = (f"{interval.ratio:.3f}", bounds, f"{result.wall_ratio:.3f}", str(result.time.pairs))
    return (result.cell.label, *seconds, *numbers, result.outcome)


def table(gate: Gate) -> Table:
    """Every cell, with its ratio on the clock that decides, and on the wall clock."""
    found = Table(*HEADINGS, title=f"{gate.trees['base'].label} -> {gate.trees['head'].label}")
    for result in gate.results:
        found.add_row(*_row(result), style=STYLES.get(result.outcome))
    return found


def remarks(gate: Gate) -> Iterator[str]:
    """A sentence for all that no row of the table says."""
    for result in gate.results:
        label, work = result.cell.label, result.work
        if result.problem:
            yield f"{result.outcome}: {label}: {result.problem}"
        yield from (f"more work: {label}: {n} {b:,.0f} -> {h:,.0f}" for n, b, h in work.more)
        yield from (f"less work: {label}: {n} {b:,.0f} -> {h:,.0f}" for n, b, h in work.less)
        yield from (f"another result: {label}: {n} {b:,.0f} -> {h:,.0f}" for n, b, h in work.changed)
        if work.unsteady:
            yield f"not repeatable, so not judged: {label}: {', '.join(work.unsteady)}"
    for series, shape in gate.shapes.items():
        if shape.over:
            yield f"scaling over budget: {_shape(series, shape)}"
        elif shape.head.low > shape.budget:
            yield f"scaling over budget in both: {_shape(series, shape)}"
    for kind, names in (
        ("new", [*gate.plan.new, *gate.new]),
        ("removed", gate.plan.removed),
        ("changed, so not compared", gate.plan.changed),
    ):
        yield from (f"{kind}: {name}" for name in names)
    unclear = sum(result.outcome == "unclear" for result in gate.results)
    if unclear:
        yield f"unclear: {unclear} of {len(gate.results)} cells; a longer --budget or a quieter machine would tell"


def _shape(series: str, shape: ShapeVerdict) -> str:
    return (
        f"{series}: exponent {shape.base.exponent:.2f} -> {shape.head.exponent:.2f} "
        f"[{shape.head.low:.2f}, {shape.head.high:.2f}], budget {shape.budget:g}"
    )


def footnote(gate: Gate) -> str:
    """How to read the table."""
    loads = " to ".join(f"{load[0]:.1f}" for load in gate.load)
    return (
        f"CPU seconds decide (wall seconds for trainings); slower: median ratio above {1 + gate.tolerance:g} and the "
        f"interval (error rate {ERROR:.0%} a side) above 1; load average {loads}, {machine.machine()['cpu']}"
    )


def markdown(gate: Gate) -> str:
    """A summary for a pull request: what matters first, everything folded below."""
    notable = [result for result in gate.results if result.outcome not in ("same", "unclear", "unsupported")]
    lines = [f"### Performance gate: {headline(gate)}", ""]
    if notable:
        lines += [*_markdown_table(notable), ""]
    lines += [f"- {remark}" for remark in remarks(gate)]
    lines += ["", "<details><summary>All cells</summary>", "", *_markdown_table(gate.results), "", "</details>", ""]
    return "\n".join([*lines, footnote(gate), ""])


def _markdown_table(results: list[Result]) -> list[str]:
    rows = [HEADINGS, ("---",) * len(HEADINGS), *(_row(result) for result in results)]
    return ["| " + " | ".join(row) + " |" for row in rows]


def as_json(gate: Gate) -> dict[str, Any]:
    """Everything that was seen and concluded, the samples too."""
    return {
        "schema": SCHEMA,
        "status": gate.status,
        "trees": {side: {"name": tree.name, "commit": tree.commit} for side, tree in gate.trees.items()},
        "tolerance": gate.tolerance,
        "pairs": gate.pairs,
        "seconds": gate.seconds,
        "load": gate.load,
        "machine": machine.machine(),
        "versions": machine.versions(),
        "cells": [
            {
                **dataclasses.asdict(result.cell),
                "outcome": result.outcome,
                "problem": result.problem,
                "time": dataclasses.asdict(result.time),
                "wall_ratio": result.wall_ratio,
                "work": dataclasses.asdict(result.work),
                "counters": {side: result.work_of(side) for side in SIDES},
                "seconds": [
                    {
                        side: {clock: values.tolist() for clock, values in clocks.items()}
                        for side, clocks in taken.items()
                    }
                    for taken in (sampled.seconds for sampled in result.taken)
                ],
            }
            for result in gate.results
        ],
        "shapes": {series: dataclasses.asdict(shape) for series, shape in gate.shapes.items()},
        "new": [*gate.plan.new, *gate.new],
        "removed": gate.plan.removed,
        "changed": gate.plan.changed,
    }


def write(gate: Gate, folder: Path) -> None:
    """Write gate.json and gate.md; each replaces its forerunner in one step."""
    for name, text in (("gate.json", json.dumps(_finite(as_json(gate)))), ("gate.md", markdown(gate))):
        fresh = folder / f".{name}-{os.getpid()}"
        fresh.write_text(text)
        fresh.replace(folder / name)


def _finite(value: Any) -> Any:
    """JSON has no nan and no infinity: null."""
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
