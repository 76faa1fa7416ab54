"""Equal code laid out in another way: whatever the gate says of it is a false alarm."""

from __future__ import annotations

import ast
import itertools
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console

from benches.gate import REGRESSION
from benches.gate.plan import CODE, Tree, wanted
from benches.gate.result import MORE
from benches.gate.run import Gate
from benches.measure import machine

RENAMED = {"market.clearing.matching": "matching_kernels", "market.grid.routing": "routes"}
"""Modules with kernels, and other names for their files."""


def commented(text: str) -> str:
    """A comment more at the top."""
    return "# A comment\n# of two lines.\n" + text


def reordered(text: str) -> str:
    """Functions that stand one after the other in the opposite order, unless one needs another when it is defined."""
    body, found = ast.parse(text), list[Any]()
    for functions, group in itertools.groupby(body.body, lambda node: isinstance(node, ast.FunctionDef)):
        members: list[Any] = list(group)
        needed = set()
        for each in members if functions else ():
            early = filter(None, [*each.decorator_list, *each.args.defaults, *each.args.kw_defaults])
            needed |= {getattr(name, "id", "") for part in early for name in ast.walk(part)}
        free = functions and needed.isdisjoint(each.name for each in members)
        found += members[::-1] if free else members
    body.body = found
    return ast.unparse(body) + "\n"


def renamed(text: str) -> str:
    """The modules of RENAMED imported by their other names."""
    for old, new in RENAMED.items():
        package, name = old.rsplit(".", 1)
        text = re.sub(rf"\b{re.escape(old)}\b", f"{package}.{new}", text)
        text = re.sub(rf"(from {re.escape(package)} import (?:\w+, )*){name}\b", rf"\1{new} as {name}", text)
    return text


VARIANTS: tuple[Callable[[str], str], ...] = (commented, reordered, renamed)


def lay_out(folder: Path, variant: Callable[[str], str]) -> None:
    """Write every file of the market in `folder` anew; under other names where they are imported by these."""
    for file in sorted((folder / "market").rglob("*.py")):
        file.write_text(variant(file.read_text(encoding="utf-8")), encoding="utf-8")
    for old, new in RENAMED.items() if variant is renamed else ():
        file = Path(folder, *old.split(".")).with_suffix(".py")
        file.rename(file.with_stem(new))


def alarms(runs: int, budget: float, case: str, console: Console) -> int:
    """Run the gate so often over this code and the same laid out anew; 0 without any alarm."""
    alarmed = 0
    for number in range(runs):
        variant = VARIANTS[number % len(VARIANTS)]
        with tempfile.TemporaryDirectory(prefix="layout-") as scratch:
            trees = {side: Tree(side, Path(scratch, side), None) for side in ("base", "head")}
            for tree, package in itertools.product(trees.values(), CODE):
                ignored = shutil.ignore_patterns("__pycache__")
                shutil.copytree(machine.ROOT / package, tree.folder / package, ignore=ignored)
            lay_out(trees["head"].folder, variant)
            gate = Gate(trees, budget=budget)
            gate.run(wanted([part for part in case.split(",") if part]), lambda _: None, lambda: None)
        slower = [result.cell.label for result in gate.results if {"slower", MORE} & set(result.findings)]
        alarmed += gate.status == REGRESSION
        decided = f"{sum(result.decided for result in gate.results)} of {len(gate.results)} cells decided"
        said = f"{', '.join(slower) or 'no alarm'}, {decided}, {gate.seconds:.0f} s"
        console.print(f"run {number + 1} of {runs}, {variant.__name__}: {said}", soft_wrap=True)
    console.print(f"false alarms: {alarmed} of {runs} runs over equal code laid out anew")
    return int(alarmed > 0)
