"""Orders, trades and settings at the edge: conversion to ticks, and what is refused and how."""

from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import oracle_auctions
from market import MarketConfig, Orders, clear
from market.clearing.orders import capacity_ticks, energy_ticks, price_ticks

NAN, INF = math.nan, math.inf


@given(st.integers(0, 2**23 - 2))
def test_price_ticks_survive_the_round_trip(ticks):
    written = np.array([ticks / 100, ticks * 0.01, float(f"{ticks / 100:.2f}")])
    assert price_ticks(written).tolist() == [ticks] * 3


@given(st.integers(0, 2 * 10**9))
def test_energy_ticks_survive_the_round_trip(ticks):
    written = np.array([ticks / 1000, ticks * 0.001, float(f"{ticks / 1000:.3f}")])
    assert energy_ticks(written).tolist() == [ticks] * 3


@given(st.floats(0, 80_000))
def test_floats_go_to_the_nearest_tick(value):
    for to_ticks, tick in ((price_ticks, 0.01), (energy_ticks, 0.001)):
        ticks = int(to_ticks(np.array([value]))[0])
        assert ticks == oracle_auctions.to_ticks(value, tick)
        assert abs(ticks * tick - value) <= tick / 2 * (1 + 1e-9) + 1e-9


@given(st.integers(0, 10**9), st.sampled_from([0.1, 0.25, 0.3, 0.5, 1.0, 2.0]))
def test_capacity_never_loses_a_tick_to_rounding(ticks, hours):
    assert capacity_ticks(ticks / 1000 / hours, hours) == ticks


def test_capacity_is_rounded_down():
    assert capacity_ticks(0.0019, 1.0) == 1
    assert capacity_ticks(0.0019, 0.5) == 0


def test_sub_tick_prices_meet_on_the_same_tick():
    orders = Orders(price=[10.004, 9.996], quantity=[1.0, 1.0], is_buy=[True, False])
    assert clear(orders, MarketConfig(0, 100), feed_in_tariff=1, utility_price=50).trades.price.tolist() == [10.0]


def test_columns_become_arrays_with_fixed_types():
    orders = Orders(price=[1, 2], quantity=(3, 4), is_buy=[1, 0], agent=[7.0, 8.0], node=[0, 1], partner=[8, -2])
    assert orders.price.dtype == orders.quantity.dtype == np.float64
    assert orders.is_buy.dtype == np.bool_
    assert orders.agent.dtype == orders.partner.dtype == orders.node.dtype == np.int64
    assert len(orders) == 2
    assert Orders([1, 2], [1, 1], [True, False]).agents.tolist() == [0, 1]


def pickled(orders: Orders) -> Orders:
    return pickle.loads(pickle.dumps(orders))


@pytest.mark.parametrize(
    "remade", [lambda o: o, copy.copy, copy.deepcopy, pickled], ids=["made", "copy", "deep", "pickle"]
)
def test_a_book_is_read_only(remade):
    """A number that is not one, written after the check, would be cleared as some integer."""
    given = {"price": np.array([50.0, 60.0]), "quantity": np.array([1.0, 2.0]), "is_buy": np.array([True, False])}
    orders = remade(Orders(**given, agent=[3, 4], arrival=[1, 0], reputation=[0, 1], partner=[4, -2], node=[0, 1]))
    for column in vars(orders).values():
        with pytest.raises(ValueError, match="read-only"):
            column[0] = 0
    assert all(column.flags.writeable for column in given.values())
    before = clear(orders, MarketConfig(), feed_in_tariff=50, utility_price=100)
    given["quantity"][0] = NAN  # the book holds copies
    assert clear(orders, MarketConfig(), feed_in_tariff=50, utility_price=100).p2p_volume == before.p2p_volume
    with pytest.raises(AttributeError):
        before.p2p_volume = 0.0


