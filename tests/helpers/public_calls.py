"""Calls of the public API by name, with good arguments and what makes a result right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import numpy as np

from market import (
    Battery,
    DERAgent,
    DERProfileHandler,
    DSOProfileHandler,
    GridNetwork,
    Ledger,
    MarketConfig,
    Orders,
    Scenario,
    clear,
)
from market.community.measured import Place
from market.community.series import as_profile, resample
from market.community.synthetic import synthetic_profiles
from market.envs import MarketEnv, MarketMultiAgentEnv, MarketParallelEnv, MarketVectorEnv
from market.evaluation.optimum import cooperative_optimum
from market.evaluation.policies import POLICIES, play
from market.grid.network import Grid
from market.grid.power_flow import Feeder, power_flow
from market.grid.routing import line_flows, route
from market.records.ledger import decode, encode
from market.rl import APPOHyperparameters, PPOHyperparameters, RLTrainer, SACHyperparameters, SetUp
from market.simulation.dynamics import initial

AGENTS, STEPS, NODES = 2, 4, 3


@dataclass(frozen=True)
class Call:
    """of: called with good arguments, of which some are spoiled. also: words that its messages may begin with."""

    of: Callable[..., Any]
    good: dict[str, Any]
    also: tuple[str, ...] = ()
    right: Callable[[Any], bool] = lambda result: True


def finite(*arrays: Any) -> bool:
    return all(np.isfinite(array).all() for array in arrays)


def of_fields(kind: type, **given: Any) -> dict[str, Any]:
    return {each.name: getattr(kind, each.name, None) for each in fields(kind)} | given


@cache
def made() -> dict[str, Any]:
    """What calls take: one market of a kind, small."""
    params = Scenario.study(AGENTS, max_steps=STEPS, days=2, num_anchor=1).params
    network = GridNetwork("line", NODES, 100.0)
    orders = Orders([60.0, 50.0], [1.0, 2.0], [True, False])
    config = MarketConfig()
    trades = clear(orders, config, feed_in_tariff=45.0, utility_price=200.0).trades
    return {
        "params": params,
        "state": initial(params, np.arange(2)),
        "network": network,
        "grid": network.to_grid(),
        "orders": orders,
        "config": config,
        "trades": trades,
    }


def agent(**given: Any) -> DERAgent:
    usual = {"id": "a", "capacity": 9.0, "battery": None, "generation_profile": np.ones(STEPS)}
    return DERAgent(**usual | {"demand_profile": np.ones(STEPS)} | given)


def grid_routes(**columns: Any) -> bool:
    """A grid that is accepted sends every trade home."""
    grid = Grid(**columns)
    pairs = np.arange(grid.num_nodes**2)
    seller, buyer = pairs // grid.num_nodes, pairs % grid.num_nodes
    routing = route(grid, seller, buyer, np.ones(len(pairs)), np.array([0, len(pairs)]))
    feeder = Feeder.of(grid)
    flows = power_flow(feeder, np.ones((1, grid.num_nodes))) if feeder else routing
    return not np.isnan(routing.utilisation).any() and not np.isnan(flows[0]).any()


def cleared(**given: Any) -> bool:
    result = clear(**given)
    trades = result.trades
    return result.p2p_volume <= 1.0 and finite(trades.price, trades.quantity, trades.fee, trades.loss)


def stepped(kind: type, by_agent: bool) -> Callable[..., Any]:
    @cache
    def env() -> Any:
        scenario = Scenario.study(AGENTS, max_steps=STEPS, days=1, num_anchor=1)
        return kind(scenario, num_envs=2) if kind is MarketVectorEnv else kind(scenario)

    def step(seed: Any, **given: Any) -> Any:
        env().reset(seed=seed)
        each = {"agent_0000": given.get("first"), "agent_0001": given.get("second")}
        observed, reward, *_ = env().step(given.get("actions", each) if by_agent else given["actions"])
        return [*observed.values(), *reward.values()] if by_agent else [observed, reward]

    return step


class Unbuilt(RLTrainer):
    """A trainer whose arguments are checked, and no more."""

    def _build(self, stack: Any) -> SetUp:
        return SetUp(0.0, 0.0)


def community(description: Any) -> Any:
    return Scenario.of(description).params.capacity


def ledger(difficulty: Any, step: Any) -> Any:
    chain = Ledger(difficulty)
    chain.append(made()["trades"], step)
    return chain


@cache
def calls() -> dict[str, Call]:
    params, state, grid, config = (made()[name] for name in ("params", "state", "grid", "config"))
    ones, day = np.ones(2), np.ones(STEPS)
    study = {"num_agents": AGENTS, "seed": 1, "topology": "mesh", "profiles": "synthetic", "kinds": ("prosumer",)}
    study |= {"generation": day, "demand": np.ones((AGENTS, STEPS)), "c_rate": 0.5, "days": 1, "max_steps": STEPS}
    env = {"num_agents": AGENTS, "num_envs": 2, "max_steps": STEPS, "days": 1}
    terms = {"feed_in_tariff": 45.0, "utility_price": 200.0, "last_price": 60.0, "step_hours": 1.0}
    book = {"price": ones * 50, "quantity": ones, "is_buy": np.array([True, False]), "agent": np.array([3, 4])}
    book |= {"arrival": ones, "reputation": ones / 2, "partner": np.array([4, -2]), "node": np.array([0, 1])}
    scenario = of_fields(Scenario, agents=[agent()], max_steps=STEPS, market_config=config, num_anchor=1)
    scenario |= {"grid_network": GridNetwork("mesh", 2, 10.0), "dso_profile_handler": DSOProfileHandler(40.0, 240.0)}
    del scenario["der_profile_handler"]
    trainer = {"env_config": scenario_of_study(), "algorithm": "ppo", "training": "ctde", "iters": 1, "cpus": 1}
    trainer |= {"episodes_per_iteration": 2, "gpus": 0, "seed": 1, "num_env_runners": 0, "num_learners": 0}
    trainer |= {"ray_address": None, "hyperparameters": PPOHyperparameters(minibatch=2)}
    actions = {"seed": 1, "first": np.zeros(4), "second": np.zeros(4)}
    agents = [agent(), agent(id="b", node=1)]
    network = {"topology": "ring", "num_nodes": NODES, "capacity": 10.0, "seed": 1, "ampacity": 5.0}
    return {
        "Orders": Call(Orders, book),
        "MarketConfig": Call(MarketConfig, of_fields(MarketConfig)),
        "clear": Call(cleared, terms | {"orders": made()["orders"], "config": config, "grid": grid}),
        "Battery": Call(Battery, of_fields(Battery, nominal_capacity=5.0, power=1.0)),
        "DERAgent": Call(agent, {**vars(agent()), "battery": Battery(1.0), "node": 0}),
        "GridNetwork": Call(lambda **given: GridNetwork(**given).to_grid(), network),
        "assign": Call(
            lambda agents: GridNetwork(**network).assign_agents_to_graph(agents), {"agents": agents}, ("id",)
        ),
        "Grid": Call(grid_routes, {**vars(grid)}, right=bool),
        "line_flows": Call(
            lambda **given: line_flows(grid, **given),
            {"seller_node": np.array([0, 1]), "buyer_node": np.array([2, 2]), "energy": ones},
        ),
        "power_flow": Call(
            lambda power_factor, **given: power_flow(Feeder.of(grid, power_factor), **given),
            {"injection": np.ones((2, NODES)), "step_hours": 1.0, "power_factor": 0.9},
        ),
        "synthetic_profiles": Call(
            lambda **given: finite(*synthetic_profiles(**given)),
            {"capacity": ones, "steps": STEPS, "seed": 1, "step_hours": 1.0, "first": 0},
            right=bool,
        ),
        "DERProfileHandler": Call(
            lambda seed, **given: finite(*DERProfileHandler(seed).get_energy_profiles(**given)),
            {"seed": 1, "steps": STEPS, "capacity": 5.0, "step_hours": 1.0},
            right=bool,
        ),
        "drawn prices": Call(
            lambda **given: finite(*DSOProfileHandler(40.0, 240.0).get_price_profiles(**given)),
            {"steps": STEPS, "seed": 1, "episode": np.arange(2), "step_hours": 1.0},
            right=bool,
        ),
        "measured prices": Call(
            lambda **given: finite(*DSOProfileHandler(**given).get_price_profiles(STEPS)),
            {"min_price": 40.0, "max_price": 240.0, "feed_in_tariff": 50 * day, "utility_price": 100 * day},
            ("steps",),
            right=bool,
        ),
        "Scenario": Call(
            lambda **given: finite(Scenario(**given).params.reward_scale),
            scenario,
            ("node", "generation_profile"),
            right=bool,
        ),
        "Scenario.of": Call(community, {"description": scenario}, ("scenario", "env_config", "num_agents")),
        "study": Call(lambda **given: finite(Scenario.study(**given).params.reward_scale), study, right=bool),
        "Place": Call(Place, of_fields(Place)),
        "resample": Call(resample, {"energy": np.ones((2, 4)), "hours": 1.0, "steps": 2, "step_hours": 2.0}),
        "as_profile": Call(
            lambda source, steps, num_agents: as_profile(source, steps, num_agents, "source"),
            {"source": np.ones((AGENTS, STEPS)), "steps": STEPS, "num_agents": AGENTS},
        ),
        "make": Call(lambda **given: MarketVectorEnv(**given).reset(seed=1)[0], env, right=finite),
        "vector": Call(
            stepped(MarketVectorEnv, by_agent=False),
            {"seed": 1, "actions": np.zeros((2, AGENTS, 4))},
            right=lambda result: finite(*result),
        ),
        "single": Call(
            stepped(MarketEnv, by_agent=False),
            {"seed": 1, "actions": np.zeros((AGENTS, 4))},
            ("action",),
            right=lambda result: finite(*result),
        ),
        "parallel": Call(stepped(MarketParallelEnv, by_agent=True), actions, ("actions of 'agent_000",)),
        "multi-agent": Call(stepped(MarketMultiAgentEnv, by_agent=True), actions, ("actions of 'agent_000",)),
        "actions by agent": Call(
            stepped(MarketParallelEnv, by_agent=True),
            {"seed": 1, "actions": {"agent_0000": np.zeros(4), "agent_0001": np.zeros(4)}},
        ),
        "play": Call(
            lambda episode, policy: play(params, episode, policy)[1].cost,
            {"episode": np.arange(2), "policy": POLICIES["truthful"]},
            ("actions",),
            right=finite,
        ),
        "actions of a policy": Call(
            lambda actions: play(params, np.arange(2), lambda *_: actions)[1].cost,
            {"actions": np.zeros((2, AGENTS, 4))},
            right=finite,
        ),
        "optimum": Call(
            lambda **given: cooperative_optimum(params, state, **given).cost,
            {"market": 0, "net": np.zeros((AGENTS, STEPS))},
            right=finite,
        ),
        "Ledger": Call(ledger, {"difficulty": 1, "step": 3}),
        "decode": Call(decode, {"content": encode(made()["trades"], 3)}),
        "RLTrainer": Call(Unbuilt, trainer, ("topology",)),
        "PPO": Call(PPOHyperparameters, of_fields(PPOHyperparameters)),
        "APPO": Call(APPOHyperparameters, of_fields(APPOHyperparameters)),
        "SAC": Call(SACHyperparameters, of_fields(SACHyperparameters)),
    }


@cache
def scenario_of_study() -> Scenario:
    return Scenario.study(AGENTS, max_steps=STEPS, days=1, num_anchor=1)
