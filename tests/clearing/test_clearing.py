"""`clear` against the slow twin, trade by trade, under every rule; and books worked by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market import DSO, NO_PARTNER, GridNetwork, GridTopology, MarketConfig, Orders, clear
from market.constants import MAX_PRICE
from market_support import assert_same
from oracle import clear_book
from strategies import RULES, books, configs, grid_of, grids, tariffs

pytestmark = pytest.mark.usefixtures("screening")

LAST_PRICES = st.one_of(st.none(), st.integers(0, 10_000).map(lambda ticks: ticks / 100))


@given(st.data())
@pytest.mark.parametrize("rule", RULES)
def test_books_without_a_grid_clear_as_the_twin_does(rule, data):
    book, config = data.draw(books(max_size=12)), data.draw(configs((rule,)))
    terms = data.draw(tariffs()) | {"last_price": data.draw(LAST_PRICES)}
    assert_same(clear(Orders(**book), config, **terms), clear_book(book, config, **terms))


@given(st.data())
@pytest.mark.parametrize("rule", RULES)
def test_books_on_a_grid_clear_as_the_twin_does(rule, data):
    book, config = data.draw(books(max_size=12, nodes=data.draw(st.booleans()))), data.draw(configs((rule,)))
    grid, hours = data.draw(grids()), data.draw(st.sampled_from([0.25, 1.0]))
    terms = data.draw(tariffs()) | {"grid": grid, "step_hours": hours}
    assert_same(clear(Orders(**book), config, **terms), clear_book(book, config, **terms), grid, hours)


@given(st.data())
def test_unit_books_clear_as_mcafee_does(data):
    book, config = data.draw(books(unit=True, partners=False)), data.draw(configs(("mcafee",)))
    grid = data.draw(st.none() | grids())
    terms = data.draw(tariffs()) | {"grid": grid}
    assert_same(clear(Orders(**book), config, **terms), clear_book(book, config, **terms), grid)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("seed", range(5))
def test_large_random_books_clear_as_the_twin_does(rule, seed):
    """From seed 3 on each order is an agent of its own; in the last, orders come as they stand, of one reputation."""
    rng = np.random.default_rng(seed)
    size, agents = 300, [300, 60, 60, 300, 300][seed]
    side = rng.random(agents) < 0.5
    agent = rng.permutation(agents) if agents == size else rng.integers(0, agents, size)
    agent = np.arange(size) if seed >= 3 else agent
    partner = np.where(rng.random(size) < 0.4, agent ^ 1, NO_PARTNER)
    book = {
        "price": (rng.integers(0, 400, size) / 4).tolist(),
        "quantity": np.where(rng.random(size) < 0.1, 0, rng.integers(1, 5000, size) / 1000).tolist(),
        "is_buy": side[agent].tolist(),
        "partner": np.where(rng.random(size) < 0.05, DSO, partner).tolist(),
    }
    if seed < 4:
        book |= {"arrival": rng.random(size).round(1).tolist(), "reputation": rng.random(size).round(1).tolist()}
    if seed < 3:
        book["agent"] = agent.tolist()
    ring, feeder = grid_of(GridTopology.RING, 9, 1e5), grid_of(GridTopology.IEEE34, 34, 60.0)
    grid = [None, feeder, ring, feeder, ring][seed]
    config = MarketConfig(0, 100, 0.001, 5, price_mechanism=rule, loss_rate=0.01)
    terms = {"feed_in_tariff": 20.0, "utility_price": 70.0, "grid": grid}
    twin = clear_book(book, config, **terms)
    assert len(twin.stage(1)) > 0
    assert len(twin.stage(2)) > 10
    assert_same(clear(Orders(**book), config, **terms), twin, grid)


BIDS_AND_ASKS = {"price": [50, 40, 30, 10, 20, 45], "quantity": [1] * 6, "is_buy": [True] * 3 + [False] * 3}


def rows(book, rule="average", **terms):
    config = MarketConfig(0, 100, price_mechanism=rule)
    trades = clear(Orders(**book), config, **({"feed_in_tariff": 5, "utility_price": 60} | terms)).trades
    columns = (trades.buyer, trades.seller, trades.price, trades.quantity, trades.stage)
    return [tuple(row) for row in zip(*(c.tolist() for c in columns), strict=True)]


def test_the_best_trade_first_and_the_rest_goes_to_the_dso():
    assert rows(BIDS_AND_ASKS) == [(0, 3, 30, 1, 2), (1, 4, 30, 1, 2), (2, DSO, 60, 1, 3), (DSO, 5, 5, 1, 3)]


def test_partners_come_first_and_the_dso_when_named():
    book = BIDS_AND_ASKS | {"partner": [NO_PARTNER, DSO, 4, NO_PARTNER, 2, 1]}
    assert rows(book) == [(2, 4, 25, 1, 1), (0, 3, 30, 1, 2), (1, DSO, 60, 1, 3), (DSO, 5, 5, 1, 3)]


def test_a_bid_that_had_no_hope_trades_when_partners_have_taken_the_better_one_away():
    """Had 0 and 2 not named each other, the bid of 100 would lie beyond all that could trade."""
    book = {"price": [200, 100, 199, 50], "quantity": [10] * 4, "is_buy": [True, True, False, False]}
    config, tariffs = MarketConfig(0, 200), {"feed_in_tariff": 5, "utility_price": 300}
    alone = clear(Orders(**book), config, **tariffs).trades
    assert next(zip(alone.buyer, alone.seller, alone.stage, strict=True)) == (0, 3, 2)
    paired = clear(Orders(**book, partner=[2, NO_PARTNER, 0, NO_PARTNER]), config, **tariffs).trades
    assert list(zip(paired.buyer, paired.seller, paired.stage, strict=True)) == [(0, 2, 1), (1, 3, 2)]


@pytest.mark.parametrize("partner", [None, [NO_PARTNER] * 4])
def test_books_at_the_highest_price_that_a_key_can_hold(partner):
    book = Orders(price=[MAX_PRICE] * 4, quantity=[1] * 4, is_buy=[True, False] * 2, partner=partner)
    for low in (0.0, 30_000.0, MAX_PRICE - 81, MAX_PRICE):
        result = clear(book, MarketConfig(low, MAX_PRICE), feed_in_tariff=20, utility_price=200)
        assert result.p2p_volume == 2


@pytest.mark.parametrize("rule", RULES)
def test_no_capacity_is_too_large(rule):
    config, tariffs = MarketConfig(0, 100, price_mechanism=rule), {"feed_in_tariff": 5, "utility_price": 60}
    volume = clear(Orders(**BIDS_AND_ASKS), config, **tariffs).p2p_volume
    for capacity in (9.3e15, 1e20, 1e300):
        grid = GridNetwork(GridTopology.RING, 6, capacity)
        assert clear(Orders(**BIDS_AND_ASKS), config, grid=grid, **tariffs).p2p_volume == volume


@pytest.mark.parametrize("given", [{"orders": BIDS_AND_ASKS}, {"config": {}}, {"grid": "mesh"}], ids=str)
def test_what_is_cleared_is_of_its_type(given):
    usual = {"orders": Orders(**BIDS_AND_ASKS), "config": MarketConfig(0, 100)}
    (field,) = given
    with pytest.raises(ValueError, match=rf"\A{field}: got [^\n]*; allowed: [^\n]*\Z"):
        clear(**usual | given, feed_in_tariff=5, utility_price=60)


def test_a_partner_who_does_not_answer_is_no_partner():
    assert rows(BIDS_AND_ASKS | {"partner": [4, 5, 99, 2, NO_PARTNER, NO_PARTNER]}) == rows(BIDS_AND_ASKS)


def test_an_unknown_partner_is_not_taken_for_somebody_else():
    """Agent 0 names 5, who is not there; 7, the next id, names 0: they meet in the book, behind better orders."""
    book = {"price": [50, 60, 10, 5], "quantity": [1] * 4, "is_buy": [True, True, False, False]}
    book |= {"agent": [0, 1, 7, 9], "partner": [5, NO_PARTNER, 0, NO_PARTNER]}
    assert [row[:2] + row[-1:] for row in rows(book)] == [(1, 9, 2), (0, 7, 2)]


def test_capacity_serves_the_best_pair_of_partners_first_and_the_last_in_part():
    grid = GridNetwork(GridTopology.LINE, 6, 1.5).to_grid()
    book = BIDS_AND_ASKS | {"partner": [NO_PARTNER, 4, 3, 2, 1, NO_PARTNER]}
    first_two = [(1, 4, 30, 1, 1), (2, 3, 20, 0.5, 1)]  # both have a surplus of 20; the better bid goes first
    assert rows(book, grid=grid)[:2] == first_two
    assert [row[-1] for row in rows(book, grid=grid)] == [1, 1, 3, 3, 3, 3]


def test_ties_go_by_reputation_then_arrival_and_never_by_id():
    book = {"price": [50, 50, 50, 10], "quantity": [1, 1, 1, 1.5], "is_buy": [True] * 3 + [False]}
    book["agent"] = [7, 3, 1, 0]
    assert [row[0] for row in rows(book)][:2] == [7, 3]
    assert [row[0] for row in rows(book | {"arrival": [2, 1, 1, 0]})][:2] == [3, 1]
    assert [row[0] for row in rows(book | {"reputation": [0.1, 0.2, 0.3, 0]})][:2] == [1, 3]


def test_one_unit_partly_used_narrows_the_uniform_interval():
    book = {"price": [50, 30, 10, 20], "quantity": [2, 1, 1, 3], "is_buy": [True, True, False, False]}
    config = MarketConfig(0, 100, price_mechanism="uniform")
    result = clear(Orders(**book), config, feed_in_tariff=5, utility_price=60)
    assert result.price_interval == (20, 20)  # the ask of 20 has a unit left, and it is the last that trades
    assert result.p2p_volume == 3


def test_mcafee_drops_the_marginal_pair_when_the_middle_does_not_fit():
    book = {"price": [90, 50, 20, 10, 45, 95], "quantity": [1] * 6, "is_buy": [True] * 3 + [False] * 3}
    config = MarketConfig(0, 100, price_mechanism="mcafee")
    result = clear(Orders(**book), config, feed_in_tariff=5, utility_price=60)
    assert rows(book, "mcafee")[0] == (0, 3, 50, 1, 2)  # (20 + 95) / 2 = 57.5 is above the bid of 50
    assert result.trades.seller_price[0] == 45
    assert result.budget_surplus == pytest.approx(0.005, rel=1e-12)


def test_the_multi_unit_reduction_cuts_the_longer_side_by_equal_shares():
    book = {"price": [90, 80, 70, 10, 20, 30], "quantity": [1, 3, 2, 1, 1.5, 9], "is_buy": [True] * 3 + [False] * 3}
    # The last to trade are the bid of 70 and the ask of 30. Before them: 4 kWh wanted, 2.5 offered: 0.75 off each bid.
    assert rows(book, "mcafee")[:3] == [(0, 3, 70, 0.25, 2), (1, 3, 70, 0.75, 2), (1, 4, 70, 1.5, 2)]


def test_an_empty_book_and_a_book_of_nothing():
    nothing = Orders([], [], [])
    result = clear(nothing, MarketConfig(), feed_in_tariff=50, utility_price=100)
    assert len(result.trades) == 0
    assert math.isnan(result.clearing_price)
    assert (result.p2p_volume, result.social_welfare, result.budget_surplus) == (0, 0, 0)
    assert rows({"price": [0, 0], "quantity": [0, 0], "is_buy": [True, False]}) == []


@settings(max_examples=20)
@given(books(max_size=8), tariffs())
def test_clearing_changes_no_input_and_repeats_itself(book, tariff):
    orders, config = Orders(**book), MarketConfig(0, 100, 0.001, 5)
    before = {name: None if value is None else value.copy() for name, value in vars(orders).items()}
    one, two = clear(orders, config, **tariff), clear(orders, config, **tariff)
    for name, value in before.items():
        np.testing.assert_array_equal(getattr(orders, name), value)
    for name, value in vars(one.trades).items():
        np.testing.assert_array_equal(getattr(two.trades, name), value)


@pytest.mark.parametrize(
    ("change", "field", "value", "allowed"),
    [
        ({"feed_in_tariff": 60.5}, "feed_in_tariff", "60.5", "0 to 60"),
        ({"feed_in_tariff": -1.0}, "feed_in_tariff", "-1.0", "0 to 60"),
        ({"feed_in_tariff": math.nan}, "feed_in_tariff", "nan", "0 to 60"),
        ({"utility_price": math.inf}, "utility_price", "inf", "0 to 83886"),
        ({"last_price": -3.0}, "last_price", "-3.0", "0 to 83886"),
        ({"step_hours": 0.0}, "step_hours", "0.0", "24"),
        ({"node": [0, 0, 0, 0, 0, 6]}, "node", "6", "0 to 5"),
    ],
)
def test_bad_terms_are_refused(change, field, value, allowed):
    book = BIDS_AND_ASKS | {"node": change.get("node", [0] * 6)}
    terms = {name: value for name, value in change.items() if name != "node"}
    with pytest.raises(ValueError, match=field) as error:
        rows(book, grid=grid_of(GridTopology.RING, 6, 10.0), **terms)
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(f"{field}: got ")
    assert value in message.split("; allowed: ", maxsplit=1)[0]
    assert allowed in message.split("; allowed: ")[1]
