"""How trade answers to prices, sizes and splits; the auction's volume; losses, fees and congestion."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from market import GridTopology, MarketConfig, Orders, clear
from market.simulation.dynamics import initial, step
from market_support import FEW, SIMPLE, TERMS, bills, book_of, p2p, rows, rules_of
from oracle import read
from strategies import ALL_TRADE, RULES, books, configs, grid_of, grids, scenarios, tariffs

NEXT_TICK = [0.01, 1.0, 30.0, 100.0]
ONLY_LOSSES = {"congestion_fee": 0.0, "distance_fee": 0.0, "zone_discount": 0.0, "max_fee": 1.0, "loss_rate": 1e-4}


# --- prices


@FEW
@given(st.data(), st.none() | grids(), st.sampled_from(NEXT_TICK))
@pytest.mark.parametrize("rule", RULES)
def test_a_better_price_never_trades_less(rule, data, grid, step):
    """Raising an ask never sells more, raising a bid never buys less. MCAFEE: on books without named partners."""
    book = data.draw(books(own_agents=True, partners=rule in ALL_TRADE, dso=rule in ALL_TRADE))
    config = data.draw(configs((rule,)))
    assume(book["price"])
    i = data.draw(st.integers(0, len(book["price"]) - 1))
    better = list(book["price"])
    better[i] = round(min(better[i] + step, 100.0) if book["is_buy"][i] else max(better[i] - step, 0.0), 2)
    agent = book["agent"][i]
    before, after = (p2p(rows(b, config, grid=grid))[agent] for b in (book, book | {"price": better}))
    assert after >= before


# --- volume


@given(books(), st.none() | grids(), st.sampled_from(ALL_TRADE))
def test_the_volume_is_the_same_under_every_rule_without_reduction(book, grid, rule):
    uniform, other = (rules_of(r) for r in ("uniform", rule))
    one, two = ([(b, s, q, k) for b, s, _, _, q, k in rows(book, c, grid=grid)] for c in (uniform, other))
    assert one == two


@given(books(partners=False, dso=False), st.none() | grids(), st.sampled_from(ALL_TRADE))
def test_the_volume_is_that_of_the_double_auction(book, grid, rule):
    """Pair by pair as much is traded as at the best single price: max over p of min(demand, supply) at p."""
    orders, capacity = read(**book), 10**9 if grid is None else round(grid.capacity * 1000)
    at_one_price = max(
        (
            min(
                sum(o.quantity for o in orders if o.is_buy and o.price >= p.price),
                sum(o.quantity for o in orders if not o.is_buy and o.price <= p.price),
            )
            for p in orders
        ),
        default=0,
    )
    volume = clear(Orders(**book), rules_of(rule), **TERMS, grid=grid).p2p_volume
    assert round(volume * 1000) == min(at_one_price, capacity)


# --- sizes


def scaled(book, config, grid, factor):
    """The same market, `factor` times as large."""
    larger = book | {"quantity": [q * factor for q in book["quantity"]]}
    if grid is not None:
        topology, nodes, capacity = grid
        grid = grid_of(topology, nodes, capacity * factor)
    return clear(Orders(**larger), replace(config, max_quantity=5.0 * factor), **TERMS, grid=grid)


SHAPES = st.none() | st.tuples(st.sampled_from(list(GridTopology)), st.just(5), st.sampled_from([2.0, 7.5, 1000.0]))


@given(st.data(), configs(), SHAPES, st.sampled_from([2, 10, 1000]))
def test_scaling_the_quantities_scales_the_trades(data, config, shape, factor):
    """Energy, losses and money grow in proportion; prices and congestion stay. MCAFEE: on books of equal units."""
    unit = config.price_mechanism not in ALL_TRADE
    book = data.draw(books(unit=unit, nodes=True, partners=not unit, dso=not unit))
    small, large = (scaled(book, config, shape, f) for f in (1, factor))
    for name in ("buyer", "seller", "price", "seller_price", "stage", "distance"):
        np.testing.assert_array_equal(getattr(large.trades, name), getattr(small.trades, name), err_msg=name)
    wh = np.rint(small.trades.quantity * 1000).astype(int)
    assert (np.rint(large.trades.quantity * 1000) == factor * wh).all()
    for name in ("loss", "fee"):
        one, other = (getattr(r.trades, name) for r in (small, large))
        np.testing.assert_allclose(other, factor * one, rtol=1e-9, atol=1e-15 * factor, err_msg=name)
    for name in ("social_welfare", "budget_surplus", "dso_buy_volume", "dso_sell_volume"):
        assert getattr(large, name) == pytest.approx(factor * getattr(small, name), rel=1e-9, abs=1e-12 * factor)
    for name in ("congestion_mean", "congestion_max"):
        assert getattr(large, name) == pytest.approx(getattr(small, name), rel=1e-9, abs=1e-15)


@given(books(**SIMPLE), st.sampled_from([2, 10]))
def test_the_multi_unit_reduction_scales_but_for_whole_wh(book, factor):
    small, large = (scaled(book, rules_of("mcafee"), None, f) for f in (1, factor))
    filled = []
    for trades in (small.trades, large.trades):
        wh = np.rint(trades.quantity * trades.p2p * 1000)
        parties = np.concatenate((trades.buyer, trades.seller))
        filled.append(np.bincount(parties[parties >= 0], np.tile(wh, 2)[parties >= 0], minlength=12))
    assert (np.abs(filled[1] - factor * filled[0]) <= factor).all()
    assert large.price_interval == pytest.approx(small.price_interval, nan_ok=True)


def test_a_doubled_book_shares_the_odd_wh():
    book = book_of([90.0, 80.0, 70.0], [10.0, 20.0], [1, 1, 1, 1.001, 2])
    small, large = (scaled(book, rules_of("mcafee"), None, f).trades for f in (1, 2))
    assert (small.quantity[:2] * 1000).round().tolist() == [501, 500]
    assert (large.quantity[:2] * 1000).round().tolist() == [1001, 1001]


# --- splits


def split(book, i: int, wh: int) -> dict:
    """`book` with order i as two orders of its agent, the first of `wh`; arrival is by place."""
    halves = {name: [*c[:i], c[i], *c[i:]] for name, c in book.items() if name != "arrival"}
    halves["quantity"][i : i + 2] = [wh / 1000, (round(book["quantity"][i] * 1000) - wh) / 1000]
    return halves


@given(st.data(), configs(ALL_TRADE), st.none() | grids())
def test_splitting_an_order_changes_nothing_for_anybody(data, config, grid):
    """Two orders of one agent, same price, reputation and adjacent arrival: the same fills and bills for all."""
    book = data.draw(books(**SIMPLE, nodes=True))
    sizes = [round(q * 1000) for q in book["quantity"]]
    assume(max(sizes, default=0) > 1)
    i = sizes.index(max(sizes))
    halves = split(book, i, data.draw(st.integers(1, sizes[i] - 1)))
    before, after = (rows(b, config, grid=grid) for b in (book | {"arrival": None}, halves))
    assert p2p(before) == p2p(after)
    assert dict(bills(after)) == pytest.approx(dict(bills(before)), rel=1e-9, abs=1e-6)


@pytest.mark.parametrize(
    ("bids", "asks", "quantity", "order", "before", "after"),
    [
        # Two equal units trade at (0 + 100) / 2; one split, they are not equal, and the last pair leaves.
        ([90.0, 70.0], [10.0, 40.0], 1.0, 0, [1000, 1000, 1000, 1000], [1000, 0, 1000, 0]),
        # Of three who give up the same, the split one gives up twice.
        ([90.0, 80.0, 40.0], [10.0, 30.0], [2, 2, 5, 2.5, 5], 0, [1250, 1250, 0, 2500, 0], [1000, 1500, 0, 2500, 0]),
        # The first half of the last order is not the last any more.
        ([90.0, 70.0], [10.0, 20.0], [1, 2, 2, 5], 1, [1000, 0, 1000, 0], [1000, 1000, 2000, 0]),
    ],
)
def test_under_mcafee_a_split_changes_what_others_trade(bids, asks, quantity, order, before, after):
    book = book_of(bids, asks, quantity)
    filled = (
        p2p(rows(b, rules_of("mcafee"))) for b in (book, split(book, order, round(book["quantity"][order] * 500)))
    )
    assert [[f[agent] for agent in book["agent"]] for f in filled] == [before, after]


# --- losses, fees, congestion


@given(books(nodes=True), configs(), grids(), tariffs(), st.sampled_from([0.5, 1.0]))
def test_losses_fees_and_congestion_are_bounded(book, config, grid, tariff, hours):
    result = clear(Orders(**book), config, **tariff, grid=grid, step_hours=hours)
    trades = result.trades
    value = trades.quantity * trades.price / 1000
    assert (trades.fee >= 0).all()
    assert (trades.fee <= config.max_fee * value * (1 + 1e-12)).all()
    assert (trades.loss >= 0).all()
    assert ((trades.loss < trades.quantity) | (trades.quantity == 0)).all()
    share = 1 - np.exp(-config.loss_rate * trades.distance)
    assert trades.loss.sum() == pytest.approx((trades.quantity * share).sum(), rel=1e-9, abs=1e-15)
    dso = trades.stage == 3
    assert not trades.fee[dso].any()
    assert not trades.loss[dso].any()
    assert not trades.distance[dso].any()
    most = result.p2p_volume / (grid.line_capacity.min(initial=np.inf) * hours)  # all of it over the thinnest line
    assert 0 <= result.congestion_mean <= result.congestion_max <= most * (1 + 1e-12)


@given(books(nodes=True, max_size=12), configs(), grids(), tariffs())
def test_the_loss_fee_is_what_the_lost_energy_costs(book, config, grid, tariff):
    """At the utility price, wherever the fee is within its bounds: the rest of the fee does not depend on losses."""
    config = replace(config, loss_rate=1e-3, max_fee=max(config.max_fee, 0.01))
    lossy, free = (
        clear(Orders(**book), c, **tariff, grid=grid).trades for c in (config, replace(config, loss_rate=0.0))
    )
    cost = lossy.loss * tariff["utility_price"] / 1000
    within = (free.fee > 0) & (lossy.fee < config.max_fee * lossy.quantity * lossy.price / 1000 * (1 - 1e-9))
    np.testing.assert_allclose((lossy.fee - free.fee)[within], cost[within], rtol=1e-6, atol=1e-15)
    assert (lossy.fee - free.fee <= cost * (1 + 1e-9) + 1e-15).all()  # the bounds never make it more


@given(books(nodes=True, max_size=12), grids(), tariffs())
def test_loss_fees_alone_pay_for_what_the_dso_supplies(book, grid, tariff):
    trades = clear(Orders(**book), MarketConfig(0, 100, 0.001, 5, **ONLY_LOSSES), **tariff, grid=grid).trades
    cost = trades.loss * tariff["utility_price"] / 1000
    capped = np.minimum(cost, trades.quantity * trades.price / 1000)
    np.testing.assert_allclose(trades.fee, capped, rtol=1e-9, atol=1e-15)


@settings(max_examples=max(1, settings.default.max_examples // 2))
@given(st.data(), st.sampled_from(RULES), st.integers(0, 2**32))
def test_in_the_simulation_the_dso_is_paid_for_the_losses_it_supplies(data, rule, seed):
    config = MarketConfig(price_mechanism=rule, **ONLY_LOSSES)
    params = data.draw(scenarios(sizes=(9, 6), market_config=config)).params
    state = initial(params, np.array([0, 5]))
    action = np.random.default_rng(seed).uniform(-1, 1, (params.max_steps, 2, params.num_agents, 4))
    action[..., 0] = np.copysign(action[..., 0], action[..., 2])  # high bids, low asks
    for t in range(params.max_steps):
        state, _, record = step(params, state, action[t])
        for e in range(2):
            mine = record.cleared.market == e
            both = record.cleared.ask_order[mine], record.cleared.bid_order[mine]
            seller, buyer = (params.node[order - e * params.num_agents] for order in both)
            km = 0.0 if params.grid is None else params.grid.distance[seller, buyer]
            lost = record.cleared.energy[mine] * (1 - np.exp(-config.loss_rate * km))
            assert record.loss[e] == pytest.approx(lost.sum(), rel=1e-9, abs=1e-12)
            cost = record.loss[e] * record.utility_price[e] / 1000
            assert record.fee[e].sum() == pytest.approx(cost, rel=1e-9, abs=1e-12)
            energy = record.from_dso[e].sum() * record.utility_price[e]
            energy -= record.to_dso[e].sum() * record.feed_in_tariff[e]
            income = energy / 1000 + cost + record.budget_surplus[e]
            assert record.dso_income[e] == pytest.approx(income, rel=1e-9, abs=1e-9)
