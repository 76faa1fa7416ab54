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
from benches.gate.result import CHANGED, MORE, NOT_MEASURED, Result
from benches.gate.run import Gate
from benches.gate.verdict import COSTS, RUN_ERROR, detectable
from benches.measure import machine
from benches.measure.records import plain
from benches.report.text import fitting
from benches.terminal import show
from benches.terminal.text import markdown as escaped
from benches.terminal.text import one_line
from benches.terminal.text import table as markdown_table
from market.support.files import write_whole

SCHEMA = 4
HEADINGS = ("case", "base", "head", "head / base", "interval", "wall", "pairs", "verdict")
DROPPED = ("interval", "wall", "pairs")
"""Columns that a narrow terminal does without, the first one first."""
LAYOUTS = [tuple(name for name in HEADINGS if name not in DROPPED[:count]) for count in range(len(DROPPED) + 1)]
EDGES = 4
"""Characters of a line beside its columns and what stands between them."""
READABLE = 32
"""Characters that the labels of cells get at least; longer ones are wrapped between words."""
STYLES = {MORE: "red", "slower": "red", "failed": "red", CHANGED: "yellow", "faster": "green", "unclear": "yellow"}
"""By finding; the first that a cell has."""
OPEN = (NOT_MEASURED, "unclear")
"""Outcomes of cells that nothing is concluded of."""
SENTENCES = {OK: "ok: nothing became slower", REGRESSION: "REGRESSION", UNMEASURED: "could not measure"}


def headline(gate: Gate) -> str:
    """One line: the result, what was compared, how long it took."""
    same = " (the same code)" if gate.same_code else ""
    decided = sum(result.outcome not in OPEN for result in gate.results)
    effort = f"{decided} of {len(gate.results)} cells decided, {gate.seconds:.0f} s"
    told = SENTENCES[gate.status]
    if gate.status == OK and any(CHANGED in result.findings for result in gate.results):
        told += ", but a result changed"
    return one_line(f"{told}: {_trees(gate)}{same}, {effort}")


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
    """Every measured cell, with its ratio on the clock that decides and on the wall clock, in lines of `width`."""
    results = [result for result in gate.results if result.outcome != NOT_MEASURED]
    rows = [dict(zip(HEADINGS, map(one_line, _row(result)), strict=True)) for result in results]
    least = {name: max(map(len, [name, *(row[name] for row in rows)])) for name in HEADINGS}
    words = (len(word) for row in rows for word in row["case"].split())
    least["case"] = min(least["case"], max(READABLE, *words, 0))
    layout, _ = fitting(LAYOUTS, lambda layout: {name: least[name] for name in layout}, width - EDGES)
    found = Table(title=Text(one_line(_trees(gate))))
    for name in layout:
        found.add_column(name, overflow="fold")
    for result, row in zip(results, rows, strict=True):
        style = next((style for finding, style in STYLES.items() if finding in result.findings), None)
        found.add_row(*(Text(row[name]) for name in layout), style=style)
    return found


def remarks(gate: Gate) -> Iterator[str]:
    """A sentence for all that no row of the table says."""
    for result in gate.results:
        label, work = result.cell.label, result.work
        if result.problem:
            yield f"{result.outcome}: {label}: {result.problem}"
        for what, counters in ((MORE, work.more), ("less work", work.less), (CHANGED, work.changed)):
            yield from (f"{what}: {label}: {_counter(*counter)}" for counter in counters)
        if work.unsteady:
            why = "differs in one process, not counted again" if result.to_count else "not equal in two processes"
            yield f"{why}, so not judged: {label}: {', '.join(work.unsteady)}"
    threaded = sum(result.cell.threaded for result in gate.results)
    if threaded:
        of = f"{threaded} cell{'s' * (threaded > 1)}"
        yield f"counters of cells with more than one thread vary with scheduling and decide nothing ({of})"
    for kind, names in (
        ("new", [*gate.plan.new, *gate.new]),
        ("removed", gate.plan.removed),
        ("changed, so not compared", gate.plan.changed),
    ):
        yield from (f"{kind}: {name}" for name in names)
    yield from _needs(gate)
    if gate.left_out:
        yield f"not in the plan: {gate.left_out} cells of other sizes; --cells N or --case measures them"
    yield from _noise(gate)


def _counter(name: str, base: float, head: float) -> str:
    if name in COSTS and name != "cpu_seconds":
        return f"{name} {base:,.0f} -> {head:,.0f}"
    return f"{name} {base:,.7g} -> {head:,.7g}"


