"""A scenario: which agents trade, where, and under which rules; `params` holds it as arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from types import NoneType
from typing import Any

import numpy as np

from market.clearing.books import Nodes
from market.clearing.config import MarketConfig
from market.community.agents import KINDS, Battery, DERAgent, Fleet, Params
from market.community.bank import days_bank
from market.community.series import Source
from market.community.synthetic import DERProfileHandler, DSOProfileHandler
from market.grid.network import GridNetwork
from market.grid.topologies import GridTopology
from market.support import check
from market.support.arrays import Floats, Ints
from market.support.rng import ANCHOR_STREAM, POPULATION_STREAM, permutation, uniform
from market.support.tables import in_one_line

STUDY_SEED = 42
STUDY_CAPACITY = 5000.0
"""Capacity of the study's grid, kW."""


@in_one_line
@dataclass(frozen=True, eq=False)
class Scenario:
    """Everything that an environment needs; the fields are the study's own names.

    agents: at least one, with different ids.
    max_steps: steps of an episode, and of a day of the agents' profiles.
    market_config: rules of the market.
    grid_network: None for trade without a grid.
    der_profile_handler: where the agents' profiles came from; not used.
    dso_profile_handler: the DSO's prices; None draws them within the limits of market_config.
    enable_reset_dso_profiles: new DSO prices for each episode.
    enable_reset_der_profiles: each episode draws a day of the agents' profiles, else all play the first.
    held_out_days: the last days of the profiles, which episodes draw only where `held_out`.
    held_out: episodes draw from the held-out days only; see `unseen`.
    enable_asynchronous_order: a new order of arrival for each step, else one for the whole episode.
    max_error: largest relative measurement error, in [0, 1).
    num_anchor: peers whose reputation an agent sees.
    seed: of all that is drawn.
    step_hours: length of a step, h.
    cooperation_weight: of the community's score in each reward, in [0, 1].
    """

    agents: tuple[DERAgent, ...]
    max_steps: int = 24
    market_config: MarketConfig = field(default_factory=MarketConfig)
    grid_network: GridNetwork | None = None
    der_profile_handler: DERProfileHandler | None = None
    dso_profile_handler: DSOProfileHandler | None = None
    enable_reset_dso_profiles: bool = True
    enable_asynchronous_order: bool = True
    max_error: float = 0.15
    num_anchor: int = 8
    seed: int = STUDY_SEED
    step_hours: float = 1.0
    cooperation_weight: float = 0.1
    enable_reset_der_profiles: bool = True
    held_out_days: int = 0
    held_out: bool = False

    def __post_init__(self) -> None:
        check.whole("max_steps", self.max_steps)
        check.whole("num_anchor", self.num_anchor, low=0)
        check.seed(self.seed)
        check.fields(self, 0.0, 0.999, "max_error")
        check.fields(self, 1e-3, 24.0, "step_hours", unit="h")
        check.fields(self, 0.0, 1.0, "cooperation_weight")
        check.whole("held_out_days", self.held_out_days, low=0)
        for name in ("enable_reset_dso_profiles", "enable_reset_der_profiles", "enable_asynchronous_order", "held_out"):
            check.flag(name, getattr(self, name))
        prices = self.dso_profile_handler
        check.instance("market_config", self.market_config, MarketConfig)
        check.instance("grid_network", self.grid_network, GridNetwork, NoneType)
        check.instance("dso_profile_handler", prices, DSOProfileHandler, NoneType)
        if prices is not None:
            most = self.market_config.max_price
            check.number("dso_profile_handler.max_price", prices.max_price, 0.0, most, "$/MWh, market_config.max_price")
        agents, ids = check.each("agents", self.agents, DERAgent, "DERAgent objects"), set()
        if not agents:
            raise ValueError("agents: got 0 agents; allowed: at least 1")
        for agent in agents:
            if agent.id in ids:
                raise ValueError(f"agents: got the id {agent.id!r} twice; allowed: one agent per id")
            ids.add(agent.id)
            (days, steps), most = agent.shape, agents[0].shape[0]
            if (days, steps) != (most, self.max_steps):
                raise ValueError(
                    f"generation_profile: got {days} days of {steps} steps for agent {agent.id!r}; "
                    f"allowed: {most} days, as for agent {agents[0].id!r}, of max_steps = {self.max_steps}"
                )
        object.__setattr__(self, "agents", agents)
        if self.held_out_days >= self.num_days:
            raise ValueError(
                f"held_out_days: got {self.held_out_days}; allowed: 0 to {self.num_days - 1}, "
                f"fewer than the profiles' {self.num_days} days"
            )
        if self.held_out and not self.held_out_days:
            raise ValueError("held_out: got True without held_out_days; allowed: False, or held_out_days of 1 or more")

    @classmethod
    def from_dict(cls, env_config: Mapping[str, Any]) -> Scenario:
        """The scenario that an environment configuration describes; its keys are the fields of this class."""
        for name in env_config:
            check.find(cls.__dataclass_fields__, name, "env_config")
        if "agents" not in env_config:
            raise ValueError("env_config: got no 'agents'; allowed: a list of at least 1 DERAgent")
        return cls(**env_config)

    @classmethod
    def of(cls, description: Scenario | Mapping[str, Any] | None = None, **study: Any) -> Scenario:
        """A scenario from what an environment is given: `description`, or arguments of `study` instead.

        description: a Scenario, a dictionary of its fields as in `from_dict`, or one of arguments of `study`.
        study: num_agents and what else `study` takes.
        """
        if description is not None and study:
            raise ValueError(
                f"scenario: got one and {', '.join(study)}, too; allowed: a description or fields of its own"
            )
        if isinstance(description, Scenario):
            return description
        given = study if description is None else description
        check.instance("scenario", given, Mapping, allowed="a Scenario or a dictionary of its fields")
        if "num_agents" in given and "agents" in given:
            raise ValueError("num_agents: got agents, too; allowed: a number of agents to make, or agents of your own")
        if "num_agents" in given:
            return cls.study(**given)
        if description is None:
            raise ValueError("num_agents: got nothing; allowed: num_agents=5, or a Scenario, or a dictionary of both")
        return cls.from_dict(given)

    @classmethod
    def study(
        cls,
        num_agents: int,
        seed: int = STUDY_SEED,
        topology: GridTopology | str = GridTopology.MESH,
        *,
        profiles: str = "synthetic",
        kinds: Sequence[str] = ("prosumer",),
        generation: Source | None = None,
        demand: Source | None = None,
        c_rate: float | None = 0.5,
        days: int | None = None,
        **overrides: Any,
    ) -> Scenario:
        """The study's population: capacity U(50, 150) kW, battery U(0.5, 1) x capacity kWh, one node per agent.

        num_agents: agent i is the same in every population.
        profiles: "synthetic", or "measured" for standard load profiles and the sun of a place
            (`market.community.measured`; needs the extra `data`).
        kinds: of the agents in turn, names of `market.community.agents.KINDS`; ("prosumer", "consumer", "storage")
            makes thirds.
        generation, demand: your own kWh per step instead, as in `market.community.series.as_profile`: of one day, which
            is then every day, or of several, which are cut at midnight.
        c_rate: power of a battery over its capacity, 1/h; None for no limit.
        days: of the profiles; None for as many as your own have, else 30, or 1 without enable_reset_der_profiles.
        overrides: fields of the scenario, such as max_steps or market_config; held_out_days is days // 5 without.
        """
        for name in overrides:
            check.find(cls.__dataclass_fields__, name, "overrides")
        num_agents, seed = check.whole("num_agents", num_agents), check.seed(seed)
        steps = check.whole("max_steps", overrides.get("max_steps", 24))
        hours = check.number("step_hours", overrides.get("step_hours", 1.0), 1e-3, 24.0, "h")
        draw = uniform(seed, np.arange(num_agents), 0, POPULATION_STREAM, 2)
        capacity = 50.0 + 100.0 * draw[:, 0]
        storage = capacity * (0.5 + 0.5 * draw[:, 1])
        redraws = overrides.get("enable_reset_der_profiles", True)
        check.flag("enable_reset_der_profiles", redraws)
        if days is None and not redraws:
            days = 1
        sources = {"generation": generation, "demand": demand}
        made, used = days_bank(capacity, steps, seed, hours, profiles, sources, days)
        if not isinstance(kinds, list | tuple) or not kinds:
            raise ValueError(f"kinds: got {check.shown(kinds)}; allowed: a list of {', '.join(KINDS)}")
        if c_rate is not None:
            check.number("c_rate", c_rate, 0.0, 1e3, "1/h, or None for no limit")
        turns = [check.find(KINDS, kind, "kinds") for kind in kinds]
        agents = []
        for i in range(num_agents):
            has = turns[i % len(turns)]
            size = float(storage[i])
            power = None if c_rate is None else c_rate * size
            battery = Battery(size, power=power) if "battery" in has else None
            own = made[i] * ("generation" in has), used[i] * ("demand" in has)
            agents.append(DERAgent(f"agent_{i:04d}", float(capacity[i]), battery, *own))
        network = GridNetwork(topology, num_agents, STUDY_CAPACITY, seed)  # type: ignore[arg-type]
        study = {"agents": agents, "grid_network": network, "seed": seed, "held_out_days": made.shape[1] // 5}
        return cls(**{**study, **overrides})

    @property
    def num_agents(self) -> int:
        return len(self.agents)

    @property
    def num_days(self) -> int:
        """Days of the agents' profiles, held out or not."""
        return self.agents[0].shape[0]

    @property
    def days(self) -> Ints:
        """The days that episodes draw from [K], in 0..num_days-1."""
        seen, everything = self.num_days - self.held_out_days, np.arange(self.num_days)
        return everything[seen:] if self.held_out else everything[:seen]

    @property
    def unseen(self) -> Scenario:
        """The same scenario on its held-out days, with the same arrays; itself when no days are held out."""
        if self.held_out or not self.held_out_days:
            return self
        other = replace(self, held_out=True)
        vars(other)["params"] = self.params.on(other.days)
        return other

    def __getstate__(self) -> dict[str, Any]:
        """The fields without `params`, which every process derives itself."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @cached_property
    def params(self) -> Params:
        """The scenario as arrays."""
        config, size = self.market_config, self.num_agents
        return Params(
            config=config,
            grid=None if self.grid_network is None else self.grid_network.to_grid(),
            fleet=Fleet.of([agent.battery for agent in self.agents], self.step_hours),
            tariffs=self.dso_profile_handler or DSOProfileHandler(config.min_price, config.max_price),
            node=self._nodes(),
            capacity=np.array([agent.capacity for agent in self.agents]),
            generation=_bank([agent.generation_profile for agent in self.agents]),
            demand=_bank([agent.demand_profile for agent in self.agents]),
            days=self.days,
            anchors=_anchors(size, self.num_anchor, self.seed),
            redraw_profiles=self.enable_reset_der_profiles,
            redraw_tariffs=self.enable_reset_dso_profiles,
            asynchronous=self.enable_asynchronous_order,
            max_error=self.max_error,
            cooperation_weight=self.cooperation_weight,
            seed=self.seed,
            step_hours=self.step_hours,
        )

    def _nodes(self) -> Nodes:
        """Grid node of each agent [N]: its own, else the one it was assigned to, else the next in turn."""
        network = self.grid_network
        if network is None:
            return np.zeros(self.num_agents, np.int32)
        placed = network.agent_node or network.assign_agents_to_graph(self.agents)
        nodes = np.empty(self.num_agents, np.int32)
        for i, agent in enumerate(self.agents):
            node = placed.get(agent.id, i % network.num_nodes) if agent.node is None else agent.node
            nodes[i] = network.check_node(node, agent.id)
        return nodes


def _bank(profiles: Sequence[Floats]) -> Floats:
    """The agents' profiles, [T] or [D, T] each, as [D, T, N]."""
    return np.ascontiguousarray(np.stack([np.atleast_2d(profile) for profile in profiles], axis=-1))


def _anchors(agents: int, num_anchor: int, seed: int) -> Ints:
    """Anchor peers of each agent [N, num_anchor], -1 in places that a small population leaves empty.

    A circulant graph with seeded offsets in pairs of opposites: all agents are anchors of equally many, and anchors of
    their own anchors (but for the last of an odd number), so that two agents can name each other.
    """
    near = permutation(seed, np.zeros(1, np.int64), 0, ANCHOR_STREAM, (agents - 1) // 2)[0] + 1
    offsets = np.stack((near, agents - near), 1).ravel()
    if agents % 2 == 0:
        offsets = np.append(offsets, agents // 2)
    offsets = offsets[:num_anchor]
    anchors = np.full((agents, num_anchor), -1, np.int64)
    anchors[:, : len(offsets)] = (np.arange(agents)[:, None] + offsets) % agents
    return anchors
