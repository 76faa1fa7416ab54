"""The distribution grid as arrays: distances, shortest paths, lines and zones, worked out once."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from market.config import GridTopology, check_positive_int, check_range, choose
from market.grid.topologies import FEEDERS, TOPOLOGIES, Layout, shortest_paths

if TYPE_CHECKING:
    import networkx as nx

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


class Placed(Protocol):
    """What `GridNetwork.assign_agents_to_graph` reads of an agent; a node of None means "anywhere"."""

    @property
    def id(self) -> Hashable: ...
    @property
    def node(self) -> int | None: ...


@dataclass(frozen=True)
class GridNetwork:
    """A grid in four words; `to_grid` works it out.

    topology: shape, see `market.grid.topologies`. capacity: of the whole grid, kW. seed: of positions and lengths.
    num_nodes: of a generated shape; IEEE13 and IEEE34 have 13 and 34 whatever is asked for, and agents share them.
    """

    topology: GridTopology
    num_nodes: int
    capacity: float
    seed: int = 42
    agent_node: dict[Hashable, int] = field(default_factory=dict, init=False, repr=False, compare=False)
    """Node of each assigned agent, by agent id."""

    def __post_init__(self) -> None:
        topology = choose(GridTopology, self.topology, "topology")
        num_nodes = check_positive_int("num_nodes", self.num_nodes)
        if topology in FEEDERS:
            num_nodes = len(FEEDERS[topology].names)
        object.__setattr__(self, "topology", topology)
        object.__setattr__(self, "num_nodes", num_nodes)
        object.__setattr__(self, "capacity", check_range("capacity", self.capacity, 0.0, unit="kW"))
        object.__setattr__(self, "seed", check_positive_int("seed", self.seed, low=0))

    def assign_agents_to_graph(self, agents: Iterable[Placed]) -> dict[Hashable, int]:
        """Gives every agent a node and returns `agent_node`, replacing what was assigned before.

        An agent with a node of its own stays there; the k-th agent without one goes to node k modulo the node count.
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
        """The grid as arrays; worked out on the first call."""
        return self._grid

    @cached_property
    def _grid(self) -> Grid:
        return _build(TOPOLOGIES[self.topology](self.num_nodes, self.seed), self.capacity)

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
    """A grid of n nodes and L lines, all arrays read-only.

    capacity: of the whole grid, kW. distance: along the shortest path [n, n], km.
    predecessor: the node before b on the path from a to b, [a, b]; -1 where a is b.
    line_from, line_to: end nodes [L]; flow from the first to the second counts as positive.
    line_length: [L] km. line_capacity: [L] kW, the grid's capacity shared out by inverse length so that lines add up to
    it; switches and transformers of length 0 are unlimited (inf).
    line_resistance, line_reactance: [L] ohm. line_voltage: nominal, between lines [L], kV.
    line_of: the line between two nodes [n, n], -1 where there is none. zone: [n]. diameter: the longest distance, km.
    names: of the nodes, n.
    """

    capacity: float
    distance: Floats
    predecessor: NDArray[np.int32]
    line_from: NDArray[np.int32]
    line_to: NDArray[np.int32]
    line_length: Floats
    line_capacity: Floats
    line_resistance: Floats
    line_reactance: Floats
    line_voltage: Floats
    line_of: NDArray[np.int32]
    zone: NDArray[np.int32]
    diameter: float
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        for value in vars(self).values():
            if isinstance(value, np.ndarray):
                value.flags.writeable = False

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.__post_init__()  # arrays come out of a pickle writeable

    @property
    def num_nodes(self) -> int:
        """Number of nodes, n."""
        return len(self.names)


def _build(layout: Layout, capacity: float) -> Grid:
    distance, predecessor, line_of = shortest_paths(layout)
    length = layout.length * layout.km_per_unit
    share = 1 / length[length > 0]
    rating = np.full(len(length), np.inf)
    rating[length > 0] = capacity * share / share.sum()
    return Grid(
        capacity=capacity,
        distance=distance,
        predecessor=predecessor,
        line_from=layout.line_from,
        line_to=layout.line_to,
        line_length=length,
        line_capacity=rating,
        line_resistance=length * layout.line_type.resistance,
        line_reactance=length * layout.line_type.reactance,
        line_voltage=layout.voltage,
        line_of=line_of,
        zone=layout.zone,
        diameter=float(distance.max()),
        names=layout.names,
    )
