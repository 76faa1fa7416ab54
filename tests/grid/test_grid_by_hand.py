"""A grid made by hand: what kernels would walk for ever, or out of memory, is refused when it is made."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from grid_support import MANY
from market.grid.network import Grid, GridNetwork
from market.grid.routing import route

GRIDS = [network.to_grid() for networks in MANY.values() for network in networks if network.num_nodes <= 20]
INDICES = ("predecessor", "line_of", "line_from", "line_to")


def all_paths_end(columns: dict[str, Any]) -> bool:
    """The slow oracle: walks from every node to every other, along lines that are where they say."""
    n, lines = len(columns["names"]), len(columns["line_length"])
    ends = [{int(a), int(b)} for a, b in zip(columns["line_from"], columns["line_to"], strict=True)]
    if not all(end <= set(range(n)) for end in ends):
        return False
    joined = {(a, b): ends.index({a, b}) if {a, b} in ends else -1 for a in range(n) for b in range(n)}
    if len({frozenset(end) for end in ends}) < lines or any(
        columns["line_of"][pair] != joined[pair] for pair in joined
    ):
        return False
    for start in range(n):
        for end in range(n):
            at, steps = end, 0
            while at != start:
                before = int(columns["predecessor"][start, at])
                steps += 1
                if not 0 <= before < n or joined[before, at] < 0 or steps > n:
                    return False
                at = before
    return True


@given(st.data())
def test_a_grid_is_accepted_exactly_when_all_its_paths_end(data):
    grid = data.draw(st.sampled_from([each for each in GRIDS if each.num_nodes <= 9]))
    columns = {**vars(grid)}
    for name in data.draw(st.lists(st.sampled_from(INDICES), max_size=2)):
        if columns[name].size:
            columns[name] = columns[name].copy()
            place = data.draw(st.integers(0, columns[name].size - 1))
            columns[name].flat[place] = data.draw(st.integers(-2, grid.num_nodes) | st.integers(-(2**31), 2**31 - 1))
    if columns["predecessor"].flags.writeable:
        np.fill_diagonal(columns["predecessor"], -1)  # nobody looks there
    if not all_paths_end(columns):
        with pytest.raises(ValueError, match=r"^(predecessor|line_of|line_from|line_to): got [^\n]*; allowed: [^\n]*$"):
            Grid(**columns)
        return
    made, pairs = Grid(**columns), np.arange(grid.num_nodes**2)
    seller, buyer = np.divmod(pairs, grid.num_nodes)
    route(made, seller, buyer, np.ones(len(pairs)), np.array([0, len(pairs)]))  # ends


def test_what_the_topologies_make_passes_and_is_copied():
    for grid in GRIDS:
        mine = {name: np.array(value) if isinstance(value, np.ndarray) else value for name, value in vars(grid).items()}
        made = Grid(**mine)
        for name, column in mine.items():
            if isinstance(column, np.ndarray):
                assert column.flags.writeable
                assert not getattr(made, name).flags.writeable
                assert not np.shares_memory(column, getattr(made, name))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"predecessor": [[-1, 0, 2], [1, -1, 1], [1, 2, -1]]}, "predecessor: got 2 at "),  # a step that stays
        (
            {"predecessor": [[-1, 2, 1], [1, -1, 1], [1, 2, -1]]},
            r"predecessor: got . at .*; allowed: a path that leads",
        ),
        ({"predecessor": [[-1, 0], [1, -1]]}, r"predecessor: got shape \[2, 2\]; allowed: \[3, 3\]"),
        ({"predecessor": [[-1, 0, 1], [1, -1, 1], [1, 2, 7]]}, r"predecessor: got 7 at \[2, 2\]; allowed: -1 to 2"),
        ({"predecessor": [[-1, 0, 1], [1, -1, 1], [-1, 2, -1]]}, r"predecessor: got -1 at \[2, 0\]; allowed: a node"),
        ({"line_of": np.zeros((3, 3))}, r"line_of: got 0 at \[0, 0\]; allowed: the line from line_from to line_to"),
        ({"line_from": [0, 3]}, "line_from: got 3 at 1; allowed: 0 to 2"),
        ({"line_to": [1, -1]}, "line_to: got -1 at 1; allowed: 0 to 2"),
        ({"line_to": [1.0, 1.5]}, "line_to: got 1.5 at 1; allowed: 0 to 2"),
        ({"zone": [0, 1]}, r"zone: got shape \[2\]; allowed: \[3\]"),
        ({"distance": np.full((3, 3), np.nan)}, r"distance: got nan at \[0, 0\]"),
        ({"line_voltage": [20.0, 0.0]}, "line_voltage: got 0.0 at 1"),
        ({"line_length": [[1.0], [1.0, 2.0]]}, r"line_length: got \[\[1.0\], "),
        ({"capacity": -1.0}, "capacity: got -1.0"),
        ({"names": ()}, "names: got 0; allowed: a whole number >= 1"),
        ({"names": "abc"}, "names: got 'abc'; allowed: tuple"),
    ],
)
def test_what_is_wrong_is_named(change, message):
    with pytest.raises(ValueError, match=message) as error:
        Grid(**{**vars(GridNetwork("line", 3, 10.0).to_grid()), **change})
    assert "\n" not in str(error.value)
