"""The slow, obvious twin of the market's fast kernels: clearing, batteries and settlement.

Written from the rules (`market/docs/mechanisms.md`) and not from the code; nothing here is imported from `market`, so
that agreement means something. Prices are exact Fractions in $/MWh, energy in a book is whole ticks of 1 Wh, grids are
walked by networkx. The auctions are in `oracle_auctions`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from itertools import pairwise
from typing import NamedTuple

import networkx as nx

from oracle_auctions import Order, exact, mcafee_units, merge, ranked, to_ticks, trade_reduction, uniform_interval

DSO, NO_PARTNER = -1, -2


@dataclass
class Trade:
    """One line of the result. Prices in $/MWh, quantity in Wh, distance in km, loss in kWh, fee in $."""

    buyer: int
    seller: int
    price: Fraction
    seller_price: Fraction
    quantity: int
    stage: int
    bid: Order | None = None
    ask: Order | None = None
    distance: float = 0.0
    loss: float = 0.0
    fee: float = 0.0


@dataclass
class Cleared:
    """Everything that `clear_book` found. Volumes in Wh, money in $."""

    trades: list[Trade]
    interval: tuple[Fraction, Fraction] | None = None
    flows: list[float] = field(default_factory=list)

    def stage(self, *stages: int) -> list[Trade]:
        return [t for t in self.trades if t.stage in stages]

    @property
    def p2p_volume(self) -> int:
        return sum(t.quantity for t in self.stage(1, 2))

    @property
    def clearing_price(self) -> Fraction | None:
        return sum(t.price * t.quantity for t in self.stage(1, 2)) / self.p2p_volume if self.p2p_volume else None

    @property
    def social_welfare(self) -> Fraction:
        return Fraction(sum(t.quantity * (t.bid.price - t.ask.price) for t in self.stage(1, 2)), 10**8)

    @property
    def budget_surplus(self) -> Fraction:
        return sum((t.quantity * (t.price - t.seller_price) for t in self.trades), Fraction(0)) / 10**6


def read(price, quantity, is_buy, agent=None, arrival=None, reputation=None, partner=None, node=None) -> list[Order]:
    """The columns of `market.Orders` as a list of orders in ticks."""
    n = len(price)
    agent = list(range(n)) if agent is None else agent
    arrival = list(range(n)) if arrival is None else arrival
    reputation = [1.0] * n if reputation is None else reputation
    partner = [NO_PARTNER] * n if partner is None else partner
    node = [None] * n if node is None else node
    return [
        Order(i, to_ticks(price[i], 0.01), to_ticks(quantity[i], 0.001), bool(is_buy[i]), int(agent[i]), arrival[i],
              round(reputation[i] * 65535), int(partner[i]), None if node[i] is None else int(node[i]))
        for i in range(n)
    ]  # fmt: skip


def partner_matches(orders: list[Order], left: dict[int, int]):
    """All that pairs of agents who name each other could trade, by surplus, then by rank of the bid and of the ask."""
    found = []
    for a, b in sorted({(min(o.agent, o.partner), max(o.agent, o.partner)) for o in orders if o.partner >= 0}):
        mutual = [o for o in orders if (o.agent, o.partner) in {(a, b), (b, a)}]
        for buyer, seller in ((a, b), (b, a)):
            bids = [o for o in ranked(mutual, True) if o.agent == buyer]
            asks = [o for o in ranked(mutual, False) if o.agent == seller]
            found += merge(bids, asks, left, math.inf)
    return sorted(found, key=lambda m: (m[1].price - m[0].price, m[0].rank, m[1].rank))


class Terms(NamedTuple):
    """What prices of a pair depend on. k: the share of the spread. low, high: the DSO's two tariffs, $/MWh."""

    k: Fraction
    low: Fraction
    high: Fraction
    last: Fraction


def middle(bid: Fraction, ask: Fraction, terms: Terms) -> Fraction:
    return (bid + ask) / 2


def bargained(bid: Fraction, ask: Fraction, terms: Terms) -> Fraction:
    floor, ceiling = max(ask, terms.low), min(bid, terms.high)
    return (floor + ceiling) / 2 if floor <= ceiling else middle(bid, ask, terms)


