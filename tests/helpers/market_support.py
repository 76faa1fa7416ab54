"""What the tests of clearing share: trades as tuples, equality with the slow twin, the search for a lie that pays."""

from __future__ import annotations

import math
from collections import Counter
from itertools import product

import numpy as np
import pytest
from hypothesis import settings

from market import DSO, MarketConfig, Orders, clear

FEW = settings(max_examples=max(1, settings.default.max_examples // 3))  # for tests of all eight rules
TERMS = {"feed_in_tariff": 20.0, "utility_price": 70.0}
SIMPLE = {"partners": False, "dso": False, "own_agents": True}


def book_of(bids, asks, quantity=1.0, **columns) -> dict:
    """Columns of a book: bids, then asks, each of an agent of its own. quantity: one for all, or one for each, kWh."""
    size = len(bids) + len(asks)
    quantity = list(quantity) if np.ndim(quantity) else [quantity] * size
    is_buy = [True] * len(bids) + [False] * len(asks)
    return {"price": [*bids, *asks], "quantity": quantity, "is_buy": is_buy, "agent": list(range(size))} | columns


def rules_of(rule: str, **fields) -> MarketConfig:
    """Settings that every book of `strategies.books` fits into."""
    return MarketConfig(0, 100, 0.001, 5, **({"price_mechanism": rule, "spread_share": 0.25} | fields))


def rows(book, config, **terms):
    """The trades as tuples (buyer, seller, price, seller's price, Wh, stage)."""
    trades = clear(Orders(**book), config, **(TERMS | terms)).trades
    wh = np.rint(trades.quantity * 1000).astype(int)
    columns = (trades.buyer, trades.seller, trades.price, trades.seller_price, wh, trades.stage)
    return list(zip(*(c.tolist() for c in columns), strict=True))


def p2p(trades) -> Counter:
    """Wh that each agent traded with other agents."""
    filled = Counter()
    for buyer, seller, _, _, wh, stage in trades:
        if stage < 3:
            filled[buyer] += wh
            filled[seller] += wh
    return filled


def bills(trades) -> Counter:
    """What each agent pays other agents less what it gets from them, in Wh x $/MWh."""
    paid = Counter()
    for buyer, seller, price, seller_price, wh, stage in trades:
        if stage < 3:
            paid[buyer] += wh * price
            paid[seller] -= wh * seller_price
    return paid


def gain(trades, agent: int, value: float, *, stages=(1, 2)) -> float:
    """What `agent`, to whom a Wh is worth `value` $/MWh, gains from the trades of `stages`, in Wh x $/MWh.

    With stages 1 and 2 what the DSO serves counts as nothing: `value` is the price at which the agent does not care
    whether it trades with a peer or with the DSO. With stage 3, too, energy has that worth wherever it comes from.
    """
    total = 0.0
    for buyer, seller, price, seller_price, wh, stage in trades:
        if stage in stages:
            total += wh * ((buyer == agent) * (value - price) + (seller == agent) * (seller_price - value))
    return total


def best_lies(levels, sides, config: MarketConfig, quantity=1.0, *, stages=(1, 2), **terms) -> np.ndarray:
    """The largest gain from a lie about one's price, [buyers and sellers, true value], in Wh x $/MWh.

    Exhaustive: all true prices of all agents, and all lies of each, from `levels`. sides: how many bids and asks, each
    of an agent of its own. quantity: as in `book_of`. stages: as in `gain`.
    """
    bids, agents = sides[0], sum(sides)
    shape = [len(levels)] * agents
    energy, money = np.zeros((agents, *shape)), np.zeros((agents, *shape))
    for place in product(range(len(levels)), repeat=agents):
        told = [levels[i] for i in place]
        for *both, price, seller_price, wh, stage in rows(book_of(told[:bids], told[bids:], quantity), config, **terms):
            for agent, signed, at in zip(both, (wh, -wh), (price, seller_price), strict=True):
                if stage in stages and agent != DSO:
                    energy[agent, *place] += signed
                    money[agent, *place] += signed * at
    best = np.zeros((2, len(levels)))
    for agent in range(agents):
        q, paid = np.moveaxis(energy[agent], agent, 0), np.moveaxis(money[agent], agent, 0)
        for i, value in enumerate(levels):
            utility = value * q - paid
            side = int(agent >= bids)
            best[side, i] = max(best[side, i], (utility.max(0) - utility[i]).max())
    return best


def assert_same(result, twin, grid=None, step_hours=1.0) -> None:
    """Every trade in the same order, with the same ticks; prices, losses and fees to rounding; the same totals."""
    trades, other = result.trades, twin.trades
    assert trades.buyer.tolist() == [t.buyer for t in other]
    assert trades.seller.tolist() == [t.seller for t in other]
    assert trades.stage.tolist() == [t.stage for t in other]
    assert np.rint(trades.quantity * 1000).tolist() == [t.quantity for t in other]
    close = {"rtol": 1e-9, "atol": 1e-12}
    np.testing.assert_allclose(trades.quantity, [t.quantity / 1000 for t in other], rtol=1e-14)
    np.testing.assert_allclose(trades.price, [float(t.price) for t in other], rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(trades.seller_price, [float(t.seller_price) for t in other], rtol=1e-12, atol=1e-12)
    for name in ("distance", "loss", "fee"):
        np.testing.assert_allclose(getattr(trades, name), [getattr(t, name) for t in other], **close, err_msg=name)
    assert result.p2p_volume == pytest.approx(twin.p2p_volume / 1000, rel=1e-12, abs=0)
    bought = sum(t.quantity for t in twin.stage(3) if t.buyer == DSO)
    assert result.dso_buy_volume == pytest.approx(bought / 1000, rel=1e-12)
    assert result.dso_sell_volume == pytest.approx((sum(t.quantity for t in twin.stage(3)) - bought) / 1000, rel=1e-12)
    assert result.social_welfare == pytest.approx(float(twin.social_welfare), rel=1e-9, abs=1e-12)
    assert result.budget_surplus == pytest.approx(float(twin.budget_surplus), rel=1e-9, abs=1e-12)
    mean = math.nan if twin.clearing_price is None else float(twin.clearing_price)
    assert result.clearing_price == pytest.approx(mean, rel=1e-9, abs=1e-12, nan_ok=True)
    if twin.interval is not None:
        assert result.price_interval == pytest.approx([float(p) for p in twin.interval], rel=1e-12, abs=1e-12)
    if grid is not None:
        load = np.abs(twin.flows) / (grid.line_capacity * step_hours)
        assert result.congestion_max == pytest.approx(load.max(initial=0.0), rel=1e-9, abs=1e-12)
        assert result.congestion_mean == pytest.approx(load.mean() if len(load) else 0.0, rel=1e-9, abs=1e-12)


def at_random(env, steps: int, seed: int = 5):
    """The environment after so many steps of random actions, the same in each run. seed: of its episodes."""
    env.action_space.seed(0)
    env.reset(seed=seed)
    for _ in range(steps):
        env.step(env.action_space.sample())
    return env
