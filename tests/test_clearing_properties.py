"""What must hold for any book: nothing lost, nobody worse off, best first, and the same whoever asks."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import oracle_auctions
from market import DSO, GridTopology, MarketConfig, Orders, clear
from market_support import SIMPLE, p2p, rows
from oracle import read
from strategies import ALL_TRADE, books, configs, grid_of, grids, tariffs

NEXT_TICK = [0.01, 1.0, 30.0, 100.0]


@given(books(max_size=12), configs(), st.none() | grids())
def test_energy_is_conserved_to_the_tick_and_nothing_stays_unmatched(book, config, grid):
    traded = Counter()
    for buyer, seller, _, _, wh, stage in rows(book, config, grid=grid):
        assert wh > 0
        assert buyer != seller  # nobody trades with itself
        assert (DSO in (buyer, seller)) == (stage == 3)
        traded[buyer, True] += wh
        traded[seller, False] += wh
    ordered = Counter()
    for o in read(**book):
        ordered[o.agent, o.is_buy] += o.quantity
    for agent, buys in ordered:
        assert traded[agent, buys] == ordered[agent, buys]
        assert traded[agent, not buys] == 0


@given(books(max_size=12), configs(), st.none() | grids(), tariffs())
def test_money_is_conserved_and_the_surplus_is_never_negative(book, config, grid, tariff):
    result = clear(Orders(**book), config, **tariff, grid=grid)
    trades = result.trades
    paid = math.fsum(trades.price * trades.quantity / 1000)
    received = math.fsum(trades.seller_price * trades.quantity / 1000)
    assert paid - received == pytest.approx(result.budget_surplus, rel=1e-9, abs=1e-9)
    assert (trades.price >= trades.seller_price).all()
    if config.price_mechanism != "mcafee":
        assert (trades.price == trades.seller_price).all()
        assert result.budget_surplus == 0


@given(st.data(), st.none() | grids())
@pytest.mark.parametrize("rule", ALL_TRADE)
def test_price_time_priority(rule, data, grid):
    book, config = data.draw(books(**SIMPLE)), data.draw(configs((rule,)))
    filled, orders = p2p(rows(book, config, grid=grid)), read(**book)
    for side in (True, False):
        full = True
        for o in oracle_auctions.ranked([o for o in orders if o.quantity], side):
            assert full or filled[o.agent] == 0
            full = filled[o.agent] == o.quantity


@given(books(partners=False, dso=False), configs(), grids())
def test_capacity_bounds_the_trade_and_is_used_up(book, config, grid):
    limit = round(grid.capacity * 1000)
    bounded, free = (sum(p2p(rows(book, config, grid=g)).values()) // 2 for g in (grid, None))
    assert bounded <= limit
    if config.price_mechanism != "mcafee":
        assert bounded == min(free, limit)


@given(st.data(), configs(), st.none() | grids(), tariffs())
def test_the_order_of_the_book_does_not_matter(data, config, grid, tariff):
    book = data.draw(books(distinct_arrivals=True, nodes=True))
    shuffle = data.draw(st.permutations(range(len(book["price"]))))
    other = {name: [column[i] for i in shuffle] for name, column in book.items()}
    one, two = (rows(b, config, grid=grid, **tariff) for b in (book, other))
    assert [r for r in one if r[-1] < 3] == [r for r in two if r[-1] < 3]
    assert sorted(one) == sorted(two)


@given(st.data(), configs(), st.none() | grids(), tariffs())
def test_names_do_not_matter(data, config, grid, tariff):
    book = data.draw(books(nodes=True))
    new = data.draw(st.lists(st.integers(0, 10**12), min_size=11, max_size=11, unique=True))
    name = {old: new[old] for old in range(11)} | {-1: -1, -2: -2}
    other = book | {"agent": [name[a] for a in book["agent"]]}
    if "partner" in book:
        other["partner"] = [name[p] for p in book["partner"]]
    renamed = [(name[b], name[s], *rest) for b, s, *rest in rows(book, config, grid=grid, **tariff)]
    assert rows(other, config, grid=grid, **tariff) == renamed


@given(st.data(), st.none() | grids(), st.sampled_from(NEXT_TICK))
@pytest.mark.parametrize("rule", ALL_TRADE)
def test_a_better_price_never_trades_less(rule, data, grid, step):
    book, config = data.draw(books(own_agents=True)), data.draw(configs((rule,)))
    assume(book["price"])
    i = data.draw(st.integers(0, len(book["price"]) - 1))
    better = list(book["price"])
    better[i] = round(min(better[i] + step, 100.0) if book["is_buy"][i] else max(better[i] - step, 0.0), 2)
    agent = book["agent"][i]
    before, after = (p2p(rows(b, config, grid=grid))[agent] for b in (book, book | {"price": better}))
    assert after >= before


@given(books(**SIMPLE), configs(ALL_TRADE), st.sampled_from([2, 10, 1000]))
def test_scaling_the_quantities_scales_the_trades(book, config, factor):
    scaled = book | {"quantity": [q * factor for q in book["quantity"]]}
    larger = MarketConfig(0, 100, 0.001, 5000, price_mechanism=config.price_mechanism, spread_share=config.spread_share)
    grown = [(*head, wh * factor, stage) for *head, wh, stage in rows(book, config)]
    assert rows(scaled, larger) == grown


@given(st.data(), configs(ALL_TRADE), st.none() | grids())
def test_splitting_an_order_changes_nothing_for_the_others(data, config, grid):
    book = data.draw(books(**SIMPLE, nodes=True)) | {"arrival": None}
    sizes = [round(q * 1000) for q in book["quantity"]]
    assume(max(sizes, default=0) > 1)
    i = sizes.index(max(sizes))
    part = data.draw(st.integers(1, sizes[i] - 1))
    halves = {name: [*c[:i], c[i], *c[i:]] for name, c in book.items() if c is not None}
    halves["quantity"][i : i + 2] = [part / 1000, (sizes[i] - part) / 1000]
    before, after = (p2p(rows(b, config, grid=grid)) for b in (book, halves))
    assert before == after


@given(books(), st.none() | grids(), st.sampled_from(ALL_TRADE))
def test_the_volume_is_the_same_under_every_rule_without_reduction(book, grid, rule):
    uniform, other = (MarketConfig(0, 100, 0.001, 5, price_mechanism=r) for r in ("uniform", rule))
    one, two = ([(b, s, q, k) for b, s, _, _, q, k in rows(book, c, grid=grid)] for c in (uniform, other))
    assert one == two


@given(books(nodes=True), configs(), grids(), tariffs(), st.sampled_from([0.5, 1.0]))
def test_losses_and_fees_are_bounded_and_recover_the_cost(book, config, grid, tariff, hours):
    trades = clear(Orders(**book), config, **tariff, grid=grid, step_hours=hours).trades
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


@given(books(nodes=True, max_size=12), grids(), tariffs())
def test_loss_fees_alone_pay_for_what_the_dso_supplies(book, grid, tariff):
    fees = {"congestion_fee": 0.0, "distance_fee": 0.0, "zone_discount": 0.0, "max_fee": 1.0, "loss_rate": 1e-4}
    trades = clear(Orders(**book), MarketConfig(0, 100, 0.001, 5, **fees), **tariff, grid=grid).trades
    cost = trades.loss * tariff["utility_price"] / 1000
    capped = np.minimum(cost, trades.quantity * trades.price / 1000)
    np.testing.assert_allclose(trades.fee, capped, rtol=1e-9, atol=1e-15)


@given(books(nodes=True), configs(), st.sampled_from(list(GridTopology)), st.sampled_from([2.0, 8.0, 1000.0]))
def test_half_the_time_carries_half_the_energy(book, config, topology, capacity):
    whole, half = grid_of(topology, 5, capacity), grid_of(topology, 5, capacity / 2)
    assert rows(book, config, grid=whole, step_hours=0.5) == rows(book, config, grid=half, step_hours=1.0)
