"""Slowdowns of different kinds, each small, as they come into real code: what base does, and what head does instead."""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from benches.case import Case, Outcome
from benches.workloads import startup

ROWS, SLOW_ROWS = 400, 60
"""Lists that are sorted, or rows that are summed; those that the slow side treats badly."""


class Kind(NamedTuple):
    """setup(): what both sides prepare. base(prepared), head(prepared): the two ways."""

    setup: Callable[[], Any]
    base: Callable[[Any], object]
    head: Callable[[Any], object]
    clock: str = "cpu"


def _table() -> Any:
    """Numbers far beyond the second-level cache, an order through them, and one of which a part is at random."""
    rng, order = np.random.default_rng(0), np.arange(400_000)
    mixed, some = order.copy(), rng.permutation(order)[:15_000]
    mixed[some] = rng.permutation(some)
    return rng.random(order.size), order, mixed


def _lists() -> Any:
    return [list(row) for row in np.random.default_rng(0).random((ROWS, 30))]


def _inserted(row: list[float]) -> list[float]:
    """Sorted by insertion: n^2 moves."""
    done: list[float] = []
    for number in row:
        bisect.insort(done, number)
    return done


def _kernel() -> Any:
    import numba

    def summed(row: Any) -> float:
        total = 0.0
        for number in row:
            total += number
        return total

    compiled = numba.njit(summed)
    rows = np.random.default_rng(0).random((ROWS, 300))
    compiled(rows[0])
    return compiled, summed, rows


def _scaled(number: float) -> float:
    return number * 1.5


def _called(rows: list[list[float]]) -> float:
    return sum(_scaled(number) if place % 2 == 0 else number * 1.5 for row in rows for place, number in enumerate(row))


def _inlined(rows: list[list[float]]) -> float:
    return sum(number * 1.5 if place % 2 == 0 else 1.5 * number for row in rows for place, number in enumerate(row))


def _network() -> Any:
    import torch

    torch.manual_seed(0)
    layers = [torch.nn.Linear(128, 128), torch.nn.Tanh(), torch.nn.Linear(128, 8)]
    network = torch.nn.Sequential(*layers)
    return network, torch.optim.Adam(network.parameters()), torch.randn(512, 128)


def _learned(prepared: Any, *, again: int) -> None:
    """Twenty steps; in each `again`-th one the forward pass is done twice more."""
    network, optimiser, seen = prepared
    for step in range(20):
        for _ in range(2 if step % again == 0 else 0):
            network(seen)
        optimiser.zero_grad()
        network(seen).square().mean().backward()
        optimiser.step()


def _started(work: int) -> Outcome:
    return Outcome(facts={"cpu_seconds": startup.processor_seconds(f"sum(range({work}))")[0]})


def _held(more: int) -> Outcome:
    code = f"from benches.gate.quality import kinds; kinds.hoard({more})"
    return Outcome(facts={"growth_bytes": float(startup.processor_seconds(code)[1])})


def hoard(more: int) -> None:
    """Keep so many bytes more in each of some rounds, and print the median growth."""
    kept, held = [], []
    for _ in range(8):
        kept.append(b"x" * more)
        held.append(startup.resident())
    print(np.median(np.diff(held)))


KINDS = {
    "order": Kind(_table, lambda p: p[0][p[1]].sum(), lambda p: p[0][p[2]].sum()),
    "allocation": Kind(_table, lambda p: np.sort(p[0][:40_000]), lambda p: np.sort(p[0][:80_000].copy()[:40_000])),
    "call": Kind(_lists, _inlined, _called),
    "quadratic": Kind(
        _lists,
        lambda p: [sorted(row) for row in p],
        lambda p: [_inserted(row) if place < SLOW_ROWS else sorted(row) for place, row in enumerate(p)],
    ),
    "interpreted": Kind(
        _kernel,
        lambda p: [p[0](row) for row in p[2]],
        lambda p: [p[place < 1](row) for place, row in enumerate(p[2])],
    ),
    "training": Kind(_network, lambda p: _learned(p, again=21), lambda p: _learned(p, again=3), "wall"),
    "start": Kind(dict, lambda _: _started(20_000_000), lambda _: _started(30_000_000), "none"),
    "memory": Kind(dict, lambda _: _held(1_000), lambda _: _held(600_000), "none"),
}


def of(name: str, template: Case, *, slow: bool) -> Case:
    """The case of a kind, otherwise like `template`."""
    kind = KINDS[name]
    call = kind.head if slow else kind.base
    return replace(
        template,
        name=f"probe/{name}-0",
        setup=lambda _: kind.setup(),
        call=lambda prepared, _: outcome if isinstance(outcome := call(prepared), Outcome) else None,
        clock=kind.clock,  # type: ignore[arg-type]
    )
