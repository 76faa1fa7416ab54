"""The distribution grid as arrays: distances, shortest paths, lines and zones, computed once."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from market.grid.topologies import FEEDERS, TOPOLOGIES, GridTopology, lines_between, shortest_paths
from market.support import check
from market.support.arrays import Floats, Int32s
from market.support.tables import in_one_line

if TYPE_CHECKING:
    import networkx as nx


MAX_SIZE = 1e9
"""Largest length of a way or line, km, resistance, ohm, and voltage, kV, that can be computed with."""


@dataclass(frozen=True)
class GridNetwork:
    """The description of a grid; `to_grid` computes the grid itself.

    topology: shape, a GridTopology or its name.
    num_nodes: nodes of a generated shape; IEEE13 and IEEE34 always have 13 and 34, which agents share.
    capacity: limit of the P2P trade of all agents together, kW.
    seed: of node positions and line lengths.
    ampacity: largest continuous current of every line, A; None takes that of the grid's line type.
    """

    topology: GridTopology
    num_nodes: int
    capacity: float
    seed: int = 42
    ampacity: float | None = None
    agent_node: dict[Hashable, int] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Node of each assigned agent, by agent id."""

    def __post_init__(self) -> None:
        topology = check.choose(GridTopology, self.topology, "topology")
        num_nodes = check.whole("num_nodes", self.num_nodes)
        if topology in FEEDERS:
            num_nodes = len(FEEDERS[topology].names)
        capacity = check.number("capacity", self.capacity, unit="kW")
        if self.ampacity is not None:
            vars(self).update(ampacity=check.number("ampacity", self.ampacity, 1e-6, 1e9, "A"))
        vars(self).update(topology=topology, num_nodes=num_nodes, capacity=capacity, seed=check.seed(self.seed))

    def assign_agents_to_graph(self, agents: Iterable[Any]) -> dict[Hashable, int]:
        """Give every agent a node and return `agent_node`, replacing what was assigned before.

        agents: with an `id` and a `node`; where the node is None, the k-th agent goes to node k modulo the node count.
        """
        places: dict[Hashable, int] = {}
        for k, agent in enumerate(check.each("agents", agents, object, "agents")):
            if not (hasattr(agent, "id") and hasattr(agent, "node")):
                raise ValueError(f"agents: got {check.shown(agent)}; allowed: agents, each with an id and a node")
            if agent.id in places:
                raise ValueError(f"agents: got id {check.shown(agent.id)} twice; allowed: each id once")
            places[agent.id] = self.check_node(k % self.num_nodes if agent.node is None else agent.node, agent.id)
        self.agent_node.clear()
        self.agent_node.update(places)
        return self.agent_node

    def check_node(self, node: object, agent: Hashable) -> int:
        """`node` as an int when it is one of the grid's, else a one-line ValueError that names the agent."""
        return check.whole(f"node of agent {check.shown(agent)}", node, 0, self.num_nodes - 1)

    def to_grid(self) -> Grid:
        """The grid as arrays; computed on the first call."""
        return self._grid

    @cached_property
    def _grid(self) -> Grid:
        layout = TOPOLOGIES[self.topology](self.num_nodes, self.seed)
        distance, predecessor, line_of = shortest_paths(layout)
        length = layout.length * layout.km_per_unit
        ampacity = layout.line_type.ampacity if self.ampacity is None else self.ampacity
        return Grid(
            capacity=self.capacity,
            distance=distance,
            predecessor=predecessor,
            line_from=layout.line_from,
            line_to=layout.line_to,
            line_length=length,
            line_capacity=np.where(length > 0, np.sqrt(3) * layout.voltage * ampacity, np.inf),
            line_resistance=length * layout.line_type.resistance,
            line_reactance=length * layout.line_type.reactance,
            line_voltage=layout.voltage,
            line_of=line_of,
            zone=layout.zone,
            diameter=float(distance.max()),
            names=layout.names,
        )

    @cached_property
    def graph(self) -> nx.Graph[int]:
        """For plots and analysis: nodes 0..n-1 with `name` and `zone`, edges with `length` km and `capacity` kW."""
        import networkx as nx

        grid = self.to_grid()
        graph: nx.Graph[int] = nx.Graph()
        for node, (name, zone) in enumerate(zip(grid.names, grid.zone.tolist(), strict=True)):
            graph.add_node(node, name=name, zone=zone)
        columns = (grid.line_from, grid.line_to, grid.line_length, grid.line_capacity)
        for start, end, length, capacity in zip(*(column.tolist() for column in columns), strict=True):
            graph.add_edge(start, end, length=length, capacity=capacity)
        return graph

    def __getstate__(self) -> dict[str, Any]:
        return {f.name: getattr(self, f.name) for f in fields(self)}  # without caches: cheap to send to workers


