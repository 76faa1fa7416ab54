"""Checkouts for the gate: folders whose tables are toy cases."""

from __future__ import annotations

from pathlib import Path

from benches.measure import machine

TABLE = """
import hashlib, os, signal, sys, time
from benches.case import Case, Outcome, Unsupported, table

def spin(loops):
    # Its time depends on `loops` alone: it has no memory that would lie elsewhere in the next process.
    hashlib.pbkdf2_hmac("sha256", b"", b"", loops // 50 + 1)

def calls(count):
    for _ in range(count):
        abs(0)
        spin(10)

def unlike():
    # Does something else in every process.
    calls(2 ** (os.getpid() % 4))

def toy(name, call, sizes=(1,), version="1", setup=dict, axes={{}}, **more):
    return Case(name=name, size="n", grids={{"quick": {{**axes, "n": sizes}}}}, setup=setup, call=call,
                work=lambda p: {{}}, budget=1.2, rounds=lambda p: 60, version=version, **more)

def spinning(loops, name="toy/spin", **more):
    return toy(name, lambda p, r: spin(loops), **more)

CASES = table({cases})
"""
EQUAL = "spinning(40_000)"


def make_checkout(parent: Path, name: str, cases: str) -> Path:
    """A folder with a table of the given cases, which the gate takes for a checkout."""
    package = parent / name / "benches"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"__path__.append({str(machine.ROOT / 'benches')!r})\n", encoding="utf-8")
    (package / "cases.py").write_text(TABLE.format(cases=cases), encoding="utf-8")
    return package.parent
