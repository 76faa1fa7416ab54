"""The contract of a topology as one call, for those of `TOPOLOGIES` and for your own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from market.grid.topologies import Layout, shortest_paths

SIZES = (1, 2, 3, 4, 9, 30)
"""Nodes that are asked for."""


def check_topology(make: Callable[[int, int], Layout], seed: int = 7) -> None:
    """AssertionError saying what is wrong with a topology; None when all is well.

    make: a function (num_nodes, seed) -> Layout, such as a row of `TOPOLOGIES`.
    seed: that it is called with.
    """
    if not __debug__:
        raise RuntimeError("check_topology: got python -O; allowed: without -O, which drops its assertions")
    layouts = {nodes: make(nodes, seed) for nodes in SIZES}
    counts = [len(layout.names) for layout in layouts.values()]
    fine = counts == list(SIZES) or len(set(counts)) == 1
    assert fine, f"names: {counts} nodes for {SIZES}; as many, or always the same"
    for nodes, layout in layouts.items():
        try:
            _check(layout)
            again = make(nodes, seed)
            for name, value in vars(layout).items():
                same = np.array_equal(value, getattr(again, name))
                assert same, f"{name}: differs when it is made again; draw from np.random.default_rng(seed) alone"
        except AssertionError as error:
            raise AssertionError(f"{nodes} nodes: {error}") from None


def _check(layout: Layout) -> None:
    nodes, lines = len(layout.names), len(layout.length)
    start, end = layout.line_from, layout.line_to
    for name, size in (("line_from", lines), ("line_to", lines), ("voltage", lines), ("zone", nodes)):
        shape = getattr(layout, name).shape
        assert shape == (size,), f"{name}: shape {shape}; [{size}] for {nodes} nodes and {lines} lengths"
    ends = np.concatenate([start, end])
    assert ((ends >= 0) & (ends < nodes)).all(), f"line_from, line_to: beyond 0 to {nodes - 1}, the nodes"
    assert (start != end).all(), "line_from, line_to: a line from a node to itself; leave it out"
    pairs = np.unique(np.sort([start, end], 0), axis=1).shape[1]
    assert pairs == lines, f"line_from, line_to: {lines} lines between {pairs} pairs of nodes; one for each pair"
    for name, low in (("length", 0.0), ("voltage", 1e-6)):
        value = getattr(layout, name)
        assert (np.isfinite(value) & (value >= low)).all(), f"{name}: {value}; finite, at least {low:g}"
    zones = np.unique(layout.zone)
    assert np.array_equal(zones, np.arange(len(zones))), f"zone: {zones.tolist()}; 0, 1, 2, ... without gaps"
    distance = shortest_paths(layout)[0]
    assert np.isfinite(distance).all(), "line_from, line_to: two nodes without a path; join all of them"
    if layout.complete:
        detour = (distance[:, None, :] + distance[None, :, :]).min(-1)  # distance is symmetric
        every = nodes * (nodes - 1) // 2
        assert lines == every, f"complete: {lines} lines of {nodes} nodes; False, or one for each pair"
        assert (distance <= detour * (1 + 1e-12)).all(), "complete: a way over a third node is shorter; False"
