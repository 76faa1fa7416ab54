"""The distribution grid as arrays: distances, shortest paths, lines and zones, computed once."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from market.config import GridTopology, check_positive_int, check_range, choose
from market.grid.topologies import FEEDERS, TOPOLOGIES, Floats, Int32s, shortest_paths

if TYPE_CHECKING:
    import networkx as nx


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
        topology = choose(GridTopology, self.topology, "topology")
        num_nodes = check_positive_int("num_nodes", self.num_nodes)
        if topology in FEEDERS:
            num_nodes = len(FEEDERS[topology].names)
        capacity, seed = check_range("capacity", self.capacity, unit="kW"), check_positive_int("seed", self.seed, low=0)
        if self.ampacity is not None:
            vars(self).update(ampacity=check_range("ampacity", self.ampacity, 1e-6, 1e9, "A"))
        vars(self).update(topology=topology, num_nodes=num_nodes, capacity=capacity, seed=seed)

    def assign_agents_to_graph(self, agents: Iterable[Any]) -> dict[Hashable, int]:
        """Give every agent a node and return `agent_node`, replacing what was assigned before.

        agents: with an `id` and a `node`; where the node is None, the k-th agent goes to node k modulo the node count.
        """
        places: dict[Hashable, int] = {}
        for k, agent in enumerate(agents):
            if agent.id in places:
                raise ValueError(f"agents: got id {agent.id!r} twice; allowed: each id once")
            places[agent.id] = k % self.num_nodes if agent.node is None else agent.node
            if places[agent.id] not in range(self.num_nodes):
                raise ValueError(f"node: got {agent.node!r} of agent {agent.id!r}; allowed: 0 to {self.num_nodes - 1}")
        self.agent_node.clear()
        self.agent_node.update(places)
        return self.agent_node

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


@dataclass(frozen=True, eq=False)
class Grid:
    """A grid of n nodes and L lines, all arrays read-only."""

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
        for value in vars(self).values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self.__post_init__()  # arrays come out of a pickle writeable

    @property
    def num_nodes(self) -> int:
        """Number of nodes, n."""
        return len(self.names)
