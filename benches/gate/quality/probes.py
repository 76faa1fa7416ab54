"""Workloads with a known slowdown, to measure the gate itself.

A call of a probe really does UNITS units of work on base, and UNITS + UNITS * extra / 100 on head; `kinds` are others.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from benches.case import Case, table
from benches.gate.quality.kinds import KINDS, of
from benches.measure import machine
from benches.workloads import inputs

UNITS = 20
EXTRAS = (5, 10, 15, 25)
"""Per cent more work on head."""
EQUAL = 4
"""Probes of each workload that do the same on both sides."""
WORKLOADS: dict[str, tuple[Callable[..., Any], Callable[..., Any], dict[str, int]]] = {
    "clear": (inputs.books, inputs.clear_book, {"orders": 1000}),
    "step": (inputs.walk, inputs.env_step, {"episodes": 4, "agents": 5}),
}
"""Preparation, unit of work, and its parameters: about 1 ms and 5 ms for UNITS of them."""


def probe(workload: str, extra: int, number: int = 0, *, slow: bool) -> Case:
    """A case that is `extra` per cent slower where `slow`; `number` tells probes of the same kind apart."""
    setup, unit, params = WORKLOADS[workload]
    units = UNITS + (UNITS * extra // 100 if slow else 0)

    def call(prepared: Any, turn: int) -> None:
        for step in range(turn * units, (turn + 1) * units):
            unit(prepared, step)

    return Case(
        name=f"probe/{workload}-{extra}-{number}",
        size="units",
        grids={"quick": {"units": (UNITS,)}},
        setup=lambda _: setup(params),
        call=call,
        work=lambda _: {"units": float(units)},
        budget=1.0,
        rounds=lambda _: 60,
    )


def probes(
    *, slow: bool, extras: tuple[int, ...] = EXTRAS, equal: int = EQUAL, kinds: tuple[str, ...] = tuple(KINDS)
) -> dict[str, Case]:
    """A table of probes: each workload equal `equal` times, and slower by each of `extras`; one slower in each kind."""
    cases = [probe(workload, 0, number, slow=slow) for workload in WORKLOADS for number in range(equal)]
    cases += [probe(workload, extra, slow=slow) for workload in WORKLOADS for extra in extras]
    return table(*cases, *(of(kind, cases[0], slow=slow) for kind in kinds))


def checkout(folder: Path, **options: Any) -> Path:
    """Make a folder that the gate takes for a checkout: its table are the probes, all else is this tree."""
    package = folder / "benches"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        f"import sys\nsys.path.append({str(machine.ROOT)!r})\n__path__.append({str(machine.ROOT / 'benches')!r})\n",
        encoding="utf-8",
    )
    arguments = ", ".join(f"{name}={value!r}" for name, value in options.items())
    text = f"from benches.gate.quality.probes import probes\n\nCASES = probes({arguments})\n"
    (package / "cases.py").write_text(text, encoding="utf-8")
    return folder