def _needs(gate: Gate) -> Iterator[str]:
    """What the budget left open, and about how many seconds more would do."""
    for result in gate.results:
        if result.time.suspect:
            way = "slower" if result.time.interval.ratio > 1 else "faster"
            yield f"perhaps {way}, not confirmed in fresh processes: {result.cell.label}"
    for what in OPEN:
        found = [result for result in gate.results if result.outcome == what]
        if found:
            more = 10 * math.ceil(sum(gate.estimate(result) for result in found) / 10)
            names = ", ".join(result.cell.label for result in found)
            would = f"would need about {more} s more" if more else "the machine is too noisy for them"
            yield f"{what} ({len(found)} of {len(gate.results)} cells, {would}): {names}"
    if gate.results and not gate.stopped and gate.status == UNMEASURED and not any(r.problem for r in gate.results):
        need = gate.seconds + min(gate.estimate(result) for result in gate.results)
        yield f"the budget decided nothing; --budget {20 * math.ceil(1.5 * need / 20)} would decide some cells"


def _noise(gate: Gate) -> Iterator[str]:
    """What the gate knows of itself: how noisy the machine was, and what it could have seen."""
    pairs = gate.probe.ratios
    if len(pairs) > 1:
        found, least = gate.probe.time, detectable(pairs, len(gate.results), gate.tolerance)
        yield (
            f"noise of this machine: the probe, the same on both sides, took {found.interval.ratio:.3f} times as long "
            f"({found.interval.low:.3f} to {found.interval.high:.3f}, {found.pairs} pairs); between processes that "
            f"scatter so, slowdowns of {least:.0%} are found in 95 % of cases"
        )
        if found.outcome in ("slower", "faster"):
            yield f"the probe was found {found.outcome}, which is wrong: distrust what this run says of time"
    highs = sorted(result.time.interval.high - 1 for result in gate.results if len(result.taken) > 1)
    if highs:
        half, most = highs[len(highs) // 2], highs[math.ceil(0.9 * len(highs)) - 1]
        yield f"slower by at most (95 %): {half:.1%} in half of the {len(highs)} timed cells, {most:.1%} in nine of ten"


def footnote(gate: Gate) -> str:
    """How to read the table."""
    loads = " to ".join(f"{load[0]:.1f}" for load in gate.load)
    return (
        f"CPU seconds decide (wall seconds where Ray or a GPU computes); slower: above {1 + gate.tolerance:g} in a "
        f"first look and again in fresh processes, chance of a false alarm {RUN_ERROR:.0%} a run; "
        f"load average {loads}, {machine.machine()['cpu']}"
    )


def markdown(gate: Gate) -> str:
    """A summary for a pull request: what matters first, everything folded below."""
    said = [f"stopped: {gate.stopped}"] * bool(gate.stopped) + list(remarks(gate))
    notable = [result for result in gate.results if result.outcome not in ("same", "unclear", NOT_MEASURED)]
    lines = [f"### Performance gate: {escaped(headline(gate))}", ""]
    if notable:
        lines += [_markdown(notable), ""]
    lines += [f"- {escaped(remark)}" for remark in said]
    lines += ["", "<details><summary>All cells</summary>", "", _markdown(gate.results), "", "</details>", ""]
    return "\n".join([*lines, escaped(footnote(gate)), ""])


def _markdown(results: list[Result]) -> str:
    return markdown_table(HEADINGS, [[escaped(cell) for cell in _row(result)] for result in results])


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
        "probe": dataclasses.asdict(gate.probe.time),
        "machine": machine.machine(),
        "versions": machine.versions(),
        "cells": [
            {
                **dataclasses.asdict(result.cell),
                "decided_on": result.clock,
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
        "new": [*gate.plan.new, *gate.new],
        "removed": gate.plan.removed,
        "changed": gate.plan.changed,
    }


def write(gate: Gate, folder: Path) -> None:
    """Write gate.json and gate.md; each replaces the old file in one step."""
    for name, text in (("gate.json", json.dumps(plain(as_json(gate)))), ("gate.md", markdown(gate))):
        write_whole(folder / name, text)


def remember(gate: Gate, folder: Path) -> None:
    """Append the ratios of a finished run over two commits to history.jsonl, which `benches.history.findings` reads."""
    commits = {side: tree.commit for side, tree in gate.trees.items()}
    if gate.stopped or gate.same_code or not all(commits.values()):
        return
    ratios = {result.cell.label: result.time.interval.ratio for result in gate.results if len(result.taken) > 1}
    with (folder / "history.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps({**commits, "ratios": ratios}) + "\n")
