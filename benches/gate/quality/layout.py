"""Equal code laid out in another way: whatever the gate says of it is a false alarm."""

from __future__ import annotations

import ast
import itertools
import re
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from rich.console import Console

from benches.gate import REGRESSION
from benches.gate.plan import CODE, Tree, wanted
from benches.gate.run import Gate
from benches.measure import machine

RENAMED = {"market.clearing.matching": "market.clearing.matching_kernels", "market.grid.routing": "market.grid.routes"}


def commented(folder: Path) -> None:
    """A comment more at the top of every file."""
    for file in _files(folder):
        file.write_text("# A comment\n# of two lines.\n" + file.read_text(encoding="utf-8"), encoding="utf-8")


def reordered(folder: Path) -> None:
    """Functions that stand one after the other at the top of a file, in the opposite order."""
    for file in _files(folder):
        file.write_text(turned(file.read_text(encoding="utf-8")), encoding="utf-8")


def turned(text: str) -> str:
    """The source with each run of functions reversed, unless one needs another when it is defined."""
    body = ast.parse(text)
    found: list[ast.stmt] = []
    for functions, group in itertools.groupby(body.body, lambda node: isinstance(node, ast.FunctionDef)):
        members = list(group)
        early = (part for node in members if isinstance(node, ast.FunctionDef) for part in _early(node))
        needed = {name.id for part in early for name in ast.walk(part) if isinstance(name, ast.Name)}
        free = functions and not needed & {node.name for node in members if isinstance(node, ast.FunctionDef)}
        found += reversed(members) if free else members
    body.body = found
    return ast.unparse(body) + "\n"


def _early(node: ast.FunctionDef) -> list[ast.expr]:
    """What of a function is computed when it is defined."""
    return [*node.decorator_list, *node.args.defaults, *(each for each in node.args.kw_defaults if each is not None)]


def renamed(folder: Path) -> None:
    """Two files with kernels under other names."""
    for file in _files(folder):
        text = file.read_text(encoding="utf-8")
        for old, new in RENAMED.items():
            text = re.sub(rf"\b{re.escape(old)}\b", new, text)
            package, name = old.rsplit(".", 1)
            text = re.sub(
                rf"(from {re.escape(package)} import (?:\w+, )*){name}\b", rf"\1{new.rsplit('.', 1)[1]} as {name}", text
            )
        file.write_text(text, encoding="utf-8")
    for old, new in RENAMED.items():
        Path(folder, f"{old.replace('.', '/')}.py").rename(Path(folder, f"{new.replace('.', '/')}.py"))


VARIANTS: tuple[Callable[[Path], None], ...] = (commented, reordered, renamed)


def _files(folder: Path) -> list[Path]:
    return sorted((folder / "market").rglob("*.py"))


def laid_out(scratch: Path, number: int) -> dict[str, Tree]:
    """Two trees of this code, the second in the variant of that number."""
    for side in ("base", "head"):
        for package in CODE:
            shutil.copytree(
                machine.ROOT / package, scratch / side / package, ignore=shutil.ignore_patterns("__pycache__")
            )
    VARIANTS[number % len(VARIANTS)](scratch / "head")
    return {side: Tree(side, scratch / side, None) for side in ("base", "head")}


def alarms(runs: int, budget: float, case: str, console: Console) -> int:
    """Run the gate so often over equal code; 0 without any alarm."""
    parts = tuple(part for part in case.split(",") if part)
    alarmed = 0
    for number in range(runs):
        with tempfile.TemporaryDirectory(prefix="layout-") as scratch:
            gate = Gate(laid_out(Path(scratch), number), budget=budget)
            gate.run(wanted(parts), lambda _: None, lambda: None)
        slower = [result.cell.label for result in gate.results if {"slower", "more work"} & set(result.findings)]
        alarmed += gate.status == REGRESSION
        decided = sum(result.decided for result in gate.results)
        name = VARIANTS[number % len(VARIANTS)].__name__
        said = (
            f"{', '.join(slower) or 'no alarm'}, {decided} of {len(gate.results)} cells decided, {gate.seconds:.0f} s"
        )
        console.print(f"run {number + 1} of {runs}, {name}: {said}", soft_wrap=True)
    console.print(f"false alarms: {alarmed} of {runs} runs over equal code laid out anew")
    return int(alarmed > 0)
