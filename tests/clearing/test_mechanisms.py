"""What each mechanism promises, as one table that the docs repeat; each cell has a property or a counterexample.

The value of energy to an agent is the price at which it does not care whether it trades with a peer or with the DSO,
which serves all that is left. So what the DSO serves counts as a gain of nothing, and a buyer that gets q kWh from
peers gains q x (value - price). An agent that must consume has the utility price as its value, one that must sell the
feed-in tariff. Reports are prices: what else one might try is in `test_mechanism_limits`, and so is the outside option.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import linprog

from market import ClearingMechanism, GridTopology, Orders, clear
from market_support import FEW, TERMS, best_lies, book_of, gain, rows, rules_of
from oracle import read
from strategies import books, configs, grid_of, grids, tariffs

README = Path(__file__).parents[2] / "market" / "README.md"


class Row(NamedTuple):
    """Cells of the table, as the docs print them."""

    efficient: str
    rational: str
    within_tariffs: str
    budget: str
    buyers: str
    sellers: str


HEADER = "mechanism", "efficient", "rational", "within tariffs", "budget", "truthful buyers", "truthful sellers"
UNIT, OTHER = "MCAFEE, equal units", "MCAFEE, other books"
TABLE = {
    "AVERAGE": Row("yes", "yes", "yes", "strong", "no", "no"),
    "BUYER": Row("yes", "yes", "yes", "strong", "no", "if alone"),
    "SELLER": Row("yes", "yes", "yes", "strong", "if alone", "no"),
    "BID_ASK_SPREAD": Row("yes", "yes", "yes", "strong", "no", "no"),
    "NASH_BARGAINING": Row("yes", "yes", "yes", "strong", "no", "no"),
    "PROPORTIONAL_SURPLUS": Row("yes", "yes", "yes", "strong", "no", "no"),
    "UNIFORM": Row("yes", "yes", "yes", "strong", "no", "no"),
    UNIT: Row("all but a pair", "yes", "yes", "weak", "yes", "yes"),
    OTHER: Row("all but the last orders", "yes", "yes", "weak", "yes", "yes"),
}
LEVELS = [0.0, 30.0, 45.0, 60.0, 100.0]
SIDES = {"buyers": 0, "sellers": 1}


def rule_of(name: str) -> ClearingMechanism:
    return ClearingMechanism(name.split(",", maxsplit=1)[0].lower())


def cells(column: str, *values: str) -> list[str]:
    """Mechanisms whose cell in `column` is one of `values`."""
    return [name for name, row in TABLE.items() if getattr(row, column) in values]


def draw_book(data, name: str, **more):
    """A book of one order per agent on which mechanism `name` works."""
    book = data.draw(books(own_agents=True, unit=name == UNIT, **more))
    if name == OTHER:
        assume(len({q for q in book["quantity"] if q}) > 1)
    return book


def test_the_docs_show_this_table():
    lines = README.read_text().splitlines()
    start = lines.index(f"| {' | '.join(HEADER)} |")
    shown = [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in lines[start:] if line[:1] == "|"]
    assert shown[2 : 2 + len(TABLE)] == [(name, *row) for name, row in TABLE.items()]
    assert lines[start + 2 + len(TABLE)] == ""


def test_every_mechanism_has_a_row():
    assert list(dict.fromkeys(rule_of(name) for name in TABLE)) == list(ClearingMechanism)
    known = {"yes", "no", "if alone", "strong", "weak", "all but a pair", "all but the last orders"}
    assert {cell for row in TABLE.values() for cell in row} == known


# --- efficient: the largest gains from trade within the capacity, where nobody names a partner or the DSO


def best_welfare(orders, capacity: float) -> float:
    """The largest sum of Wh x (bid - ask in ticks) that any allocation reaches: a transport problem, by HiGHS."""
    bids, asks = ([o for o in orders if o.is_buy == side] for side in (True, False))
    if not bids or not asks:
        return 0.0
    gains = np.array([[b.price - a.price for a in asks] for b in bids], float)
    rows_of = np.repeat(np.eye(len(bids)), len(asks), axis=1)
    columns_of = np.tile(np.eye(len(asks)), len(bids))
    limits = [o.quantity for o in bids + asks] + [min(capacity, 1e9)]
    matrix = np.vstack([rows_of, columns_of, np.ones(gains.size)])
    return -linprog(-gains.ravel(), A_ub=matrix, b_ub=limits, method="highs").fun


@FEW
@given(st.data(), st.none() | grids())
@pytest.mark.parametrize("name", cells("efficient", "yes"))
def test_welfare_is_that_of_the_best_allocation(name, data, grid):
    book = data.draw(books(max_size=12, partners=False, dso=False))
    result = clear(Orders(**book), rules_of(rule_of(name)), **TERMS, grid=grid)
    capacity = math.inf if grid is None else grid.capacity * 1000
    assert result.social_welfare == pytest.approx(best_welfare(read(**book), capacity) / 1e8, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize(("name", "quantity"), [(UNIT, 1.0), (OTHER, [1, 1, 2, 1, 1, 3])])
def test_trade_reduction_gives_up_gains(name, quantity):
    assert TABLE[name].efficient != "yes"
    book = book_of([90.0, 50.0, 20.0], [10.0, 45.0, 95.0], quantity)
    reduced, full = (clear(Orders(**book), rules_of(rule), **TERMS) for rule in ("mcafee", "average"))
    assert full.social_welfare == pytest.approx(0.085)  # 90 - 10 and 50 - 45
    assert reduced.social_welfare == pytest.approx(0.08)


@given(st.data(), st.none() | grids())
def test_mcafee_gives_up_the_last_pair_at_most(data, grid):
    book = data.draw(books(unit=True, partners=False, dso=False))
    reduced, full = (rows(book, rules_of(rule), grid=grid) for rule in ("mcafee", "average"))
    limit, unit = dict(zip(book["agent"], book["price"], strict=True)), round(max(book["quantity"], default=0) * 1000)
    pairs, best = ([t for t in trades if t[-1] == 2] for trades in (reduced, full))
    whole = [t for t in best if t[4] == unit]  # the capacity may serve the last pair in part, which McAfee cannot
    assert len(whole) - 1 <= len(pairs) <= len(whole)
    gains = sorted((limit[b] - limit[s] for b, s, *_ in whole), reverse=True)
    assert sorted((limit[b] - limit[s] for b, s, *_ in pairs), reverse=True) == gains[: len(pairs)]


@given(st.data(), st.none() | grids())
def test_the_reduction_gives_up_the_last_orders_at_most(data, grid):
    book = draw_book(data, OTHER, partners=False, dso=False)
    size = {a: round(q * 1000) for a, q in zip(book["agent"], book["quantity"], strict=True)}
    reduced, full = ([t for t in rows(book, rules_of(r), grid=grid) if t[-1] == 2] for r in ("mcafee", "average"))
    lost = sum(t[4] for t in full) - sum(t[4] for t in reduced)
    last = max(size[full[-1][0]], size[full[-1][1]]) if full else 0
    assert 0 <= lost <= last


@pytest.mark.parametrize("partner", [{"partner": [-2, 2, 1]}, {"partner": [-1, -2, -2]}], ids=["peer", "dso"])
@pytest.mark.parametrize("name", TABLE)
def test_naming_a_partner_costs_efficiency(name, partner):
    """The seller of cost 10 serves the buyer of value 50, and the one of value 90 goes to the DSO."""
    book = book_of([90.0, 50.0], [10.0], 1.0 if name == UNIT else [1.0, 2.0, 1.0])
    free, named = (clear(Orders(**b), rules_of(rule_of(name)), **TERMS) for b in (book, book | partner))
    assert free.social_welfare == pytest.approx(0 if name == OTHER else 0.08)
    assert named.social_welfare <= 0.04 + 1e-12


# --- individually rational, within the tariffs, budget balance


@FEW
@given(st.data(), tariffs(), st.none() | grids())
@pytest.mark.parametrize("name", cells("rational", "yes"))
def test_nobody_pays_above_the_bid_or_gets_less_than_the_ask(name, data, tariff, grid):
    book, config = draw_book(data, name), data.draw(configs((rule_of(name),)))
    limit = {o.agent: o.price / 100 for o in read(**book)}
    for buyer, seller, price, seller_price, _, stage in rows(book, config, grid=grid, **tariff):
        if stage < 3:
            assert limit[seller] <= seller_price <= price <= limit[buyer]


@FEW
@given(st.data(), tariffs(), st.none() | grids())
@pytest.mark.parametrize("name", cells("within_tariffs", "yes"))
def test_who_asks_no_worse_than_the_dso_gets_no_worse(name, data, tariff, grid):
    """The no-regret interval: feed-in tariff <= price <= utility price when both limits lie within the tariffs."""
    book, config = draw_book(data, name), data.draw(configs((rule_of(name),)))
    low, high = tariff["feed_in_tariff"], tariff["utility_price"]
    if data.draw(st.booleans()):  # else hardly a limit lies within the tariffs
        book["price"] = [round(min(max(p, low), high), 2) for p in book["price"]]
    limit = {o.agent: o.price / 100 for o in read(**book)}
    for buyer, seller, price, seller_price, _, stage in rows(book, config, grid=grid, **tariff):
        if stage < 3 and low <= limit[seller] <= limit[buyer] <= high:
            assert low <= seller_price <= price <= high


@given(st.data(), st.sampled_from([(0.0, 100.0), (20.0, 70.0), (45.0, 45.0), (60.0, 65.0), (10.0, 12.0)]))
def test_bargaining_keeps_within_the_tariffs_when_the_limits_do_not(data, tariff):
    book, (low, high) = data.draw(books(own_agents=True)), tariff
    limit = {o.agent: o.price / 100 for o in read(**book)}
    trades = rows(book, rules_of("nash_bargaining"), feed_in_tariff=low, utility_price=high)
    for buyer, seller, price, *_, stage in trades:
        if stage < 3 and max(limit[seller], low) <= min(limit[buyer], high):
            assert low <= price <= high


@FEW
@given(st.data(), st.none() | grids(), tariffs())
@pytest.mark.parametrize("name", TABLE)
def test_the_budget_balances(name, data, grid, tariff):
    book, config = draw_book(data, name), data.draw(configs((rule_of(name),)))
    result = clear(Orders(**book), config, **tariff, grid=grid)
    trades = result.trades
    surplus = math.fsum((trades.price - trades.seller_price) * trades.quantity / 1000)
    assert result.budget_surplus == pytest.approx(surplus, rel=1e-9, abs=1e-12)
    if TABLE[name].budget == "strong":
        assert (trades.price == trades.seller_price).all()
        assert result.budget_surplus == 0
    else:
        assert (trades.price >= trades.seller_price).all()


@pytest.mark.parametrize(("name", "quantity"), [(UNIT, 1.0), (OTHER, [1, 1, 2, 1, 1, 3])])
def test_a_weak_budget_leaves_a_surplus(name, quantity):
    assert TABLE[name].budget == "weak"
    book = book_of([90.0, 50.0, 20.0], [10.0, 45.0, 95.0], quantity)
    assert clear(Orders(**book), rules_of("mcafee"), **TERMS).budget_surplus == pytest.approx(0.005)  # 50 - 45, 1 kWh


# --- truthful: no lie about the price pays, whatever the others say

PAIR = book_of([90.0], [30.0])
RIVALS = book_of([90.0, 50.0], [10.0, 20.0])
LIES = {  # (cell, side): book, who lies, what it says; last price 45
    ("no", "buyers"): (PAIR, 0, 31.0),
    ("no", "sellers"): (PAIR, 1, 89.0),
    ("if alone", "buyers"): (RIVALS, 1, 95.0),  # bids more to be matched with the cheaper seller
    ("if alone", "sellers"): (RIVALS, 3, 5.0),  # asks less to be matched with the dearer buyer
}


@pytest.mark.parametrize(("name", "side"), [(name, side) for side in SIDES for name in cells(side, "no", "if alone")])
def test_a_lie_pays(name, side):
    book, agent, lie = LIES[getattr(TABLE[name], side), side]
    value = book["price"][agent]
    told = book | {"price": [*book["price"][:agent], lie, *book["price"][agent + 1 :]]}
    honest, lied = (gain(rows(b, rules_of(rule_of(name)), last_price=45.0), agent, value) for b in (book, told))
    assert lied > honest + 1000.0  # $/MWh of a kWh


@pytest.mark.parametrize("capacity", [None, 1.0, 2.0])
@pytest.mark.parametrize(("name", "side"), [(name, side) for side in SIDES for name in cells(side, "if alone")])
def test_truth_is_best_for_who_is_alone_on_its_side(name, side, capacity):
    grid = None if capacity is None else grid_of(GridTopology.RING, 5, capacity)
    for others in (1, 2, 3):
        sides = (1, others) if side == "buyers" else (others, 1)
        for quantity in (1.0, [2.0, 1.5, 0.5, 1.0][: others + 1]):
            lies = best_lies(LEVELS, sides, rules_of(rule_of(name)), quantity, grid=grid)
            assert lies[SIDES[side]].max() == 0
            assert lies[1 - SIDES[side]].max() > 1000  # the other side's lies pay: the search can find some


@given(st.data(), st.none() | grids())
@pytest.mark.parametrize("name", [UNIT, OTHER])
def test_no_lie_pays_where_the_table_says_so(name, data, grid):
    book = draw_book(data, name, partners=False, dso=False)
    assume(book["price"])
    i = data.draw(st.integers(0, len(book["price"]) - 1))
    agent, value = book["agent"][i], book["price"][i]
    near = st.sampled_from(book["price"]).flatmap(lambda p: st.sampled_from([p - 0.01, p, p + 0.01]))
    lie = round(min(max(data.draw(near | st.sampled_from([0.0, 100.0])), 0.0), 100.0), 2)
    told = book | {"price": [*book["price"][:i], lie, *book["price"][i + 1 :]]}
    honest, lied = (rows(b, rules_of("mcafee"), grid=grid) for b in (book, told))
    assert TABLE[name].buyers == TABLE[name].sellers == "yes"
    assert gain(lied, agent, value) <= gain(honest, agent, value) + 1e-6
