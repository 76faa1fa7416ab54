"""Clearing: `clear` takes a book and returns its trades, in three stages: partners, price-time priority, DSO."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from market.config import DSO, ENERGY_TICK, NO_PARTNER, MarketConfig, check_range
from market.grid import Grid, GridNetwork
from market.orders import REPUTATION_STEPS, Orders, Trades, energy_ticks, price_ticks
from market.stages import Book, Cleared, clear_batch

TICKS_PER_KWH = round(1 / ENERGY_TICK)


@dataclass(frozen=True, eq=False)
class ClearingResult:
    """What `clear` returns. Energy in kWh, prices in $/MWh, money in $.

    trades: all stages. clearing_price: quantity-weighted mean price of the P2P trades, nan without any.
    p2p_volume: traded between agents. dso_buy_volume: the DSO buys it from sellers at the feed-in tariff.
    dso_sell_volume: the DSO sells it to buyers at the utility price.
    social_welfare: gains from trade of the P2P trades, sum of quantity x (bid - ask).
    budget_surplus: what buyers pay beyond what sellers receive (MCAFEE), kept by the DSO.
    price_interval: the prices at which stage 2 clears, (lower, upper); under MCAFEE what sellers get and buyers pay.
    congestion_mean, congestion_max: |flow| / capacity over the lines, caused by the P2P trades; 0 without a grid.
    """

    trades: Trades
    clearing_price: float
    p2p_volume: float
    dso_buy_volume: float
    dso_sell_volume: float
    social_welfare: float
    budget_surplus: float
    price_interval: tuple[float, float]
    congestion_mean: float
    congestion_max: float


def _book(orders: Orders, grid: Grid | None) -> Book:
    """The orders in ticks, as a batch of one. Ids are renumbered from 0 when partners are looked up by them."""
    size = len(orders)
    agent, partner = orders.agents, orders.partner
    node = orders.node
    if node is None:
        node = agent % (1 if grid is None else grid.num_nodes)
    elif grid is not None and size and node.max() >= grid.num_nodes:
        raise ValueError(f"node: got {node.max()}; allowed: 0 to {grid.num_nodes - 1}, the nodes of the grid")
    if partner is not None:
        known = np.unique(agent)
        place = np.minimum(np.searchsorted(known, partner), max(size - 1, 0))
        partner = np.where(partner < 0, partner, np.where(np.isin(partner, known), place, NO_PARTNER))
        agent = np.searchsorted(known, agent)
    arrival = np.arange(size) if orders.arrival is None else np.argsort(orders.arrival, kind="stable")
    reputation = np.zeros(size) if orders.reputation is None else orders.reputation
    return Book(
        price=price_ticks(orders.price)[None],
        quantity=energy_ticks(orders.quantity)[None],
        is_buy=orders.is_buy[None],
        reputation=np.rint(reputation * REPUTATION_STEPS).astype(np.int64)[None],
        by_arrival=arrival[None],
        agent=agent[None],
        node=node[None],
        partner=None if partner is None else partner[None],
    )


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
    """Clear one book.

    orders: the book, [n]. config: price rule, limits, fees. feed_in_tariff <= utility_price: the DSO's prices, $/MWh.
    grid: capacity, distances and lines; without one, trade is unlimited and free of losses and fees.
    last_price: the last clearing price for PROPORTIONAL_SURPLUS, $/MWh; at first the DSO mid price.
    step_hours: length of the step, h. Raises ValueError naming the field, the value and what is allowed.
    """
    orders.check_bounds(config)
    check_range("utility_price", utility_price, 0.0, unit="$/MWh")
    check_range("feed_in_tariff", feed_in_tariff, 0.0, utility_price, "$/MWh (the utility price)")
    check_range("step_hours", step_hours, 1e-6, 24.0, "h")
    if last_price is None:
        last_price = (feed_in_tariff + utility_price) / 2
    check_range("last_price", last_price, 0.0, unit="$/MWh")
    if isinstance(grid, GridNetwork):
        grid = grid.to_grid()
    book = _book(orders, grid)
    prices = np.array([[feed_in_tariff], [utility_price], [last_price]], np.float64)
    cleared = clear_batch(book, config, prices[0], prices[1], prices[2], grid, step_hours)
    trades, dso_bought, dso_sold = _all_stages(orders, cleared, float(feed_in_tariff), float(utility_price))
    return ClearingResult(
        trades=trades,
        clearing_price=float(cleared.clearing_price[0]),
        p2p_volume=float(cleared.volume[0]),
        dso_buy_volume=dso_bought,
        dso_sell_volume=dso_sold,
        social_welfare=float(cleared.social_welfare[0]),
        budget_surplus=float(cleared.budget_surplus[0]),
        price_interval=(float(cleared.lower[0]), float(cleared.upper[0])),
        congestion_mean=0.0 if cleared.routing is None else float(cleared.routing.mean[0]),
        congestion_max=0.0 if cleared.routing is None else float(cleared.routing.max[0]),
    )


def _all_stages(
    orders: Orders, cleared: Cleared, feed_in_tariff: float, utility_price: float
) -> tuple[Trades, float, float]:
    """The trades of all stages, and the energy that the DSO buys and sells, kWh."""
    p2p, left, agents = cleared.trades, cleared.left[0], orders.agents
    count = len(p2p)
    size = count + np.count_nonzero(left)
    buyer, seller = np.empty((2, size), np.int64)  # one allocation: large ones get huge pages
    price, quantity = np.empty((2, size))
    np.take(agents, cleared.bid_order, out=buyer[:count])
    np.take(agents, cleared.ask_order, out=seller[:count])
    price[:count], quantity[:count] = p2p.price, p2p.quantity
    stage = np.full(size, 3, np.int8)
    stage[:count] = p2p.stage
    tariffs = feed_in_tariff, utility_price
    bought, sold = _serve(left, orders.is_buy, agents, tariffs, count, buyer, seller, price, quantity)
    seller_price = price
    if p2p.seller_price is not p2p.price:
        seller_price = price.copy()
        seller_price[:count] = p2p.seller_price
    distance, loss, fee = (np.zeros(size) for _ in range(3))
    if cleared.routing is not None:
        distance[:count], loss[:count], fee[:count] = p2p.distance, p2p.loss, p2p.fee
    trades = Trades(buyer, seller, price, seller_price, quantity, stage, distance, loss, fee)
    return trades, bought / TICKS_PER_KWH, sold / TICKS_PER_KWH


@njit(cache=True, nogil=True)
def _serve(left, is_buy, agent, tariffs, row, buyer, seller, price, quantity):  # type: ignore[no-untyped-def]
    """Stage 3: whatever is left [n], in ticks, goes to the DSO or comes from it. Writes the trades from `row` on.

    Returns the ticks that the DSO bought and sold.
    """
    bought = sold = 0
    for i in range(len(left)):
        if left[i] == 0:
            continue
        if is_buy[i]:
            buyer[row], seller[row], price[row] = agent[i], DSO, tariffs[1]
            sold += left[i]
        else:
            buyer[row], seller[row], price[row] = DSO, agent[i], tariffs[0]
            bought += left[i]
        quantity[row] = left[i] / TICKS_PER_KWH
        row += 1
    return bought, sold
