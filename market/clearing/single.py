"""Clearing: `clear` takes a book and returns its trades, in three stages: partners, price-time priority, DSO."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from types import NoneType

import numpy as np

from market.clearing.batch import Cleared, clear_batch
from market.clearing.books import Book, Nodes, Packed
from market.clearing.config import MarketConfig
from market.clearing.matching import read
from market.clearing.orders import Orders, Trades, bounds_of, price_ticks, reputation_ticks
from market.constants import DSO, MAX_PRICE, NO_PARTNER, PER_KWH
from market.grid.network import Grid, GridNetwork
from market.support import check
from market.support.arrays import Bools, Ints
from market.support.kernels import kernel
from market.support.tables import in_one_line

POSITIONS: Ints = np.empty((1, 0), np.int64)
"""Arrivals or agents of one book where each position is its own."""


@in_one_line
@dataclass(frozen=True, eq=False, init=False)
class ClearingResult:
    """What `clear` returns. P2P trades are those between agents, stages 1 and 2.

    clearing_price: quantity-weighted mean price of the P2P trades, $/MWh, nan without any.
    p2p_volume: traded between agents, kWh.
    dso_buy_volume: the DSO buys it from sellers at the feed-in tariff, kWh.
    dso_sell_volume: the DSO sells it to buyers at the utility price, kWh.
    social_welfare: gains from the P2P trades, sum of quantity x (bid - ask), $.
    budget_surplus: what buyers pay beyond what sellers receive (MCAFEE), kept by the DSO, $.
    price_interval: the prices at which stage 2 clears, $/MWh; under MCAFEE what sellers receive and buyers pay.
    congestion_mean, congestion_max: |flow| / capacity over the lines, caused by the P2P trades; 0 without a grid.
    """

    clearing_price: float
    p2p_volume: float
    dso_buy_volume: float
    dso_sell_volume: float
    social_welfare: float
    budget_surplus: float
    price_interval: tuple[float, float]
    congestion_mean: float
    congestion_max: float
    _orders: Orders
    _cleared: Cleared
    _tariffs: tuple[float, float]

    def __init__(
        self, orders: Orders, cleared: Cleared, tariffs: tuple[float, float], wanted: int, offered: int
    ) -> None:
        """wanted, offered: ticks of all bids and of all asks."""
        welfare, lower, upper, price, volume, surplus = cleared.figures[:, 0].tolist()
        traded, network = round(volume * PER_KWH), cleared.network
        values = {
            "clearing_price": price,
            "p2p_volume": volume,
            "dso_buy_volume": (offered - traded) / PER_KWH,
            "dso_sell_volume": (wanted - traded) / PER_KWH,
            "social_welfare": welfare,
            "budget_surplus": surplus,
            "price_interval": (lower, upper),
            "congestion_mean": 0.0 if network is None else network.routing.mean.item(),
            "congestion_max": 0.0 if network is None else network.routing.max.item(),
            "_orders": orders,
            "_cleared": cleared,
            "_tariffs": tariffs,
        }
        object.__setattr__(self, "__dict__", values)  # at once: value by value takes three times as long

    @cached_property
    def trades(self) -> Trades:
        """The trades of all stages: partners and book in the order in which they were matched, then the DSO's."""
        return all_trades(self._cleared, 0, self._orders.is_buy, self._orders.agent, self._tariffs)


def all_trades(
    cleared: Cleared, market: int, is_buy: Bools, agent: Ints | None, tariffs: tuple[float, float]
) -> Trades:
    """The trades of all stages of one market of a batch.

    is_buy: [N].
    agent: ids [N], None when each position is an agent of its own.
    tariffs: feed-in tariff and utility price, $/MWh.
    """
    mine = slice(*cleared.offsets[market : market + 2].tolist())
    left, base = cleared.left[market], market * cleared.left.shape[1]
    bid, ask = cleared.bid_order[mine] - base, cleared.ask_order[mine] - base
    count, size = len(bid), len(bid) + np.count_nonzero(left)
    (buyer, seller), stage = np.empty((2, size), np.int64), np.empty(size, np.int8)
    price, quantity = np.empty((2, size))
    distance, loss, fee = np.zeros((3, size))
    buyer[:count], seller[:count] = (bid, ask) if agent is None else (agent[bid], agent[ask])
    price[:count], quantity[:count], stage[:count] = cleared.price[mine], cleared.energy[mine], cleared.stage[mine]
    ids = POSITIONS[0] if agent is None else agent.copy()
    _supply(left, is_buy.copy(), ids, *tariffs, count, buyer, seller, price, quantity, stage)
    seller_price = price
    if cleared.seller_price is not cleared.price:
        seller_price = price.copy()
        seller_price[:count] = cleared.seller_price[mine]
    network = cleared.network
    if network is not None:
        distance[:count], loss[:count], fee[:count] = network.distance[mine], network.loss[mine], network.fee[mine]
    return Trades(buyer, seller, price, seller_price, quantity, stage, distance, loss, fee)


