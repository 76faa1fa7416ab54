"""What a run of the gate says: a table for the terminal, JSON for programs, Markdown for a pull request."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from benches.gate import OK, REGRESSION, UNMEASURED
from benches.gate.run import MORE, Gate, Result
from benches.gate.verdict import ERROR, ShapeVerdict
from benches.measure import machine
from benches.measure.records import plain
from benches.report.text import fitting
from benches.terminal import show
from benches.terminal.text import markdown as escaped
from benches.terminal.text import one_line
from market.support.files import write_whole

SCHEMA = 2
HEADINGS = ("case", "base", "head", "head / base", "interval", "wall", "pairs", "verdict")
DROPPED = ("interval", "wall", "pairs")
"""Columns that a narrow terminal does without, the first one first."""
LAYOUTS = [tuple(name for name in HEADINGS if name not in DROPPED[:count]) for count in range(len(DROPPED) + 1)]
EDGES = 4
"""Characters of a line beside its columns and what stands between them."""
READABLE = 32
"""Characters that the labels of cells get at least; longer ones are wrapped between words."""
STYLES = {MORE: "red", "slower": "red", "failed": "red", "faster": "green", "unclear": "yellow"}
"""By finding; the first that a cell has."""
SENTENCES = {OK: "ok: nothing became slower", REGRESSION: "REGRESSION", UNMEASURED: "could not measure"}


def headline(gate: Gate) -> str:
    """One line: the result, what was compared, how long it took."""
    same = " (the same code)" if gate.same_code else ""
    effort = f"{len(gate.results)} cells, {gate.pairs} process pairs, {gate.seconds:.0f} s"
    return one_line(f"{SENTENCES[gate.status]}: {_trees(gate)}{same}, {effort}")


def same_code(gate: Gate) -> str:
    """The first line for trees that are equal."""
    return f"base and head are the same code: {_trees(gate)}; whatever differs is the machine's doing"


def _trees(gate: Gate) -> str:
    return f"{gate.trees['base'].label} -> {gate.trees['head'].label}"


def _row(result: Result) -> tuple[str, ...]:
    interval, base, head = result.time.interval, result.medians("base"), result.medians("head")
    if not result.taken:
        return (result.cell.label, "-", "-", "-", "-", "-", "0", result.outcome)
    bounds = f"{interval.low:.3f} to {interval.high:.3f}" if math.isfinite(interval.high) else "-"
    seconds = [show.seconds(sorted(side)[len(side) // 2]) for side in (base, head)]
    numbers = (f"{interval.ratio:.3f}", bounds, f"{result.wall_ratio:.3f}", str(result.time.pairs))
    return (result.cell.label, *seconds, *numbers, result.outcome)


def table(gate: Gate, width: int) -> Table:
    """Every cell, with its ratio on the clock that decides and on the wall clock, in lines of `width` characters."""
    rows = [dict(zip(HEADINGS, map(one_line, _row(result)), strict=True)) for result in gate.results]
    least = {name: max(map(len, [name, *(row[name] for row in rows)])) for name in HEADINGS}
    words = (len(word) for row in rows for word in row["case"].split())
    least["case"] = min(least["case"], max(READABLE, *words, 0))
    layout, _ = fitting(LAYOUTS, lambda layout: {name: least[name] for name in layout}, width - EDGES)
    found = Table(title=Text(one_line(_trees(gate))))
    for name in layout:
        found.add_column(name, overflow="fold")
    for result, row in zip(gate.results, rows, strict=True):
        style = next((style for finding, style in STYLES.items() if finding in result.findings), None)
        found.add_row(*(Text(row[name]) for name in layout), style=style)
    return found


def remarks(gate: Gate) -> Iterator[str]:
    """A sentence for all that no row of the table says."""
    for result in gate.results:
        label, work = result.cell.label, result.work
        if result.problem:
            yield f"{result.outcome}: {label}: {result.problem}"
        for what, counters in ((MORE, work.more), ("less work", work.less), ("another result", work.changed)):
            yield from (f"{what}: {label}: {name} {base:,.0f} -> {head:,.0f}" for name, base, head in counters)
        if work.unsteady:
            yield f"not equal in two processes, so not judged: {label}: {', '.join(work.unsteady)}"
    threaded = sum(result.cell.threaded for result in gate.results)
    if threaded:
        of = f"{threaded} cell{'s' * (threaded > 1)}"
        yield f"counters of cells with more than one thread vary with scheduling and decide nothing ({of})"
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
    said = [f"stopped: {gate.stopped}"] * bool(gate.stopped) + list(remarks(gate))
    notable = [result for result in gate.results if result.outcome not in ("same", "unclear", "unsupported")]
    lines = [f"### Performance gate: {escaped(headline(gate))}", ""]
    if notable:
        lines += [*_markdown_table(notable), ""]
    lines += [f"- {escaped(remark)}" for remark in said]
    lines += ["", "<details><summary>All cells</summary>", "", *_markdown_table(gate.results), "", "</details>", ""]
    return "\n".join([*lines, escaped(footnote(gate)), ""])


def _markdown_table(results: list[Result]) -> list[str]:
    rows = [[escaped(cell) for cell in _row(result)] for result in results]
    return ["| " + " | ".join(row) + " |" for row in (HEADINGS, ("---",) * len(HEADINGS), *rows)]


def as_json(gate: Gate) -> dict[str, Any]:
    """Everything that was seen and concluded, the samples too."""
    return {
        "schema": SCHEMA,
        "status": gate.status,
        "stopped": gate.stopped,
        "same_code": gate.same_code,
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
                "counters": result.counters,
                "instructions": result.instructions,
                "seconds": [sampled.seconds for sampled in result.taken],
            }
            for result in gate.results
        ],
        "shapes": {series: dataclasses.asdict(shape) for series, shape in gate.shapes.items()},
        "new": [*gate.plan.new, *gate.new],
        "removed": gate.plan.removed,
        "changed": gate.plan.changed,
    }


def write(gate: Gate, folder: Path) -> None:
    """Write gate.json and gate.md; each replaces the old file in one step."""
    for name, text in (("gate.json", json.dumps(plain(as_json(gate)))), ("gate.md", markdown(gate))):
        write_whole(folder / name, text)
