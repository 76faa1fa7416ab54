"""The textbook baseline clears as the market does, so that timing the two against each other is fair."""

from __future__ import annotations

import numpy as np
import pytest

from benches.cases import CASES
from benches.measure.records import record_of
from benches.measure.stopwatch import Stopwatch
from benches.workloads import feeders, inputs, naive
from market import MarketConfig, Orders, clear
from market.clearing.pricing import RULES


def book(seed, size):
    rng = np.random.default_rng(seed)
    price, quantity = np.round(rng.uniform(40, 240, size), 2), np.round(rng.uniform(0.1, 200, size), 3)
    return Orders(price, quantity, rng.random(size) < 0.5)


@pytest.mark.parametrize("size", [0, 1, 2, 50, 400])
def test_textbook_clears_as_the_market_does(size):
    for seed in range(5):
        orders = book(seed, size)
        ours = clear(orders, MarketConfig(), feed_in_tariff=60.0, utility_price=200.0).trades
        theirs = [deal for deal in naive.textbook(orders, 60.0, 200.0) if deal.quantity > 1e-9]  # floats leave crumbs
        assert [(d.buyer, d.seller) for d in theirs] == list(zip(ours.buyer, ours.seller, strict=True))
        np.testing.assert_allclose([d.price for d in theirs], ours.price, rtol=1e-12)
        np.testing.assert_allclose([d.quantity for d in theirs], ours.quantity, rtol=1e-6)


def test_textbook_flow_is_the_power_flow():
    prepared = feeders.injections({"snapshots": 7})
    feeder, fed = prepared[3].args
    sent, voltage = naive.textbook_flow(feeder, fed)
    fast = prepared[3]()
    np.testing.assert_allclose(voltage, fast.voltage, rtol=1e-12)
    below = feeder.line >= 0
    lines = np.array(sent)[:, below] * feeder.sign[below]
    np.testing.assert_allclose(lines, fast.flow[:, feeder.line[below]], rtol=1e-9, atol=1e-9)
    assert np.ptp(voltage) > 1e-3


def test_books_on_the_feeder_pass_all_three_stages():
    """The goal for clearing on a feeder is about all of them, and about fees."""
    prepared = feeders.books_on_feeder({"orders": 2_000})
    trades = inputs.cleared(prepared, prepared.config, 0).trades
    share = np.bincount(trades.stage, minlength=4) / len(trades)
    assert (share[1:] > 0.01).all()
    assert (trades.fee > 0).any()
    assert (trades.loss > 0).any()


def test_every_mechanism_is_benchmarked_under_its_own_rule():
    points = CASES["clear/rule"].points("quick")
    assert {point.params["rule"] for point in points} == set(RULES)
    for rule in RULES:
        prepared = inputs.books_by_rule({"rule": rule, "orders": 10})
        assert prepared.config.price_mechanism == rule


def test_the_bare_sort_sorts_the_keys_that_clearing_sorts():
    orders = book(0, 300)
    keys = naive.sort_keys(orders)
    bids = int((keys < 2**63).sum())
    order = np.sort(keys) & np.uint64(2**24 - 1)
    assert bids == orders.is_buy.sum()
    assert (np.diff(orders.price[order[:bids].astype(int)]) <= 0).all()
    assert (np.diff(orders.price[order[bids:].astype(int)]) >= 0).all()


def test_references_are_timed_round_by_round_and_recorded():
    (point,) = [point for point in CASES["clear/trades"].points("quick") if point.size == 100]
    with Stopwatch(point) as watch:
        watch.warm_up()
        for _ in range(4):
            watch.round()
    record = record_of(point, watch.seen, status="ok", error=None, profile="quick")
    assert record.references.keys() == record.ratios.keys() == {"sort", "naive"}
    assert 3 <= len(record.references["sort"]) <= 4
    assert all(ratio > 0 for ratio in record.ratios.values())