def clear(
    orders: Orders,
    config: MarketConfig,
    *,
    feed_in_tariff: float,
    utility_price: float,
    grid: Grid | GridNetwork | None = None,
    last_price: float | None = None,
    step_hours: float = 1.0,
) -> ClearingResult:
    """Clear one book. Raises ValueError with the field, the value and what is allowed.

    orders: the book, [n].
    config: price rule, limits, fees.
    feed_in_tariff: what the DSO pays, $/MWh; at most the utility price.
    utility_price: what the DSO charges, $/MWh.
    grid: capacity, distances and lines; without one, trade is unlimited and free of losses and fees.
    last_price: the last clearing price for PROPORTIONAL_SURPLUS, $/MWh; by default the mean of the DSO's prices.
    step_hours: length of the step, h.
    """
    grids = (Grid, GridNetwork, NoneType)
    # at once, and looked into only where something is wrong: the floor of `clear` is made of such calls
    if not (isinstance(orders, Orders) and isinstance(config, MarketConfig) and isinstance(grid, grids)):
        check.instance("orders", orders, Orders, allowed="Orders(price=[...], quantity=[...], ...)")
        check.instance("config", config, MarketConfig)
        check.instance("grid", grid, *grids)
    utility_price = check.number("utility_price", utility_price, 0.0, MAX_PRICE, "$/MWh")
    feed_in_tariff = check.number("feed_in_tariff", feed_in_tariff, 0.0, utility_price, "$/MWh (the utility price)")
    step_hours = check.number("step_hours", step_hours, 1e-6, 24.0, "h")
    if last_price is None:
        last_price = (feed_in_tariff + utility_price) / 2
    last_price = check.number("last_price", last_price, 0.0, MAX_PRICE, "$/MWh")
    if isinstance(grid, GridNetwork):
        grid = grid.to_grid()
    book, wanted, offered = _book(orders, config, grid)
    prices = np.array((feed_in_tariff, utility_price, last_price), np.float64)
    cleared = clear_batch(book, config, prices[:1], prices[1:2], prices[2:], grid, step_hours)
    return ClearingResult(orders, cleared, (feed_in_tariff, utility_price), wanted, offered)


def _book(orders: Orders, config: MarketConfig, grid: Grid | None) -> tuple[Book | Packed, int, int]:
    """The orders as a batch of one, and the ticks of all bids and of all asks.

    They are checked against the limits of `config` and the nodes of `grid`. What kernels share with the simulation is
    copied: they would be compiled again for read-only arrays.
    """
    size = len(orders)
    agent = POSITIONS if orders.agent is None else orders.agent[None].copy()
    partner = None if orders.partner is None else orders.partner[None].copy()
    node = None if grid is None else _nodes(orders, grid)
    if partner is not None and orders.agent is not None:  # ids are renumbered from 0, to be looked up
        known = np.unique(agent)
        place = np.minimum(np.searchsorted(known, partner), max(len(known) - 1, 0))
        partner = np.where(partner < 0, partner, np.where(np.isin(partner, known), place, NO_PARTNER))
        agent = np.searchsorted(known, agent)
    keys, quantity = np.empty((1, size), np.uint64), np.empty((1, size), np.int32)
    columns = (orders.price, orders.quantity, orders.is_buy, POSITIONS if partner is None else partner)
    fine, wanted, offered = read(*columns, bounds_of(config), keys, quantity)
    if not fine:
        orders.check_bounds(config)
    if orders.reputation is None and orders.arrival is None:
        return Packed(keys, quantity, POSITIONS, agent, node, partner), wanted, offered
    arrival = np.arange(size) if orders.arrival is None else np.argsort(orders.arrival, kind="stable")
    reputation = np.zeros(size) if orders.reputation is None else orders.reputation
    ticks, worth = price_ticks(orders.price), reputation_ticks(reputation)
    book = Book(ticks[None], quantity, orders.is_buy[None].copy(), worth[None], arrival[None], agent, node, partner)
    return book, wanted, offered


def _nodes(orders: Orders, grid: Grid) -> Nodes:
    """Grid node of each order [1, n]: its own, or the agent's id modulo the number of nodes; [1, 0] as in `Packed`."""
    if orders.node is None and orders.agent is None:
        return np.empty((1, 0), np.int32)
    node = orders.agents % grid.num_nodes if orders.node is None else orders.node
    if node.max(initial=0) >= grid.num_nodes:
        raise ValueError(f"node: got {node.max()}; allowed: 0 to {grid.num_nodes - 1}, the nodes of the grid")
    return node.astype(np.int32)[None]


@kernel
def _supply(left, is_buy, agent, feed_in, utility, row, buyer, seller, price, quantity, stage):  # type: ignore[no-untyped-def]
    """Stage 3: writes the DSO's trades, what is left [N] of the orders, to the columns from `row` on.

    Each order is written, and the next one takes its row if nothing is left of it, which needs no branch.
    agent: [N], or [0] when each position is an agent of its own.
    """
    for i in range(len(left)):
        if row == len(stage):  # all that is left has been written
            break
        buys, owner = is_buy[i], agent[i] if len(agent) else i
        buyer[row], seller[row] = owner if buys else DSO, DSO if buys else owner
        price[row], quantity[row], stage[row] = utility if buys else feed_in, left[i] / PER_KWH, 3
        row += left[i] != 0
