"""The whole public API under any input: a right result, or a ValueError or TypeError of one line that names an argument.

No other exception, and no warning. A call has good arguments, of which up to two are spoiled. Sizes that are allowed
and fill the memory are left out.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

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


# --- values that nobody should give


class Lines:
    def __repr__(self) -> str:
        return "two\nlines"


class Mute:
    def __repr__(self) -> str:
        raise RuntimeError("no words")


ODD: list[Any] = [
    *(None, True, np.True_, -1, 0, 1, 2, 3, 2**31, 2**63, 10**400, 10**5000, -(10**5000)),
    *(np.nan, np.inf, -np.inf, -0.5, 0.5, 1.5, 1e-9, 5e-324, 1e20, 1e308, np.float32(np.nan), np.float32(0.25)),
    *(np.int64(3), np.uint64(2**64 - 1), np.float64(0.5), np.longdouble(2), Fraction(1, 2), Decimal("0.5"), 1j),
    *(np.timedelta64(5, "s"), np.datetime64("2025-05-12"), np.complex128(1), pd.Timedelta(1, "h"), pd.NA, pd.NaT),
    *("", "x", "40", "mesh", "a\nb", "\0", "x" * 5000, b"x", object(), Lines(), Mute(), range(2), {}, {"a": 1}),
    *([], [1], [None], [None, 1.0], [[1], [1, 2]], [1.0, "a"], [10**5000], [Lines()], (), {1, 2}, [np.inf, 1.0]),
    *(np.array(5), np.array([5]), np.array([1.0, np.nan]), np.array([]), np.array([True, False]), np.zeros((2, 3, 4))),
    *(np.array([1j, 2]), np.array(["a", "b"]), np.array([1, 2], "m8[s]"), np.array([None, 1.0]), np.array([1e308] * 2)),
    *(np.ma.masked, np.ma.masked_array([1.0, 2.0], [0, 1]), np.ma.masked_array([1.0, 2.0]), pd.Series([1.0, 2.0])),
]


def with_first(value: float) -> Callable[[np.ndarray], np.ndarray]:
    def spoil(array: np.ndarray) -> np.ndarray:
        spoiled = np.array(array, np.float64)
        spoiled[(0,) * spoiled.ndim] = value
        return spoiled

    return spoil


TURNS: list[Callable[[np.ndarray], Any]] = [
    *(with_first(value) for value in (np.nan, np.inf, -1.0, 0.5, 1e308, 2.0**40, 2.0, 0.0)),
    np.ndarray.tolist,
    np.transpose,
    np.asfortranarray,
    np.ma.masked_array,
    pd.Series,
    lambda array: np.ma.masked_array(array, np.ones(array.shape, bool)),
    *(
        lambda array, kind=kind: array.astype(kind)
        for kind in (bool, np.int8, np.float32, complex, "m8[s]", str, object)
    ),
    lambda array: array[:-1],
    lambda array: np.concatenate([array, array]),
    lambda array: array[None],
    lambda array: array[..., None],
    lambda array: np.repeat(array, 2, axis=-1)[..., ::2],
    lambda array: list(map(np.ma.masked_array, array)),
]
"""What may be done to an array: some leave it as good as it was."""


# --- calls


@dataclass(frozen=True)
class Call:
    """of: called with good arguments, of which some are spoiled. also: words that its messages may begin with."""

    of: Callable[..., Any]
    good: dict[str, Any]
    also: tuple[str, ...] = ()
    right: Callable[[Any], bool] = lambda result: True
    fixed: set[str] = field(default_factory=set)


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
        actions = given["actions"] if "actions" in given else dict(zip(("agent_0000", "agent_0001"), given.values()))
        observed, reward, *_ = env().step(actions)
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


# --- the rule


def judge(name: str, given: dict[str, Any]) -> None:
    call = calls()[name]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            result = call.of(**given)
        except (ValueError, TypeError) as error:
            message = str(error)
            assert "\n" not in message, message
            assert len(message) < 500, message
            words = (*call.good, *call.also)
            assert any(word in message.split("; allowed", 1)[0].split(": got", 1)[0] for word in words), message
            return
    assert call.right(result), result


@st.composite
def spoiled(draw) -> tuple[str, dict[str, Any]]:
    """A call and its arguments, one or two of them spoiled."""
    name = draw(st.sampled_from(list(calls())))
    given = dict(calls()[name].good)
    for argument in draw(st.lists(st.sampled_from(list(given)), min_size=1, max_size=2, unique=True)):
        arrays = isinstance(given[argument], np.ndarray)
        turn = draw(st.sampled_from(TURNS)) if arrays and draw(st.booleans()) else None
        try:
            given[argument] = turn(given[argument]) if turn else draw(st.sampled_from(ODD))
        except (ValueError, TypeError):  # pandas has no series of two dimensions, numpy no durations of such numbers
            given[argument] = None
    return name, given


@settings(max_examples=300)
@given(spoiled())
def test_any_call_has_a_right_result_or_names_what_is_wrong(call):
    judge(*call)


@pytest.mark.slow  # 20,000 calls
@settings(max_examples=20_000)
@given(spoiled())
def test_20_000_calls_have_right_results_or_name_what_is_wrong(call):
    judge(*call)


@pytest.mark.parametrize("name", calls())
def test_good_calls_have_right_results(name):
    call = calls()[name]
    assert call.right(call.of(**call.good))