@pytest.mark.parametrize("field", ["price", "quantity"])
def test_what_is_not_a_number_is_outside_all_limits(field):
    orders = Orders([50.0, 60.0], [1.0, 2.0], [True, False])
    vars(orders)[field] = np.array([50.0, NAN])  # past all doors
    with pytest.raises(ValueError, match=rf"^{field}: got nan at 1; allowed: "):
        clear(orders, MarketConfig(), feed_in_tariff=50, utility_price=100)


def test_trades_as_a_table():
    orders = Orders(price=[30, 10], quantity=[2, 1], is_buy=[True, False], agent=[4, 9])
    frame = clear(orders, MarketConfig(0, 100), feed_in_tariff=2, utility_price=40).trades.to_frame()
    assert list(frame.columns) == ["buyer", "seller", "price", "quantity", "stage", "distance", "loss", "fee"]
    assert frame.values.tolist() == [[4, 9, 20, 1, 2, 0, 0, 0], [4, -1, 40, 1, 3, 0, 0, 0]]


def one_line(error: pytest.ExceptionInfo, field: str, *parts: str) -> None:
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(f"{field}: got "), message
    assert "; allowed: " in message
    for part in parts:
        assert part in message


GOOD = {"price": [50.0, 60.0], "quantity": [1.0, 2.0], "is_buy": [True, False]}
BAD_ORDERS = [
    ({"price": [NAN, 60.0]}, "price", "nan", ">= 0"),
    ({"price": [50.0, INF]}, "price", "inf", ">= 0"),
    ({"price": [50.0, -0.01]}, "price", "-0.01", ">= 0"),
    ({"price": [[50.0, 60.0]]}, "price", "shape [1, 2]", "[orders]"),
    ({"price": ["cheap", 60.0]}, "price", "cheap", "numbers"),
    ({"quantity": [1.0, NAN]}, "quantity", "nan", ">= 0"),
    ({"quantity": [-1.0, 1.0]}, "quantity", "-1.0", ">= 0"),
    ({"quantity": [1.0]}, "quantity", "shape [1]", "[2]"),
    ({"is_buy": [True]}, "is_buy", "shape [1]", "[2]"),
    ({"is_buy": [1, -1]}, "is_buy", "-1", "allowed"),
    ({"is_buy": [2, 0]}, "is_buy", "2", "allowed"),
    ({"is_buy": ["buy", "sell"]}, "is_buy", "buy", "allowed"),
    ({"agent": [0]}, "agent", "shape [1]", "[2]"),
    ({"agent": [-1, 1]}, "agent", "-1", ">= 0"),
    ({"agent": [0.5, 1]}, "agent", "0.5", "whole numbers"),
    ({"agent": [NAN, 1]}, "agent", "nan", "whole numbers"),
    ({"agent": [1e30, 1]}, "agent", "1e+30", "whole numbers"),
    ({"agent": [3, 3]}, "is_buy", "agent 3", "one side"),
    ({"agent": [10**9, 10**9]}, "is_buy", "agent 1000000000", "one side"),
    ({"arrival": [NAN, 0.0]}, "arrival", "nan", "finite"),
    ({"arrival": [0.0, 1.0, 2.0]}, "arrival", "shape [3]", "[2]"),
    ({"price": None}, "price", "None", "finite numbers"),
    ({"is_buy": None}, "is_buy", "None", "True or False"),
    ({"price": ["50", "60"]}, "price", "'50'", "finite numbers"),
    ({"price": np.array([50, 60], "m8[s]")}, "price", "timedelta64", "finite numbers"),
    ({"quantity": np.array([1 + 1j, 2])}, "quantity", "1.+1.j", "finite numbers"),
    ({"quantity": np.ma.masked_array([1.0, 2.0], [0, 1])}, "quantity", "masked_array", "finite numbers"),
    ({"agent": [2**70, 1]}, "agent", "1180591620717411303424", "whole numbers"),
    ({"node": [True, False]}, "node", "True", "whole numbers"),
    ({"reputation": [0.5, 1.5]}, "reputation", "1.5", "0 to 1"),
    ({"reputation": [-0.1, 0.5]}, "reputation", "-0.1", "0 to 1"),
    ({"reputation": [NAN, 0.5]}, "reputation", "nan", "0 to 1"),
    ({"partner": [0, -2]}, "partner", "0", "another agent"),
    ({"partner": [-3, -2]}, "partner", "-3", "-2"),
    ({"partner": [7, -2], "agent": [7, 8]}, "partner", "7", "another agent"),
    ({"node": [-1, 0]}, "node", "-1", ">= 0"),
    ({"node": [0.5, 0]}, "node", "0.5", "whole numbers"),
]


