"""A book that is built up, changed and taken down order by order; after each step it clears as the slow twin does."""

from __future__ import annotations

import math

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from market import Orders, clear
from market_support import assert_same, bills, p2p, rows, rules_of
from oracle import clear_book
from strategies import ALL_TRADE, RULES, grids, tariffs

AGENTS = range(6)  # the even ones buy, the odd ones sell
PRICES = st.sampled_from([0.0, 19.99, 20.0, 45.0, 45.01, 70.0, 100.0])
SIZES = st.sampled_from([0.001, 0.333, 1.0, 2.0, 5.0])
NOBODY = -2
ORDERS = st.builds(
    lambda agent, price, quantity, reputation, arrival: {
        "price": price,
        "quantity": quantity,
        "is_buy": agent % 2 == 0,
        "agent": agent,
        "arrival": arrival,
        "reputation": reputation,
        "partner": NOBODY,
    },
    st.sampled_from(AGENTS),
    PRICES,
    SIZES,
    st.sampled_from([0.0, 0.5, 0.9]),
    st.sampled_from([0.0, 1.0, 2.0]),
)


class BookMachine(RuleBasedStateMachine):
    """Each rule changes the book once and says what that must not do; the invariants hold after every step."""

    @initialize(
        mechanism=st.sampled_from(RULES),
        grid=st.none() | grids(),
        tariff=tariffs(),
        orders=st.lists(ORDERS, max_size=8),
    )
    def open_market(self, mechanism, grid, tariff, orders):
        self.config = rules_of(mechanism, loss_rate=0.05)
        self.grid, self.terms = grid, tariff | {"grid": grid, "last_price": 50.0}
        self.orders = [dict(order) for order in orders]
        self.volume, self.welfare, self.filled = 0, 0.0, p2p([])
        self.update()

    # --- the book

    @property
    def book(self) -> dict:
        names = ("price", "quantity", "is_buy", "agent", "arrival", "reputation", "partner")
        return {name: [o[name] for o in self.orders] for name in names}

    @property
    def plain(self) -> bool:
        """Nobody names anybody, and all that can trade does: then welfare and volume follow the book."""
        return self.config.price_mechanism in ALL_TRADE and all(o["partner"] == NOBODY for o in self.orders)

    def update(self):
        """Clear the book as it is now; returns (Wh traded, welfare, Wh by agent) before the change."""
        before = self.volume, self.welfare, self.filled
        self.result = clear(Orders(**self.book), self.config, **self.terms)
        self.trades = rows(self.book, self.config, **self.terms)
        self.filled, self.welfare = p2p(self.trades), self.result.social_welfare
        self.volume = sum(self.filled.values()) // 2
        return before

    def pick(self, data) -> dict:
        return self.orders[data.draw(st.integers(0, len(self.orders) - 1), label="order")]

    # --- what traders do

    @rule(order=ORDERS)
    def place(self, order):
        self.orders.append(dict(order))
        volume, welfare, _ = self.update()
        if self.plain:
            assert self.volume >= volume
            assert self.welfare >= welfare - 1e-12

    @precondition(lambda self: self.orders)
    @rule(data=st.data())
    def withdraw(self, data):
        self.orders.remove(self.pick(data))
        volume, welfare, _ = self.update()
        if self.plain:
            assert self.volume <= volume
            assert self.welfare <= welfare + 1e-12

    @precondition(lambda self: self.orders)
    @rule(data=st.data(), price=PRICES)
    def change_the_price(self, data, price):
        order = self.pick(data)
        better = (price - order["price"]) * (1 if order["is_buy"] else -1)
        order["price"] = price
        _, _, filled = self.update()
        if self.plain and better >= 0:
            assert self.filled[order["agent"]] >= filled[order["agent"]]
        if self.plain and better <= 0:
            assert self.filled[order["agent"]] <= filled[order["agent"]]

    @precondition(lambda self: self.orders)
    @rule(data=st.data(), partner=st.sampled_from([*AGENTS, -1, NOBODY]))
    def name_a_partner(self, data, partner):
        order = self.pick(data)
        order["partner"] = NOBODY if partner == order["agent"] else partner
        self.update()
        if partner == -1 and sum(o["agent"] == order["agent"] for o in self.orders) == 1:
            assert self.filled[order["agent"]] == 0

    @precondition(lambda self: self.orders)
    @rule(data=st.data(), quantity=SIZES)
    def change_the_quantity(self, data, quantity):
        self.pick(data)["quantity"] = quantity
        self.update()

    @rule()
    def nobody_names_anybody(self):
        for order in self.orders:
            order["partner"] = NOBODY
        self.update()

    @rule(mechanism=st.sampled_from(RULES))
    def price_by_another_rule(self, mechanism):
        reduces = "mcafee" in (mechanism, self.config.price_mechanism)
        self.config = rules_of(mechanism, loss_rate=0.05)
        volume, welfare, filled = self.update()
        if not reduces:
            assert (self.volume, self.welfare, self.filled) == (volume, welfare, filled)

    # --- what holds whatever they do

    @invariant()
    def clears_as_the_twin_does(self):
        assert_same(self.result, clear_book(self.book, self.config, **self.terms), self.grid)

    @invariant()
    def energy_and_money_balance(self):
        assert self.volume == round(self.result.p2p_volume * 1000)
        for agent, wh in self.filled.items():
            assert wh <= sum(round(o["quantity"] * 1000) for o in self.orders if o["agent"] == agent)
        assert math.isclose(sum(bills(self.trades).values()) / 1e6, self.result.budget_surplus, abs_tol=1e-9)
        assert self.result.budget_surplus >= -1e-12

    @invariant()
    def capacity_holds(self):
        assert self.grid is None or self.volume <= round(self.grid.capacity * 1000)


BookMachine.TestCase.settings = settings(stateful_step_count=25, max_examples=settings.default.max_examples)
TestBookMachine = BookMachine.TestCase
