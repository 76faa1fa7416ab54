"""Shapes of the distribution grid: nodes, the lines between them, their lengths, and zones.

To add one, write a function (num_nodes, seed) -> Layout, and give it a name in `GridTopology` and a row in
`TOPOLOGIES`. With the same seed, the points of MESH and the line lengths of the other generated shapes stay as they are
when nodes are added.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from market.support.arrays import Floats, Int32s, Ints

SIDE_KM = 1.0
"""Side of the square that holds the nodes of MESH, km."""
SHORTEST_KM, LONGEST_KM = 0.05, 0.5
"""Lines of RING, LINE, STAR and TREE have lengths uniform between these, km."""
KM_PER_FOOT = 0.3048 / 1000
BRANCHES = 3
"""Children of every inner node of TREE."""
ZONES = 4
"""Zones of a generated grid with four nodes or more."""


class GridTopology(StrEnum):
    """Shape of the distribution grid; see `TOPOLOGIES`."""

    MESH = "mesh"
    RING = "ring"
    LINE = "line"
    STAR = "star"
    TREE = "tree"
    IEEE13 = "ieee13"
    IEEE34 = "ieee34"


class LineType(NamedTuple):
    """The lines of a balanced three-phase grid, positive sequence."""

    resistance: float  # ohm/km
    reactance: float  # ohm/km
    voltage: float  # between lines, kV
    ampacity: float  # largest continuous current of a conductor, A


MEDIUM_VOLTAGE = LineType(0.161, 0.117, 20.0, 362.0)
"""Aluminium cable of 185 mm2 at 12/20 kV, NA2XS2Y 1x185 RM/25 of pandapower's library: 5 MW need medium voltage."""
TRUNK_13 = LineType(0.1156, 0.3708, 4.16, 730.0)
"""Configuration 601 of the IEEE 13 node feeder: mean self less mean mutual impedance of the published matrix.

Ampacities of the feeders' conductors, here 556,500 26/7 ACSR, are those of Kersting, "Distribution System Modeling and
Analysis", appendix A.
"""
TRUNK_34 = LineType(0.6960, 0.5178, 24.9, 230.0)
"""Configuration 300 of the IEEE 34 node feeder, 1/0 ACSR, in the same way."""


@dataclass(frozen=True, eq=False)
class Layout:
    """A grid of n nodes and L lines. No line twice, no loop from a node to itself."""

    names: tuple[str, ...]  # of the nodes, n
    line_from: Int32s  # end nodes [L]
    line_to: Int32s
    length: Floats  # [L], in units of `km_per_unit` km; 0 is a switch or a transformer
    zone: Int32s  # of the nodes [n]: 0, 1, 2, ... without gaps
    line_type: LineType  # of all lines
    voltage: Floats  # at which each line is run [L], kV; behind a transformer not that of line_type
    km_per_unit: float = 1.0
    complete: bool = False  # every pair of nodes has a line, and no detour is shorter


def _mesh(num_nodes: int, seed: int) -> Layout:
    """Complete graph of points in a square of 1 km; zones are its quarters."""
    position = np.random.default_rng(seed).random((num_nodes, 2)) * SIDE_KM
    start, end = np.triu_indices(num_nodes, 1)
    length = np.hypot(*(position[start] - position[end]).T)
    quarter = 2 * (position[:, 0] >= SIDE_KM / 2) + (position[:, 1] >= SIDE_KM / 2)
    return _layout(num_nodes, start, end, length, quarter, complete=True)


def _ring(num_nodes: int, seed: int) -> Layout:
    """A circle; zones are arcs. One node has no line and two have a single one."""
    start = np.arange(num_nodes if num_nodes > 2 else num_nodes - 1)
    return _layout(num_nodes, start, (start + 1) % num_nodes, _lengths(len(start), seed), _arcs(num_nodes))


def _line(num_nodes: int, seed: int) -> Layout:
    """A chain; zones are its sections."""
    start = np.arange(num_nodes - 1)
    return _layout(num_nodes, start, start + 1, _lengths(len(start), seed), _arcs(num_nodes))


def _star(num_nodes: int, seed: int) -> Layout:
    """Node 0 in the middle, one line to each other node; zones are sectors."""
    leaf = np.arange(1, num_nodes)
    return _layout(num_nodes, 0 * leaf, leaf, _lengths(len(leaf), seed), _arcs(num_nodes))