def in_proportion(bid: Fraction, ask: Fraction, terms: Terms) -> Fraction:
    buyer_side, seller_side = max(bid - terms.last, 0), max(terms.last - ask, 0)
    both = buyer_side + seller_side
    return ask + seller_side / both * (bid - ask) if both else middle(bid, ask, terms)


TWINS: dict[str, Callable[[Fraction, Fraction, Terms], Fraction]] = {
    "average": middle,
    "buyer": lambda bid, ask, terms: bid,
    "seller": lambda bid, ask, terms: ask,
    "bid_ask_spread": lambda bid, ask, terms: ask + terms.k * (bid - ask),
    "nash_bargaining": bargained,
    "proportional_surplus": in_proportion,
    "uniform": middle,  # of partners; the book has its auction below
    "mcafee": middle,
}
"""Each rule's price of one pair, from its formula and not from its function."""


def pair_price(rule: str, bid: Fraction, ask: Fraction, *, k: float, low: Fraction, high: Fraction, last: Fraction):
    """The price of one pair."""
    assert rule in TWINS, f"{rule}: write its slow twin in tests/oracles/oracle.py, and a row in TWINS"
    return TWINS[rule](bid, ask, Terms(exact(k), low, high, last))


def book_stage(active: list[Order], left, capacity, config, price_of):
    """Stage 2: the trades, and the interval in $/MWh under UNIFORM."""
    bids, asks, rule = ranked(active, True), ranked(active, False), str(config.price_mechanism)
    matches, interval = merge(bids, asks, left, capacity), None
    if rule == "mcafee":
        units, agents = {left[o.position] for o in active}, [o.agent for o in active]
        if len(units) == 1 and len(set(agents)) == len(agents):
            matches, pay, get = mcafee_units(bids, asks, units.pop(), capacity, config)
        else:
            matches, pay, get = trade_reduction(bids, asks, left, capacity)
        prices = [(pay, get)] * len(matches)
    elif rule == "uniform" and matches:
        interval = tuple(Fraction(p, 100) for p in uniform_interval(matches, bids, asks, left))
        prices = [(sum(interval) / 2,) * 2] * len(matches)
    else:
        prices = [(price_of(b, a),) * 2 for b, a, _ in matches]
    trades = [Trade(b.agent, a.agent, *p, q, 2, b, a) for (b, a, q), p in zip(matches, prices, strict=True)]
    return trades, interval


def clear_book(book, config, *, feed_in_tariff, utility_price, grid=None, last_price=None, step_hours=1.0) -> Cleared:
    """All three stages of clearing on the columns `book` (those of `market.Orders`)."""
    orders = read(**book)
    left = {o.position: o.quantity for o in orders}
    low, high = exact(feed_in_tariff), exact(utility_price)
    last = (low + high) / 2 if last_price is None else exact(last_price)
    rule = str(config.price_mechanism)
    capacity = math.inf if grid is None else math.floor(grid.capacity * step_hours / 0.001 + 1e-6)
    trades: list[Trade] = []

    def price_of(bid: Order, ask: Order) -> Fraction:
        return pair_price(rule, bid.dollars, ask.dollars, k=config.spread_share, low=low, high=high, last=last)

    def carry_out(new: list[Trade]) -> None:
        trades.extend(new)
        for t in new:
            left[t.bid.position] -= t.quantity
            left[t.ask.position] -= t.quantity

    peers = [o for o in orders if o.partner != DSO and o.quantity > 0]
    for bid, ask, wanted in partner_matches(peers, left):
        q = min(wanted, capacity)
        if q > 0:
            capacity -= q
            carry_out([Trade(bid.agent, ask.agent, price_of(bid, ask), price_of(bid, ask), int(q), 1, bid, ask)])

    active = [o for o in peers if left[o.position] > 0]
    stage_two, interval = book_stage(active, left, capacity, config, price_of)
    carry_out(stage_two)

    for o in orders:
        if left[o.position]:
            price, sides = (high, (o.agent, DSO)) if o.is_buy else (low, (DSO, o.agent))
            trades.append(Trade(*sides, price, price, left[o.position], 3))
    result = Cleared(trades, interval)
    if grid is not None:
        result.flows = grid_terms(result.stage(1, 2), grid, config, float(utility_price), step_hours)
    return result