@pytest.mark.parametrize(("change", "field", "value", "allowed"), BAD_ORDERS, ids=lambda x: str(x)[:30])
def test_bad_orders_are_refused(change, field, value, allowed):
    with pytest.raises(ValueError, match=field) as error:
        Orders(**(GOOD | change))
    one_line(error, field, value, allowed)


@pytest.mark.parametrize(
    ("change", "field", "value", "allowed"),
    [
        ({"price": [39.0, 60.0]}, "price", "39.0", "40 to 240"),
        ({"price": [50.0, 241.0]}, "price", "241.0", "40 to 240"),
        ({"quantity": [0.05, 1.0]}, "quantity", "0.05", "0.1 to 200"),
        ({"quantity": [1.0, 200.01]}, "quantity", "200.01", "0.1 to 200"),
    ],
)
def test_orders_outside_the_limits_are_refused(change, field, value, allowed):
    with pytest.raises(ValueError, match=field) as error:
        clear(Orders(**(GOOD | change)), MarketConfig(), feed_in_tariff=50, utility_price=100)
    one_line(error, field, value, allowed)


@pytest.mark.parametrize(
    ("change", "field", "value", "allowed"),
    [
        ({"min_price": NAN}, "min_price", "nan", "0"),
        ({"min_price": -1.0}, "min_price", "-1", "0"),
        ({"max_price": INF}, "max_price", "inf", "0"),
        ({"max_price": 1e9}, "max_price", "1000000000", "83886"),
        ({"min_price": 90.0, "max_price": 80.0}, "min_price", "90", "80"),
        ({"min_quantity": -0.1}, "min_quantity", "-0.1", "0"),
        ({"min_quantity": 3.0, "max_quantity": 2.0}, "min_quantity", "3", "2"),
        ({"price_mechanism": "averge"}, "price_mechanism", "averge", "did you mean 'average'"),
        ({"price_mechanism": 3}, "price_mechanism", "3", "mcafee"),
        ({"spread_share": 1.01}, "spread_share", "1.01", "0 to 1"),
        ({"max_fee": -0.1}, "max_fee", "-0.1", "0 to 1"),
        ({"congestion_fee": "much"}, "congestion_fee", "much", "0 to 1"),
        ({"distance_fee": True}, "distance_fee", "True", "0 to 1"),
        ({"zone_discount": 2}, "zone_discount", "2", "0 to 1"),
        ({"loss_rate": -0.001}, "loss_rate", "-0.001", "0 to"),
        ({"blockchain_difficulty": 1.5}, "blockchain_difficulty", "1.5", "0"),
        ({"blockchain_difficulty": -1}, "blockchain_difficulty", "-1", "0"),
        ({"visualize_blockchain": True}, "visualize_blockchain", "True", "False"),
    ],
)
def test_bad_settings_are_refused(change, field, value, allowed):
    with pytest.raises(ValueError, match=field) as error:
        MarketConfig(**change)
    one_line(error, field, value, allowed)


@pytest.mark.parametrize("name", ["uniform", "UNIFORM", "Uniform"])
def test_mechanisms_are_known_by_name_in_any_case(name):
    assert MarketConfig(price_mechanism=name).price_mechanism == "uniform"