def _tree(num_nodes: int, seed: int) -> Layout:
    """Node 0 is the root and each node has up to three children; zones are the root and its branches."""
    child = np.arange(1, num_nodes)
    parent = (child - 1) // BRANCHES
    branch = np.arange(num_nodes)
    while (branch > BRANCHES).any():  # climb to the child of the root: one pass per level
        branch = np.where(branch > BRANCHES, (branch - 1) // BRANCHES, branch)
    return _layout(num_nodes, parent, child, _lengths(len(child), seed), branch)


def _arcs(num_nodes: int) -> Ints:
    return np.arange(num_nodes) * ZONES // num_nodes


def _lengths(count: int, seed: int) -> Floats:
    return np.random.default_rng(seed).uniform(SHORTEST_KM, LONGEST_KM, count)


def _layout(nodes: int, start: Ints, end: Ints, length: Floats, zone: Ints, complete: bool = False) -> Layout:
    return Layout(
        names=tuple(map(str, range(nodes))),
        line_from=start.astype(np.int32),
        line_to=end.astype(np.int32),
        length=length,
        zone=np.unique(zone, return_inverse=True)[1].astype(np.int32),  # small grids leave zones empty: close the gaps
        line_type=MEDIUM_VOLTAGE,
        voltage=np.broadcast_to(MEDIUM_VOLTAGE.voltage, len(start)),
        complete=complete,
    )


def _feeder(lines: str, zones: str, line_type: LineType) -> Layout:
    """A published feeder: `lines` as "from-to feet, ..." or "from-to feet kV", `zones` as names separated by "|"."""
    groups = [group.split() for group in zones.split("|")]
    zone = {name: index for index, group in enumerate(groups) for name in group}
    number = {name: index for index, name in enumerate(zone)}
    rows = [row.replace("-", " ").split() for row in lines.split(",")]
    return Layout(
        names=tuple(number),
        line_from=np.array([number[a] for a, *_ in rows], np.int32),
        line_to=np.array([number[b] for _, b, *_ in rows], np.int32),
        length=np.array([float(feet) for _, _, feet, *_ in rows]),
        zone=np.array(list(zone.values()), np.int32),
        line_type=line_type,
        voltage=np.array([float(kv[0]) if kv else line_type.voltage for _, _, _, *kv in rows]),
        km_per_unit=KM_PER_FOOT,
    )


FEEDERS: dict[GridTopology, Layout] = {
    # IEEE PES Test Feeder Working Group: W. H. Kersting, "Radial distribution test feeders", IEEE PES Winter Meeting
    # 2001, doi:10.1109/PESW.2001.916993. Zones: trunk, 633 side, 645 side, the 671 area.
    GridTopology.IEEE13: _feeder(
        "650-632 2000, 632-633 500, 633-634 0, 632-645 500, 645-646 300, 632-671 2000, 671-680 1000, 671-692 0, "
        "692-675 500, 671-684 300, 684-611 300, 684-652 800",
        "650 632 | 633 634 | 645 646 | 671 680 692 675 684 611 652",
        TRUNK_13,
    ),
    # Zones: up to the first regulator, between the regulators, beyond 832, the side behind the transformer (4.16 kV).
    GridTopology.IEEE34: _feeder(
        "800-802 2580, 802-806 1730, 806-808 32230, 808-810 5804, 808-812 37500, 812-814 29730, 814-850 10, "
        "850-816 310, 816-818 1710, 818-820 48150, 820-822 13740, 816-824 10210, 824-826 3030, 824-828 840, "
        "828-830 20440, 830-854 520, 854-856 23330, 854-852 36830, 852-832 10, 832-858 4900, 858-864 1620, "
        "858-834 5830, 834-842 280, 842-844 1350, 844-846 3640, 846-848 530, 834-860 2020, 860-836 2680, 836-840 860, "
        "836-862 280, 862-838 4860, 832-888 0, 888-890 10560 4.16",
        "800 802 806 808 810 812 814 | 850 816 818 820 822 824 826 828 830 854 856 852 | "
        "832 858 864 834 842 844 846 848 860 836 840 862 838 | 888 890",
        TRUNK_34,
    ),
}
"""Layouts with a node count of their own."""

TOPOLOGIES: dict[GridTopology, Callable[[int, int], Layout]] = {
    GridTopology.MESH: _mesh,
    GridTopology.RING: _ring,
    GridTopology.LINE: _line,
    GridTopology.STAR: _star,
    GridTopology.TREE: _tree,
    GridTopology.IEEE13: lambda num_nodes, seed: FEEDERS[GridTopology.IEEE13],
    GridTopology.IEEE34: lambda num_nodes, seed: FEEDERS[GridTopology.IEEE34],
}
"""For each GridTopology a function (num_nodes, seed) -> Layout; the feeders ignore both."""


def shortest_paths(layout: Layout) -> tuple[Floats, Int32s, Int32s]:
    """Distance in km, predecessor and line of all pairs of nodes, each [n, n].

    predecessor[a, b] is the node before b on the way from a; line[a, b] joins a and b; -1 where there is none.
    """
    n, start, end = len(layout.names), layout.line_from, layout.line_to
    if layout.complete:
        distance = np.zeros((n, n))
        distance[start, end] = distance[end, start] = layout.length
        predecessor = np.repeat(np.arange(n, dtype=np.int32)[:, None], n, axis=1)
    else:
        # Sparse: a stored zero is a line of length 0, which a dense matrix could not tell from no line.
        both_ways = np.concatenate([start, end]), np.concatenate([end, start])
        graph = csr_array((np.tile(layout.length, 2), both_ways), shape=(n, n))
        distance, predecessor = dijkstra(graph, directed=True, return_predecessors=True)
        distance = np.minimum(distance, distance.T)  # there and back may differ in the last digit
    np.fill_diagonal(predecessor, -1)
    return distance * layout.km_per_unit, predecessor, lines_between(n, start, end)


def lines_between(nodes: int, start: Int32s, end: Int32s) -> Int32s:
    """The line between two nodes [n, n], -1 where there is none. start, end: of the lines [L]."""
    line = np.full((nodes, nodes), -1, np.int32)
    line[start, end] = line[end, start] = np.arange(len(start))
    return line