@in_one_line
@dataclass(frozen=True, eq=False)
class Grid:
    """A grid of n nodes and L lines, all arrays checked, copied and read-only: kernels walk them without looking."""

    capacity: float  # limit of the P2P trade of all agents together, kW
    distance: Floats  # along the shortest path [n, n], km
    predecessor: Int32s  # the node before b on the path from a to b [a, b]; -1 where a is b
    line_from: Int32s  # end nodes [L]; flow from line_from to line_to counts as positive
    line_to: Int32s
    line_length: Floats  # [L] km
    line_capacity: Floats  # [L] kW, sqrt(3) x line_voltage x ampacity; lines of length 0 are unlimited (inf)
    line_resistance: Floats  # [L] ohm
    line_reactance: Floats  # [L] ohm
    line_voltage: Floats  # nominal, between lines [L], kV
    line_of: Int32s  # the line between two nodes [n, n], -1 where there is none
    zone: Int32s  # of the nodes [n]
    diameter: float  # the longest distance, km
    names: tuple[str, ...]  # of the nodes, n

    def __post_init__(self) -> None:
        check.fields(self, 0.0, check.LARGEST, "capacity", unit="kW")
        check.fields(self, 0.0, MAX_SIZE, "diameter", unit="km")
        check.instance("names", self.names, tuple)
        n = check.whole("names", len(self.names))
        size: dict[str, int | str] = {"n": n, "L": "lines"}
        for name, axes, dtype, low, high in (
            ("distance", "nn", np.float64, 0.0, MAX_SIZE),
            ("predecessor", "nn", np.int32, -1, n - 1),
            ("line_from", "L", np.int32, 0, n - 1),
            ("line_to", "L", np.int32, 0, n - 1),
            ("line_length", "L", np.float64, 0.0, MAX_SIZE),
            ("line_capacity", "L", np.float64, 0.0, np.inf),
            ("line_resistance", "L", np.float64, 0.0, MAX_SIZE),
            ("line_reactance", "L", np.float64, -MAX_SIZE, MAX_SIZE),
            ("line_voltage", "L", np.float64, 1e-6, MAX_SIZE),
            ("line_of", "nn", np.int32, -1, n * n),
            ("zone", "n", np.int32, 0, check.MAX_COUNT),
        ):
            given, shape, allowed = getattr(self, name), tuple(size[axis] for axis in axes), f"{low:g} to {high:g}"
            values = check.array(name, given, shape, dtype=dtype, low=low, high=high, allowed=allowed)
            values.flags.writeable = False
            vars(self)[name] = values
            size |= zip(axes, values.shape, strict=True)
        self._check_paths()

    def _check_paths(self) -> None:
        """ValueError unless each line is where its ends are, and each path walks along lines back to its start."""
        n, lines = self.num_nodes, lines_between(self.num_nodes, self.line_from, self.line_to)
        check.refuse("line_of", self.line_of, self.line_of != lines, "the line from line_from to line_to, else -1")
        start, before = np.arange(n, dtype=np.int32), self.predecessor.copy()
        np.fill_diagonal(before, start)
        cut = (before < 0) | (lines[before, start] < 0)
        np.fill_diagonal(cut, False)
        check.refuse("predecessor", self.predecessor, cut, "a node with a line to the next, as all nodes are connected")
        for _ in range(n.bit_length()):  # twice as many steps at once, until all have arrived
            if (before == start[:, None]).all():
                return
            before = np.take_along_axis(before, before, 1)
        check.refuse("predecessor", self.predecessor, before != start[:, None], "a path that leads back to its start")

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.__post_init__()  # arrays come out of a pickle writeable

    @property
    def num_nodes(self) -> int:
        """Number of nodes, n."""
        return len(self.names)
