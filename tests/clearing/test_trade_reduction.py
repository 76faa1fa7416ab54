"""McAfee (1992) and Huang et al. (2002) on books worked by hand; truth by exhaustive search; UNIFORM's interval.

Prices lie within [0, 100] $/MWh, the ends that stand for a missing next bid and a missing next ask.
"""

from __future__ import annotations

import math

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from market import GridTopology, MarketConfig, Orders, clear
from market_support import FEW, TERMS, best_lies, book_of, p2p, rows, rules_of
from oracle import read
from strategies import ALL_TRADE, books, grid_of, grids

MCAFEE = rules_of("mcafee")
TRUTH_LEVELS = [0.0, 30.0, 45.0, 60.0, 100.0]


def ring(capacity):
    """Room for `capacity` kWh; None is no grid."""
    return None if capacity is None else grid_of(GridTopology.RING, 5, capacity)


def outcome(bids, asks, quantity=1.0, capacity=None, config=MCAFEE, **columns):
    """[(buyer, seller, Wh)], what buyers pay, what sellers get; sellers are numbered on from the buyers."""
    result = clear(Orders(**book_of(bids, asks, quantity, **columns)), config, **TERMS, grid=ring(capacity))
    trades = result.trades
    in_book = trades.stage == 2
    pairs = zip(trades.buyer[in_book], trades.seller[in_book], trades.quantity[in_book] * 1000, strict=True)
    matched = [(int(b), int(s), round(q)) for b, s, q in pairs]
    paid, got = ({float(p) for p in column[in_book]} for column in (trades.price, trades.seller_price))
    assert len(paid) == len(got) == min(len(matched), 1)  # one price for all buyers, one for all sellers
    if matched:
        assert result.price_interval == (*got, *paid)
    return matched, *(paid or {None}), *(got or {None})


FIRST, SECOND = (0, 3, 1000), (1, 4, 1000)


@pytest.mark.parametrize(
    ("bids", "asks", "capacity", "expected"),
    [
        # The middle p of the next bid and the next ask lies within [S_K, B_K]: all K pairs trade at p.
        ([90.0, 70.0, 45.0], [10.0, 40.0, 55.0], None, ([FIRST, SECOND], 50.0, 50.0)),
        ([90.0, 50.0, 20.0], [10.0, 45.0, 80.0], None, ([FIRST, SECOND], 50.0, 50.0)),  # p is B_K itself
        ([90.0, 50.0, 20.0], [10.0, 45.0, 70.0], None, ([FIRST, SECOND], 45.0, 45.0)),  # p is S_K itself
        # It does not: the K-th pair leaves and sets the prices.
        ([90.0, 50.0, 20.0], [10.0, 45.0, 80.02], None, ([FIRST], 50.0, 45.0)),  # p one tick above B_K
        ([90.0, 50.0, 20.0], [10.0, 45.0, 69.98], None, ([FIRST], 50.0, 45.0)),  # p one tick below S_K
        # A missing next order: min_price and max_price stand in.
        ([90.0, 70.0, 50.0], [10.0, 40.0], None, ([(0, 3, 1000)], 70.0, 40.0)),  # (50 + 100) / 2 is above 70
        ([90.0, 70.0, 30.0], [10.0, 40.0], None, ([FIRST, SECOND], 65.0, 65.0)),
        ([90.0, 70.0], [10.0, 40.0, 60.0], None, ([(0, 2, 1000)], 70.0, 40.0)),  # (0 + 60) / 2 is below 40
        ([90.0, 70.0], [10.0, 40.0, 90.0], None, ([(0, 2, 1000), (1, 3, 1000)], 45.0, 45.0)),
        ([90.0, 70.0], [10.0, 40.0], None, ([(0, 2, 1000), (1, 3, 1000)], 50.0, 50.0)),
        # One pair: it trades when the middle fits, else nobody does.
        ([60.0], [40.0], None, ([(0, 1, 1000)], 50.0, 50.0)),
        ([40.0], [30.0], None, ([], None, None)),
        # Nothing crosses; one side only.
        ([30.0, 20.0], [40.0, 50.0], None, ([], None, None)),
        ([30.0, 20.0], [], None, ([], None, None)),
        ([], [40.0], None, ([], None, None)),
        ([], [], None, ([], None, None)),
        # Ties: bid = ask trades; the order that comes first goes first; the price is the tied one.
        ([50.0, 50.0], [50.0, 50.0], None, ([(0, 2, 1000), (1, 3, 1000)], 50.0, 50.0)),
        ([60.0, 60.0, 60.0], [20.0, 30.0], None, ([(0, 3, 1000)], 60.0, 30.0)),  # (60 + 100) / 2 is above 60
        ([60.0, 60.0, 60.0], [20.0, 60.0, 60.0], None, ([FIRST, SECOND], 60.0, 60.0)),
        # The capacity ends the trade before the book does: the first who are left out set the prices.
        ([90.0, 70.0, 45.0], [10.0, 40.0, 42.0], 2.0, ([FIRST, SECOND], 45.0, 42.0)),
        ([90.0, 70.0, 45.0], [10.0, 40.0, 42.0], 1.999, ([FIRST], 70.0, 40.0)),  # whole units only
        ([90.0, 70.0, 45.0], [10.0, 40.0, 42.0], 0.999, ([], None, None)),
        # It does not, as K pairs just fit.
        ([90.0, 70.0, 45.0], [10.0, 40.0, 55.0], 2.0, ([FIRST, SECOND], 50.0, 50.0)),
    ],
)
def test_mcafee_on_books_worked_by_hand(bids, asks, capacity, expected):
    assert outcome(bids, asks, capacity=capacity) == expected