def grid_terms(trades: list[Trade], grid, config, utility_price: float, step_hours: float) -> list[float]:
    """Fills in distance, loss and fee of P2P trades; returns the net flow of each line, kWh."""
    graph = nx.Graph()
    graph.add_nodes_from(range(grid.num_nodes))
    for line, (a, b, km) in enumerate(zip(grid.line_from, grid.line_to, grid.line_length, strict=True)):
        graph.add_edge(int(a), int(b), km=float(km), line=line)

    def place(o: Order) -> int:
        return o.agent % grid.num_nodes if o.node is None else o.node

    flows, paths = [0.0] * len(grid.line_from), []
    for t in trades:
        path = nx.shortest_path(graph, place(t.ask), place(t.bid), weight="km")
        hops = list(pairwise(path))
        t.distance = math.fsum(graph.edges[hop]["km"] for hop in hops)
        for hop in hops:
            line = graph.edges[hop]["line"]
            flows[line] += t.quantity / 1000 * (1 if int(grid.line_from[line]) == hop[0] else -1)
        paths.append([graph.edges[hop]["line"] for hop in hops])
    for t, path in zip(trades, paths, strict=True):
        load = max((abs(flows[line]) / (float(grid.line_capacity[line]) * step_hours) for line in path), default=0.0)
        value = t.quantity / 1000 * float(t.price) / 1000
        t.loss = t.quantity / 1000 * (1 - math.exp(-config.loss_rate * t.distance))
        apart = t.distance / float(grid.diameter) if grid.diameter > 0 else 0.0
        near = config.zone_discount * (grid.zone[place(t.bid)] == grid.zone[place(t.ask)])
        share = config.congestion_fee * min(load, 1.0) + config.distance_fee * apart - near
        t.fee = min(max(t.loss * utility_price / 1000 + value * share, 0.0), config.max_fee * value)
    return flows


def charge_discharge(residual, energy, low, high, eta_c, eta_d, power=math.inf, step_hours=1.0):
    """One battery, one step: (energy, drawn, delivered), all kWh, power in kW. Clips to what fits."""
    if residual > 0:
        drawn = min(residual, max(high - energy, 0.0) / eta_c, power * step_hours)
        return energy + eta_c * drawn, drawn, 0.0
    delivered = min(-residual, max(energy - low, 0.0) * eta_d, power * step_hours)
    return energy - delivered / eta_d, 0.0, delivered


@dataclass
class Account:
    """One agent's step. All kWh, but cost: what it pays in all, $; energy is what its battery holds afterwards."""

    bought: float = 0.0
    sold: float = 0.0
    charged: float = 0.0
    discharged: float = 0.0
    imported: float = 0.0
    exported: float = 0.0
    energy: float = 0.0
    cost: float = 0.0


def settle(trades: list[Trade], generation, demand, batteries, *, feed_in_tariff: float, utility_price: float):
    """What is left after the market goes to the battery, then to the DSO; returns ([Account], the DSO's money in $).

    batteries: one (energy, low, high, eta_c, eta_d, power, step_hours) per agent, kWh, fractions, kW and h.
    All `trades` count as bought or sold.
    """
    accounts, dso = [Account() for _ in generation], 0.0

    def pay(agent: int, money: float) -> None:
        nonlocal dso
        if agent == DSO:
            dso += money
        else:
            accounts[agent].cost -= money

    for t in trades:
        kwh = t.quantity / 1000
        pay(t.buyer, -kwh * float(t.price) / 1000 - t.fee / 2)
        pay(t.seller, kwh * float(t.seller_price) / 1000 - t.fee / 2)
        pay(DSO, kwh * float(t.price - t.seller_price) / 1000 + t.fee)
        if t.buyer != DSO:
            accounts[t.buyer].bought += kwh
        if t.seller != DSO:
            accounts[t.seller].sold += kwh
    for i, account in enumerate(accounts):
        residual = generation[i] - demand[i] + account.bought - account.sold
        account.energy, account.charged, account.discharged = charge_discharge(residual, *batteries[i])
        account.exported = max(residual - account.charged, 0.0)
        account.imported = max(-residual - account.discharged, 0.0)
        bill = account.exported * feed_in_tariff / 1000 - account.imported * utility_price / 1000
        pay(i, bill)
        pay(DSO, -bill)
    return accounts, dso
