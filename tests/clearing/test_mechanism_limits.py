"""What `test_mechanisms` does not promise: quantities, several orders, named partners, limits beyond the tariffs."""

from __future__ import annotations

import pytest

from market import MarketConfig
from market_support import TERMS, best_lies, book_of, gain, rows, rules_of
from strategies import RULES

PAIR = book_of([90.0], [30.0])
RIVALS = book_of([90.0, 50.0], [10.0, 20.0])


def mcafee_gain(book, agent, value):
    return gain(rows(book, rules_of("mcafee")), agent, value)


def test_a_partner_pays_the_midpoint_so_a_lie_pays():
    honest = PAIR | {"partner": [1, 0]}
    assert mcafee_gain(honest | {"price": [31.0, 30.0]}, 0, 90.0) > mcafee_gain(honest, 0, 90.0) + 1000


def test_a_false_quantity_may_pay():
    """A seller who offers half of what it has makes a dearer ask the last, as Huang et al. (2002) allow for."""
    honest, held_back = (book_of([100.0, 90.0, 30.0], [18.0, 20.0, 40.0], [2, 2, 5, q, 2, 5]) for q in (3.0, 1.5))
    assert mcafee_gain(honest, 3, 18.0) == pytest.approx(3000 * (20 - 18))
    assert mcafee_gain(held_back, 3, 18.0) == pytest.approx(750 * (40 - 18))


def test_with_several_orders_one_sets_the_price_of_the_other():
    book = book_of([90.0, 70.0], [10.0, 20.0], [1, 1, 1, 5]) | {"agent": [0, 0, 1, 2]}
    lie = book | {"price": [90.0, 21.0, 10.0, 20.0]}
    assert mcafee_gain(lie, 0, 90.0) > mcafee_gain(book, 0, 90.0) + 1000


def test_the_dso_is_the_outside_option():
    """Whoever must trade, with the DSO if not with a peer, has a tariff as its value, whatever the energy is worth."""
    levels = [0.0, 20.0, 45.0, 70.0, 100.0]
    for sides in ((2, 2), (1, 2), (2, 1), (3, 2)):
        lies = best_lies(levels, sides, rules_of("mcafee"), stages=(1, 2, 3), **TERMS)
        assert lies[0, levels.index(TERMS["utility_price"])] == 0
        assert lies[1, levels.index(TERMS["feed_in_tariff"])] == 0
    assert (lies[0] > 0).sum() == (lies[1] > 0).sum() == 4  # telling any other number is worse in some book


@pytest.mark.parametrize(("share", "same"), [(0.0, "seller"), (1.0, "buyer")])
def test_the_ends_of_the_spread_are_the_one_sided_rules(share, same):
    assert rows(RIVALS, MarketConfig(0, 100, price_mechanism="bid_ask_spread", spread_share=share)) == rows(
        RIVALS, MarketConfig(0, 100, price_mechanism=same)
    )


@pytest.mark.parametrize("quantity", [1.0, [1, 2, 1, 1, 2, 1]], ids=["equal", "other"])
@pytest.mark.parametrize("rule", [r for r in RULES if r != "nash_bargaining"])
def test_limits_beyond_the_tariffs_are_taken_at_their_word(rule, quantity):
    """A buyer who bids above the utility price may pay more to a peer than to the DSO."""
    book = book_of([100.0, 99.0, 98.0], [90.0, 91.0, 92.0], quantity)
    paid = [t[2] for t in rows(book, rules_of(rule)) if t[-1] == 2]
    assert paid
    assert min(paid) > TERMS["utility_price"]