@pytest.mark.parametrize(("low", "high", "price"), [(0, 100, 50.0), (20, 90, 55.0), (10, 70, 40.0)])
def test_the_ends_of_the_allowed_prices_stand_for_missing_orders(low, high, price):
    config = MarketConfig(low, high, price_mechanism="mcafee")
    assert outcome([70.0], [30.0], config=config) == ([(0, 1, 1000)], price, price)


@pytest.mark.parametrize(
    ("change", "is_unit"),
    [
        ({}, True),
        ({"quantity": [1.0, 0.0, 1.0, 1.0, 1.0]}, True),  # no order
        ({"quantity": [1.0, 2.0, 1.0, 1.0, 1.0], "partner": [-2, -1, -2, -2, -2]}, True),  # not in the book
        ({"quantity": [1.0, 2.0, 1.0, 1.0, 1.0]}, False),  # though it cannot trade
        ({"quantity": [1.001, 1.0, 1.0, 1.0, 1.0]}, False),
        ({"agent": [0, 1, 0, 3, 4]}, False),  # one agent, two orders
    ],
)
def test_which_books_are_of_equal_units(change, is_unit):
    book = book_of([90.0, 5.0, 70.0], [10.0, 40.0]) | change
    trades = [t for t in rows(book, MCAFEE) if t[-1] == 2]
    prices = {(t[2], t[3]) for t in trades}
    missing = 5.0 if change.get("quantity", [1.0] * 2)[1] == 1.0 and "partner" not in change else 0.0
    assert prices == ({((missing + 100) / 2,) * 2} if is_unit else {(70.0, 40.0)})
    assert sum(t[4] for t in trades) == (2000 if is_unit else 1000)


