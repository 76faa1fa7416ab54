"""The one home of hypothesis strategies: books, market settings, tariffs, grids, batteries.

A book is a dict of columns, as `market.Orders` and `oracle.read` take them. Prices and quantities come from few values,
so that ties, equal units and exactly used capacities are common, and from the extremes of what is allowed.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from hypothesis import strategies as st

from market import Battery, ClearingMechanism, DERAgent, GridNetwork, GridTopology, MarketConfig, Scenario
from market.community.agents import Params
from market.simulation.dynamics import initial, step

RULES = list(ClearingMechanism)
PAIRWISE = [r for r in RULES if r not in (ClearingMechanism.UNIFORM, ClearingMechanism.MCAFEE)]
ALL_TRADE = [r for r in RULES if r is not ClearingMechanism.MCAFEE]
MIN_PRICE, MAX_PRICE, MAX_QUANTITY = 0.0, 100.0, 5.0


def exactly(size: int) -> dict[str, int]:
    return {"min_size": size, "max_size": size}


@st.composite
def _few(draw, low: int, high: int, tick: float, size: int) -> list[float]:
    """`size` multiples of `tick`, drawn from a handful of levels that include the ends of [low, high] ticks."""
    level = st.one_of(st.integers(low, high), st.sampled_from([low, high]))
    menu = draw(st.lists(level, min_size=2, max_size=6))
    return [round(x * tick, 3) for x in draw(st.lists(st.sampled_from(menu), **exactly(size)))]


@st.composite
def books(
    draw,
    max_size: int = 10,
    *,
    partners: bool = True,
    dso: bool = True,
    zeros: bool = True,
    distinct_arrivals: bool = False,
    unit: bool = False,
    own_agents: bool = False,
    nodes: bool = False,
):
    """Columns of a book. unit: equal quantities and one order per agent. own_agents: one order per agent.

    Most books have both sides, most bids lie high and most asks low, and most partners answer: books in which little
    happens are drawn too, but seldom.
    """
    size = draw(st.sampled_from([*range(max_size // 2), *(2 * list(range(max_size // 2, max_size + 1)))]))

    def each(*options):
        return draw(st.lists(st.sampled_from(options), **exactly(size)))

    agent = draw(st.permutations(range(size))) if unit or own_agents else each(*range(draw(st.sampled_from([4, 6]))))
    ids = range(max(agent, default=0) + 1)
    mixed = st.lists(st.booleans(), **exactly(len(ids)))
    side = draw(st.one_of(st.just([a % 2 == 0 for a in ids]), st.just([a % 2 == 1 for a in ids]), mixed))
    is_buy = [side[a] for a in agent]
    price = [
        p if lazy else max(p, MAX_PRICE - p) if buys else min(p, MAX_PRICE - p)
        for p, buys, lazy in zip(draw(_few(0, 10_000, 0.01, size)), is_buy, each(False, False, True), strict=True)
    ]
    quantity = [draw(st.sampled_from([0.1, 1.0, 2.5]))] * size if unit else draw(_few(1, 5_000, 0.001, size))
    if zeros and draw(st.booleans()):
        quantity = [0.0 if nothing else q for q, nothing in zip(quantity, each(False, False, True), strict=True)]
    book = {"price": [round(p, 2) for p in price], "quantity": quantity, "is_buy": is_buy, "agent": agent}
    if distinct_arrivals:
        book["arrival"] = [float(x) for x in draw(st.permutations(range(size)))]
    elif draw(st.booleans()):
        book["arrival"] = each(-1.5, 0.0, 2.0)
    if draw(st.booleans()):
        book["reputation"] = each(0.0, 0.3, 0.7, 1.0)
    if (partners or dso) and draw(st.booleans()):
        wishes = each("none", *["mate"] * 4 * partners, *["anyone"] * partners, *["dso"] * dso)
        name = {"none": lambda _: -2, "dso": lambda _: -1, "mate": lambda a: a ^ 1, "anyone": lambda a: (3 * a + 2) % 7}
        named = [name[wish](a) for wish, a in zip(wishes, agent, strict=True)]
        book["partner"] = [-2 if p == a else p for p, a in zip(named, agent, strict=True)]
    if nodes:
        book["node"] = each(0, 1, 2, 3, 4)
    return book


@st.composite
def tariffs(draw):
    """feed_in_tariff <= utility_price, $/MWh, as keyword arguments of `clear`."""
    low, high = sorted(draw(st.lists(st.integers(0, 10_000), min_size=2, max_size=2)))
    return {"feed_in_tariff": low / 100, "utility_price": high / 100}


@st.composite
def configs(draw, rules=tuple(RULES), **fixed):
    """Market settings that every book of `books` fits into."""
    fields = {
        "min_price": MIN_PRICE,
        "max_price": MAX_PRICE,
        "min_quantity": 0.001,
        "max_quantity": MAX_QUANTITY,
        "price_mechanism": draw(st.sampled_from(rules)),
        "spread_share": draw(st.sampled_from([0.0, 0.25, 1 / 3, 1.0])),
        "loss_rate": draw(st.sampled_from([0.0, 0.001, 0.05, 2.0])),
        "congestion_fee": draw(st.sampled_from([0.0, 0.05, 1.0])),
        "distance_fee": draw(st.sampled_from([0.0, 0.02, 0.5])),
        "zone_discount": draw(st.sampled_from([0.0, 0.01, 0.5])),
        "max_fee": draw(st.sampled_from([0.0, 0.01, 0.2, 1.0])),
    }
    return MarketConfig(**(fields | fixed))


@cache
def grid_of(topology: GridTopology, num_nodes: int, capacity: float):
    """A built grid, its lines rated 0.07 to 0.43 x capacity; cached, since these tests are not about building."""
    return GridNetwork(topology, num_nodes, capacity, seed=42, ampacity=capacity / 100).to_grid()


@st.composite
def grids(draw, capacities=(0.5, 2.0, 5.0, 7.5, 20.0, 1000.0)):
    """A grid of any topology with at least 5 nodes; its capacity (kW) binds in some books and not in others."""
    topology = draw(st.sampled_from(list(GridTopology)))
    return grid_of(topology, draw(st.sampled_from([5, 8])), draw(st.sampled_from(capacities)))


@st.composite
def batteries(draw):
    """(stored, low, high, eta_c, eta_d, power): a battery within its bounds, kWh, fractions and kW.

    Some are of size zero, some have no limit of their power.
    """
    size = draw(st.sampled_from([0.0, 1.0, 13.5, 100.0]))
    low, high = sorted(draw(st.lists(st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), min_size=2, max_size=2)))
    share = draw(st.floats(0, 1))
    stored = min(max(size * (low + share * (high - low)), low * size), high * size)
    efficiency = st.sampled_from([0.5, 0.9, 0.95, 1.0])
    power = draw(st.sampled_from([np.inf, 0.0, 0.5 * size, 2.5, 0.01]))
    return stored, low * size, high * size, draw(efficiency), draw(efficiency), power


@st.composite
def scenarios(draw, sizes=(9, 6, 2, 1), rules=tuple(RULES), **fixed):
    """Small communities of random agents, some without a battery, over all days, rules, grids and switches.

    Batteries have limits of their power in some communities: equal ones, or one each and none for every third.
    """
    size, steps = draw(st.sampled_from(sizes)), draw(st.sampled_from([3, 1]))
    days = draw(st.sampled_from([3, 1]))
    shape = steps if days == 1 else (days, steps)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    power = draw(st.sampled_from([[None], [5.0], [None, 2.0, 20.0], [0.0, 10.0]]))
    agents = [
        DERAgent(
            id=f"a{i}",
            capacity=rng.uniform(5, 50),
            battery=Battery(rng.uniform(0, 40), initial_soc=rng.uniform(0.1, 0.9), power=power[i % len(power)])
            if rng.random() < 0.7
            else None,
            generation_profile=rng.uniform(0, 30, shape) * (i % 3 > 0),
            demand_profile=rng.uniform(0, 30, shape) * (i % 3 < 2),
        )
        for i in range(size)
    ]
    config = MarketConfig(
        price_mechanism=draw(st.sampled_from(rules)),
        enable_partner_preference=draw(st.sampled_from([True, False])),
        min_quantity=draw(st.sampled_from([0.1, 5.0, 0.0])),
        max_quantity=draw(st.sampled_from([10.0, 200.0])),
    )
    shapes, capacities = st.sampled_from(list(GridTopology)), st.sampled_from([20.0, 500.0])
    networks = st.builds(GridNetwork, shapes, st.just(size), capacities)
    fields = {
        "agents": agents,
        "max_steps": steps,
        "market_config": config,
        "grid_network": draw(networks | networks | st.none()),
        "num_anchor": draw(st.sampled_from([2, 8, 1, 0])),
        "max_error": draw(st.sampled_from([0.0, 0.15])),
        "seed": draw(st.integers(0, 99)),
        "step_hours": draw(st.sampled_from([0.25, 1.0])),
        "enable_reset_dso_profiles": draw(st.booleans()),
        "enable_reset_der_profiles": draw(st.sampled_from([True, True, False])),
        "held_out_days": draw(st.integers(0, days - 1)),
        "enable_asynchronous_order": draw(st.booleans()),
    }
    return Scenario(**(fields | fixed))


def powers(scenario: Scenario) -> np.ndarray:
    """The limit of each agent's battery, [N] kW; inf for none."""
    known = [agent.battery and agent.battery.power for agent in scenario.agents]
    return np.array([np.inf if power is None else power for power in known])


def actions(params: Params, episodes: int, seed: int) -> np.ndarray:
    """Random actions [T, E, N, 4], some beyond [-1, 1]; most bids are high and most asks low, so that trade happens.

    With most seeds, everybody names the first or second anchor, so that partners find each other.
    """
    rng = np.random.default_rng(seed)
    action = rng.uniform(-1.2, 1.2, (params.max_steps, episodes, params.num_agents, 4))
    eager = rng.random(action.shape[:3]) < 0.7
    action[..., 0] = np.where(eager, np.copysign(action[..., 0], action[..., 2]), action[..., 0])
    if seed % 4:
        choices = 2 + params.anchors.shape[1]
        action[..., 3] = 2 * (2.5 + np.arange(params.num_agents) % 2) / choices - 1
    return action


def play(params: Params, episodes: list[int], action: np.ndarray):
    """(state before, next state, reward, record) of each step."""
    state = initial(params, np.array(episodes))
    for t in range(params.max_steps):
        following, reward, record = step(params, state, action[t])
        yield state, following, reward, record
        state = following
    assert state.step == params.max_steps
