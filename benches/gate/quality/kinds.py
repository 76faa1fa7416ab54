"""Slowdowns of different kinds, each small, as they come into real code: what base does, and what head does instead."""

from __future__ import annotations

import bisect
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np

from benches.case import Case, Outcome
from benches.workloads import startup


class Kind(NamedTuple):
    """setup(): what both sides prepare. call(prepared, slow): what base does, and head where `slow`."""

    setup: Callable[[], Any]
    call: Callable[[Any, bool], object]
    clock: str = "cpu"


def _table() -> Any:
    """Numbers far beyond the second-level cache, an order through them, and one of which a part is at random."""
    rng, order = np.random.default_rng(0), np.arange(400_000)
    mixed, some = order.copy(), rng.permutation(order)[:15_000]
    mixed[some] = rng.permutation(some)
    return rng.random(order.size), order, mixed


def _lists() -> Any:
    return np.random.default_rng(0).random((400, 30)).tolist()


def _inserted(row: list[float]) -> list[float]:
    """Sorted by insertion: n^2 moves."""
    done: list[float] = []
    for number in row:
        bisect.insort(done, number)
    return done


def _scaled(number: float) -> float:
    return number * 1.5


def _kernel() -> Any:
    import numba

    def summed(row: Any) -> float:
        total = 0.0
        for number in row:
            total += number
        return total

    compiled, rows = numba.njit(summed), np.random.default_rng(0).random((400, 300))
    compiled(rows[0])
    return compiled, summed, rows


def _network() -> Any:
    import torch

    torch.manual_seed(0)
    layers = [torch.nn.Linear(128, 128), torch.nn.Tanh(), torch.nn.Linear(128, 8)]
    network = torch.nn.Sequential(*layers)
    return network, torch.optim.Adam(network.parameters()), torch.randn(512, 128)


def _learned(prepared: Any, slow: bool) -> None:
    """Twenty steps; where `slow`, the forward pass is done twice more in each third one."""
    network, optimiser, seen = prepared
    for step in range(20):
        for _ in range(2 if step % (3 if slow else 21) == 0 else 0):
            network(seen)
        optimiser.zero_grad()
        network(seen).square().mean().backward()
        optimiser.step()


def hoard(more: int) -> None:
    """Keep so many bytes more in each of some rounds, and print the median growth."""
    kept, held = [], []
    for _ in range(8):
        kept.append(b"x" * more)
        held.append(startup.resident())
    print(np.median(np.diff(held)))


def _started(_: Any, slow: bool) -> Outcome:
    work = 30_000_000 if slow else 20_000_000
    return Outcome(facts={"cpu_seconds": startup.processor_seconds(f"sum(range({work}))")[0]})


def _held(_: Any, slow: bool) -> Outcome:
    code = f"from benches.gate.quality import kinds; kinds.hoard({600_000 if slow else 1_000})"
    return Outcome(facts={"growth_bytes": float(startup.processor_seconds(code)[1])})


KINDS = {
    "order": Kind(_table, lambda p, slow: p[0][p[1 + slow]].sum()),
    "allocation": Kind(_table, lambda p, slow: np.sort(p[0][:80_000].copy()[:40_000] if slow else p[0][:40_000])),
    "call": Kind(
        _lists, lambda p, slow: sum(_scaled(x) if slow and n % 2 else x * 1.5 for row in p for n, x in enumerate(row))
    ),
    "quadratic": Kind(
        _lists, lambda p, slow: [_inserted(row) if slow and n < 60 else sorted(row) for n, row in enumerate(p)]
    ),
    "interpreted": Kind(_kernel, lambda p, slow: [p[slow and n < 1](row) for n, row in enumerate(p[2])]),
    "training": Kind(_network, _learned, "wall"),
    "start": Kind(dict, _started, "none"),
    "memory": Kind(dict, _held, "none"),
}


def of(name: str, template: Case, *, slow: bool) -> Case:
    """The case of a kind, otherwise like `template`."""
    kind = KINDS[name]
    return replace(
        template,
        name=f"probe/{name}-0",
        setup=lambda _: kind.setup(),
        call=lambda prepared, _: outcome if isinstance(outcome := kind.call(prepared, slow), Outcome) else None,
        clock=kind.clock,  # type: ignore[arg-type]
    )