@pytest.mark.parametrize(
    ("bids", "asks", "quantity", "capacity", "expected"),
    [
        # The bid of 70 and the ask of 30 are last. Before them 4 kWh are wanted and 2.5 offered: 0.75 off each bid.
        ([90.0, 80.0, 70.0], [10.0, 20.0, 30.0], [1, 3, 2, 1, 1.5, 5], None,
         ([(0, 3, 250), (1, 3, 750), (1, 4, 1500)], 70.0, 30.0)),
        # 2 wanted, 5 offered: 1.5 off each ask.
        ([90.0, 80.0, 40.0], [10.0, 15.0, 30.0], [1, 1, 5, 2, 3, 5], None,
         ([(0, 3, 500), (0, 4, 500), (1, 4, 1000)], 40.0, 30.0)),
        # As much wanted as offered.
        ([90.0, 40.0], [10.0, 30.0], [2, 5, 2, 5], None, ([(0, 2, 2000)], 40.0, 30.0)),
        # An equal share of 1.1 is more than the first has: it leaves, and the other gives up the rest.
        ([90.0, 80.0, 70.0], [10.0, 30.0], [0.2, 3, 2, 1, 5], None, ([(1, 3, 1000)], 70.0, 30.0)),
        # 1.001 to share: the odd Wh goes to who came first, not to the higher bid.
        ([90.0, 80.0, 70.0], [10.0, 20.0], [1, 1, 1, 1.001, 5], None, ([(0, 3, 501), (1, 3, 500)], 70.0, 20.0)),
        ([80.0, 90.0, 70.0], [10.0, 20.0], [1, 1, 1, 1.001, 5], None, ([(1, 3, 500), (0, 3, 501)], 70.0, 20.0)),
        # Nobody before the last bid, or before the last ask: no trade.
        ([90.0, 20.0], [10.0, 15.0], [3, 1, 1, 1], None, ([], None, None)),
        ([90.0, 80.0], [10.0, 85.0], [1, 1, 3, 1], None, ([], None, None)),
        # Nothing crosses; one side only.
        ([30.0, 20.0], [40.0], [1, 2, 3], None, ([], None, None)),
        ([30.0, 20.0], [], [1, 2], None, ([], None, None)),
        # The capacity of 3 makes the bid of 80 the last; it is used up in part only.
        ([90.0, 80.0, 70.0], [10.0, 20.0, 30.0], [1, 3, 2, 1, 1.5, 5], 3.0,
         ([(0, 3, 250), (0, 4, 750)], 80.0, 30.0)),
    ],
)  # fmt: skip
def test_the_multi_unit_reduction_on_books_worked_by_hand(bids, asks, quantity, capacity, expected):
    assert outcome(bids, asks, quantity, capacity) == expected


# --- truth is the best report


@pytest.mark.parametrize("capacity", [None, 1.0, 2.0])
@pytest.mark.parametrize(
    ("sides", "levels"),
    [
        *[(sides, TRUTH_LEVELS) for sides in ((1, 1), (1, 2), (2, 1), (2, 2), (1, 3), (3, 1), (3, 2), (2, 3))],
        ((2, 2), [0.0, 10.0, 40.0, 50.0, 55.0, 60.0, 90.0, 100.0]),
        pytest.param((3, 3), TRUTH_LEVELS, marks=pytest.mark.slow),
        pytest.param((4, 2), TRUTH_LEVELS, marks=pytest.mark.slow),
        pytest.param((2, 4), TRUTH_LEVELS, marks=pytest.mark.slow),
    ],
)
def test_mcafee_leaves_nothing_to_gain_from_a_lie(sides, levels, capacity):
    assert best_lies(levels, sides, MCAFEE, grid=ring(capacity)).max() == 0


def test_odd_ticks_go_by_reputation_before_arrival():
    columns = {"reputation": [0.2, 0.7, 0.5, 0.5, 0.5], "arrival": [0.0, 1.0, 2.0, 3.0, 4.0]}
    matched, *_ = outcome([90.0, 80.0, 70.0], [10.0, 20.0], [1, 1, 1, 1.001, 5], **columns)
    assert matched == [(0, 3, 500), (1, 3, 501)]


@pytest.mark.parametrize("capacity", [None, 1.0, 2.5])
@pytest.mark.parametrize(
    ("sides", "quantity"),
    [
        ((2, 2), [1.2, 0.6, 0.6, 1.8]),  # quantities that can be shared equally by two and three
        ((3, 2), [0.6, 1.2, 1.8, 1.2, 2.4]),
        ((2, 3), [2.4, 1.2, 0.6, 1.8, 0.6]),
        ((3, 2), [1.0, 1.0, 1.0, 1.001, 2.0]),  # one Wh is left over
        ((2, 3), [2.0, 1.001, 1.0, 1.0, 1.0]),
    ],
)
def test_the_multi_unit_reduction_leaves_nothing_to_gain_from_a_lie(sides, quantity, capacity):
    """Huang et al. (2002) prove it for real numbers; in whole Wh, the odd ones must not go by price."""
    assert best_lies(TRUTH_LEVELS, sides, MCAFEE, quantity, grid=ring(capacity)).max() == 0


