"""What must hold for any book: nothing lost, nobody worse off, best first, and the same whoever asks."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracle_auctions
from market import DSO, GridTopology, Orders, clear
from market_support import SIMPLE, p2p, rows
from oracle import read
from strategies import ALL_TRADE, books, configs, grid_of, grids, tariffs


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


@given(books(nodes=True), configs(), st.sampled_from(list(GridTopology)), st.sampled_from([2.0, 8.0, 1000.0]))
def test_half_the_time_carries_half_the_energy(book, config, topology, capacity):
    whole, half = grid_of(topology, 5, capacity), grid_of(topology, 5, capacity / 2)
    assert rows(book, config, grid=whole, step_hours=0.5) == rows(book, config, grid=half, step_hours=1.0)
