"""What takes or gives arrays says their shape: public functions and methods of `market`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ARRAYS = re.compile(r"\b(Floats|Ints|Bools|Nodes|Energies|FloatArray|NDArray|ArrayLike|ndarray)\b")
SHAPE = re.compile(r"\[[^\]]*\b[A-Z]\b|\[\.\.\.|\[agents|\[steps|\[size|\[n\]|\[n, n\]|shape", re.ASCII)
QUANTITIES = re.compile(r"\b(Floats|FloatArray|ArrayLike|Energies)\b")
UNIT = re.compile(
    r"\$|\bk?Wh\b|\bkW\b|\bkm\b|\bohm\b|p\.u\.|\bticks?\b|\b(seconds|hours|degrees)\b"  # a unit
    r"|\b(fractions?|shares?|counts?|scaled|normali[sz]ed|units of|probabilit\w+|log-prob\w*)\b"  # a pure number
    r"|\[-?\d[\d.]*, ?\d[\d.]*\]|\bU\(",  # a range
    re.IGNORECASE,
)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


def public_functions() -> Iterator[tuple[str, str, str]]:
    """Name, annotations and documentation (with that of the class) of what users and colleagues call."""
    for path in sorted(ROOT.glob("market/**/*.py")):
        tree = ast.parse(path.read_text())
        module = ast.get_docstring(tree) or ""
        for node in tree.body:
            owners = [(node, "")] if isinstance(node, FUNCTIONS) else []
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                text = ast.get_docstring(node) or ""
                owners = [(child, text) for child in node.body if isinstance(child, FUNCTIONS)]
            for function, around in owners:
                if function.name.startswith("_"):
                    continue
                everything = (*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs)
                hints = [a.annotation for a in everything if a.annotation] + [function.returns]
                annotations = " ".join(ast.unparse(hint) for hint in hints if hint is not None)
                name = f"{path.relative_to(ROOT).with_suffix('')}:{function.name}"
                yield name, annotations, f"{module} {around} {ast.get_docstring(function) or ''}"


CASES = [case for case in public_functions() if ARRAYS.search(case[1])]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_the_shape_of_arrays_is_documented(case):
    name, _, text = case
    assert SHAPE.search(text), f"{name}: say the shapes of its arrays, as in [E, N], in its docstring or its class's"


MEASURED = [case for case in CASES if QUANTITIES.search(case[1])]


@pytest.mark.parametrize("case", MEASURED, ids=lambda case: case[0])
def test_the_unit_of_quantities_is_documented(case):
    name, _, text = case
    assert UNIT.search(text), f"{name}: say the unit of its numbers, or that they have none, in its docstring or above"


def test_there_are_such_functions():
    assert len(CASES) > 60
    assert len(MEASURED) > 50
