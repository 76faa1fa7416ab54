"""The eight pricing rules: each against the twin, all within bid and ask, no two the same."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market import ClearingMechanism, MarketConfig, Orders, clear
from market.clearing.pricing import RULES as REGISTRY
from market.clearing.pricing import Pairs
from oracle import TWINS, pair_price
from oracle_auctions import exact
from strategies import PAIRWISE, RULES, tariffs

TICKS = st.integers(0, 10_000)


def test_every_mechanism_has_a_rule():
    assert list(REGISTRY) == list(ClearingMechanism), "pricing.py: a name in ClearingMechanism, and a row in RULES"
    assert [m for m, rule in REGISTRY.items() if rule.reduces_trade] == [ClearingMechanism.MCAFEE]


@given(
    st.lists(st.tuples(TICKS, TICKS, st.booleans()), min_size=1, max_size=6),
    tariffs(),
    TICKS,
    st.sampled_from([0.0, 0.25, 1 / 3, 1.0]),
)
@pytest.mark.parametrize("rule", RULES)
def test_rules_price_as_the_twin_does_and_within_bid_and_ask(rule, limits, tariff, last, share):
    bid = np.array([max(a, b) / 100 for a, b, _ in limits])
    ask = np.array([min(a, b) / 100 for a, b, _ in limits])
    low, high, last = tariff["feed_in_tariff"], tariff["utility_price"], last / 100
    pairs = Pairs(
        bid=bid,
        ask=ask,
        market=np.zeros(len(limits), np.int64),
        book=np.array([book and rule in PAIRWISE for *_, book in limits]),
        spread_share=share,
        feed_in_tariff=np.array([low]),
        utility_price=np.array([high]),
        last_price=np.array([last]),
        lower=np.array([np.nan]),
        upper=np.array([np.nan]),
    )
    price = REGISTRY[rule].price(pairs)
    terms = {"k": share, "low": exact(low), "high": exact(high), "last": exact(last)}
    twin = [float(pair_price(str(rule), exact(b), exact(a), **terms)) for b, a in zip(bid, ask, strict=True)]
    np.testing.assert_allclose(price, twin, rtol=1e-12, atol=1e-12)
    assert (ask <= price).all()
    assert (price <= bid).all()


def test_the_spread_is_split_in_half_by_default():
    assert MarketConfig().spread_share == 0.5


def test_auctions_use_one_price_for_the_book_and_midpoints_for_partners():
    pairs = Pairs(
        bid=np.array([50.0, 50.0]),
        ask=np.array([10.0, 10.0]),
        market=np.zeros(2, np.int64),
        book=np.array([True, False]),
        spread_share=0.5,
        feed_in_tariff=np.array([2.0]),
        utility_price=np.array([60.0]),
        last_price=np.array([20.0]),
        lower=np.array([22.0]),
        upper=np.array([26.0]),
    )
    assert REGISTRY[ClearingMechanism.UNIFORM].price(pairs).tolist() == [24.0, 30.0]
    assert REGISTRY[ClearingMechanism.MCAFEE].price(pairs).tolist() == [26.0, 30.0]
    assert REGISTRY[ClearingMechanism.MCAFEE].seller_price(pairs).tolist() == [22.0, 30.0]


# Bids 90, 70 and asks 10, 40 of 1 kWh; tariffs 20 and 80; last price 60. Worked by hand from market/docs/mechanisms.md.
WITNESS = {
    "average": [50.0, 55.0],
    "buyer": [90.0, 70.0],
    "seller": [10.0, 40.0],
    "bid_ask_spread": [30.0, 47.5],  # k = 0.25
    "nash_bargaining": [50.0, 55.0],
    "proportional_surplus": [60.0, 60.0],  # 10 + 50/80 x 80; 40 + 20/30 x 30
    "uniform": [55.0, 55.0],  # [max(40, -inf), min(70, +inf)]
    "mcafee": [50.0, 50.0],  # no third pair: (0 + 100) / 2 lies within [40, 70]
}


def witness(rule: str, bids=(90.0, 70.0), asks=(10.0, 40.0), tariff=(20.0, 80.0), last=60.0):
    size = len(bids) + len(asks)
    orders = Orders([*bids, *asks], [1.0] * size, [True] * len(bids) + [False] * len(asks))
    config = MarketConfig(0, 100, price_mechanism=rule, spread_share=0.25)
    result = clear(orders, config, feed_in_tariff=tariff[0], utility_price=tariff[1], last_price=last)
    trades = result.trades
    return trades.price[trades.p2p].tolist(), trades.seller_price[trades.p2p].tolist()


def test_every_rule_has_a_twin_and_a_book_worked_by_hand():
    for rule in RULES:
        assert rule in TWINS, f"{rule}: write its slow twin in tests/oracles/oracle.py, and a row in TWINS"
        assert rule in WITNESS, f"{rule}: work its prices out by hand, and give them a row in WITNESS"


@pytest.mark.parametrize("rule", RULES)
def test_prices_of_a_book_worked_by_hand(rule):
    paid, received = witness(rule)
    assert paid == pytest.approx(WITNESS[rule], rel=1e-12)
    assert received == paid


def test_no_two_rules_agree_on_the_witnesses():
    books = [
        {},
        {"tariff": (30.0, 60.0)},  # the outside option binds: NASH leaves the average
        {"bids": (90.0, 70.0, 45.0), "asks": (10.0, 40.0, 55.0)},  # a third pair that does not trade
        {"bids": (90.0, 42.0), "asks": (10.0, 40.0)},  # the middle is too high: McAfee drops a pair
    ]
    prices = {rule: [witness(rule, **book) for book in books] for rule in RULES}
    same = [(a.value, b.value) for a, b in combinations(RULES, 2) if prices[a] == prices[b]]
    assert same == []


def test_half_a_spread_is_the_average():
    orders = Orders([90.0, 13.37], [1.0, 1.0], [True, False])
    for rule in ("average", "bid_ask_spread"):
        config = MarketConfig(0, 100, price_mechanism=rule, spread_share=0.5)
        assert clear(orders, config, feed_in_tariff=0, utility_price=9).trades.price[0] == pytest.approx(51.685)


@given(tariffs(), TICKS, TICKS)
def test_bargaining_leaves_nobody_worse_off_than_with_the_dso(tariff, one, other):
    bid, ask = max(one, other) / 100, min(one, other) / 100
    orders = Orders([bid, ask], [1.0, 1.0], [True, False])
    price = clear(orders, MarketConfig(0, 100, price_mechanism="nash_bargaining"), **tariff).trades.price[0]
    if max(ask, tariff["feed_in_tariff"]) <= min(bid, tariff["utility_price"]):
        assert tariff["feed_in_tariff"] <= price <= tariff["utility_price"]
    assert ask <= price <= bid