@given(st.data(), st.booleans(), st.none() | grids())
def test_who_trades_pays_or_gets_the_price_at_which_it_would_stop(data, unit, grid):
    """Myerson (1981): with monotone trade, the critical price is what makes truth the best report."""
    book = data.draw(books(unit=unit, own_agents=True, partners=False, dso=False))
    trades = [t for t in rows(book, MCAFEE, grid=grid) if t[-1] == 2]
    assume(trades)
    _, _, paid, got, _, _ = trades[0]
    filled = p2p(trades)
    for i in range(len(book["price"])):
        agent, buys = book["agent"][i], book["is_buy"][i]
        if not filled[agent]:
            continue
        half_ticks = round((paid if buys else got) * 200)
        above, below = half_ticks // 2 + 1, (half_ticks + 1) // 2 - 1
        inside, outside = (above, below) if buys else (below, above)
        for price, still in ((inside, True), (outside, False)):
            if 0 <= price <= 10_000:
                told = book | {"price": [*book["price"][:i], price / 100, *book["price"][i + 1 :]]}
                now = p2p(t for t in rows(told, MCAFEE, grid=grid) if t[-1] == 2)[agent]
                assert now == filled[agent] * still


# --- UNIFORM's interval


def clears(orders, ticks: int, volume: int) -> bool:
    """Whether at this price `volume` is what buyers want and sellers offer, those who are indifferent filling in."""

    def total(side: bool, better) -> int:
        return sum(o.quantity for o in orders if o.is_buy == side and better(o.price))

    wanted = total(True, lambda p: p > ticks) <= volume <= total(True, lambda p: p >= ticks)
    return wanted and total(False, lambda p: p < ticks) <= volume <= total(False, lambda p: p <= ticks)


@FEW
@given(st.data())
@pytest.mark.parametrize("rule", ALL_TRADE)
def test_the_reported_interval_is_all_the_prices_that_clear_the_book(rule, data):
    book = data.draw(books(partners=False, dso=False))
    result, orders = clear(Orders(**book), rules_of(rule), **TERMS), read(**book)
    volume = round(result.p2p_volume * 1000)
    if not volume:
        assert all(math.isnan(p) for p in result.price_interval)
        return
    low, high = (round(p * 100) for p in result.price_interval)
    assert low <= high
    prices = {o.price for o in orders} | {low, high, low - 1, high + 1, (low + high) // 2}
    assert {p for p in prices if clears(orders, p, volume)} == {p for p in prices if low <= p <= high}
    if rule == "uniform":
        assert set(result.trades.price[result.trades.p2p]) == {sum(result.price_interval) / 2}


@given(st.data(), grids())
def test_with_a_binding_capacity_the_interval_holds_what_all_who_trade_accept(data, grid):
    book = data.draw(books(own_agents=True, partners=False, dso=False))
    result = clear(Orders(**book), rules_of("uniform"), **TERMS, grid=grid)
    limit = dict(zip(book["agent"], book["price"], strict=True))
    low, high = result.price_interval
    trades = result.trades
    for buyer, seller in zip(trades.buyer[trades.p2p], trades.seller[trades.p2p], strict=True):
        assert limit[seller] <= low <= high <= limit[buyer]


@pytest.mark.parametrize(
    ("bids", "asks", "quantity", "capacity", "interval"),
    [
        ([90.0, 70.0], [10.0, 40.0], 1.0, None, (40.0, 70.0)),  # nobody is next
        ([90.0, 70.0, 45.0], [10.0, 40.0, 55.0], 1.0, None, (45.0, 55.0)),  # the next bid and the next ask
        ([90.0, 70.0, 30.0], [10.0, 40.0, 80.0], 1.0, None, (40.0, 70.0)),  # the last ones
        ([90.0, 70.0], [10.0], [1, 1, 2], None, (10.0, 70.0)),
        ([90.0, 70.0], [10.0], [1, 1, 1.5], None, (70.0, 70.0)),  # the next is what is left of the bid of 70
        ([90.0, 50.0], [50.0, 10.0], 1.0, None, (50.0, 50.0)),  # they meet in one point
        ([90.0, 70.0, 60.0], [10.0, 20.0, 30.0], 1.0, 2.0, (20.0, 70.0)),  # 60 and 30 would clear nothing
    ],
)
def test_the_interval_of_books_worked_by_hand(bids, asks, quantity, capacity, interval):
    book = Orders(**book_of(bids, asks, quantity))
    result = clear(book, rules_of("uniform"), **TERMS, grid=ring(capacity))
    assert result.price_interval == interval
    assert result.clearing_price == pytest.approx(sum(interval) / 2)
