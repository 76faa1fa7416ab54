"""MCAFEE's multi-unit reduction against an independent one: the Huang auction of PyMarket 0.7.6, from PyPI.

PyMarket needs an environment of its own, .venv-pymarket, which `make test-all` builds (`make .venv-pymarket/.ready`
alone); `differential/pymarket_huang.py` runs there once for all books. What the two do differently on purpose:

- PyMarket merges orders of one side and price into one, shares its fill out in proportion to their quantities, and
  leaves out all of them when that price is the last to trade. We rank them, and leave out the last one alone.
- PyMarket finds a crossing only where demand goes strictly from above to below supply: a last bid that equals the last
  ask is none, and nothing trades. Here it is a match: matching goes on while bid >= ask.
- PyMarket cuts the longer side in real numbers. Here fills are whole Wh, the odd ones go by arrival: less than 1 Wh.
- On books of equal units with one order per agent we use McAfee (1992).

The random books keep to what both do; a test each shows the differences, so that this list stays true.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from market import Orders, clear
from market_support import TERMS, book_of, rules_of

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venv-pymarket" / "bin" / "python"
SCRIPT = ROOT / "tests" / "differential" / "pymarket_huang.py"
PLAIN, TIED = 1200, 200

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PYTHON.exists(), reason="PyMarket is not installed; make .venv-pymarket/.ready"),
]

EQUAL_PRICES = book_of([90.0, 50.0], [10.0, 50.0], [1, 2, 1, 3])
TIED_LAST_BIDS = book_of([90.0, 70.0, 70.0], [10.0, 30.0], [1, 1, 2, 3.5, 5])
EQUAL_UNITS = book_of([60.0], [40.0])


def random_book(seed: int, tied: bool) -> dict:
    """Up to 24 orders; bids in odd ticks, asks in even ones, so that none is equal. tied: few levels a side.

    No ask is free: PyMarket counts demand beyond the last bid as a bid of 0, and would not see it cross.
    """
    rng = np.random.default_rng([tied, seed])
    size = int(rng.integers(2, 25))
    bids = int(rng.integers(1, size))
    level = rng.integers(0, 6, size) * 800 if tied else rng.choice(4999, size, replace=False)
    is_buy = np.arange(size) < bids
    quantity = rng.integers(1, rng.choice([20, 5001]), size)
    quantity[0] += quantity.min() == quantity.max()  # equal units are McAfee's
    agent = np.where(is_buy, rng.integers(0, 4, size), rng.integers(4, 8, size)) if seed % 2 else np.arange(size)
    return {
        "price": (np.where(is_buy, 2 * level + 1, 2 * level + 2) / 100).tolist(),
        "quantity": (quantity / 1000).tolist(),
        "is_buy": is_buy.tolist(),
        "agent": agent.tolist(),
    }


@pytest.fixture(scope="module")
def compared():
    """[(book, our result, PyMarket's)] of the plain books, the tied ones, and the three that show the differences."""
    books = [random_book(seed, tied=False) for seed in range(PLAIN)] + [random_book(s, tied=True) for s in range(TIED)]
    books += [EQUAL_PRICES, TIED_LAST_BIDS, EQUAL_UNITS]
    asked = [{"price": b["price"], "is_buy": b["is_buy"], "quantity": whole(b)} for b in books]
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"MPLBACKEND": "Agg"}
    done = subprocess.run(
        [PYTHON, SCRIPT],
        input=json.dumps(asked),
        capture_output=True,
        text=True,
        timeout=540,
        env=environment,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    ours = [clear(Orders(**book), rules_of("mcafee"), **TERMS) for book in books]
    return list(zip(books, ours, json.loads(done.stdout), strict=True))


def whole(book) -> list[int]:
    return [round(q * 1000) for q in book["quantity"]]


def fills(book, result, theirs):
    """Of each side: {agent: our Wh}, {agent: PyMarket's Wh}, and whether PyMarket filled every order in whole Wh."""
    for buys in (True, False):
        orders = [
            (a, wh) for a, b, wh in zip(book["agent"], book["is_buy"], theirs["filled"], strict=True) if b == buys
        ]
        ours, other = dict.fromkeys((a for a, _ in orders), 0), dict.fromkeys((a for a, _ in orders), 0.0)
        trades = result.trades
        side = trades.buyer if buys else trades.seller
        for agent, wh in zip(side[trades.p2p], trades.quantity[trades.p2p] * 1000, strict=True):
            ours[int(agent)] += round(wh)
        for agent, wh in orders:
            other[agent] += wh
        yield ours, other, all(abs(wh - round(wh)) < 1e-6 for _, wh in orders)


def same_prices(result, theirs) -> bool:
    """Both cross at the same last bid and ask; or neither does, and then nothing trades."""
    low, high = result.price_interval
    if theirs["buyers_pay"] is None:
        assert not any(theirs["filled"])
        return math.isnan(low) and math.isnan(high) and result.p2p_volume == 0
    return (low, high) == pytest.approx((theirs["sellers_get"], theirs["buyers_pay"]), rel=1e-12)


def test_a_thousand_books_clear_as_pymarket_clears_them(compared):
    traded = cut = dropped = uncut = 0
    for book, result, theirs in compared[:PLAIN]:
        assert same_prices(result, theirs), book
        for ours, other, in_whole in fills(book, result, theirs):
            assert sum(ours.values()) == round(result.p2p_volume * 1000) == pytest.approx(sum(other.values())), book
            for agent, wh in ours.items():
                assert abs(wh - other[agent]) < book["agent"].count(agent) + 1e-6, book  # 1 Wh for each order
            if in_whole:
                assert ours == {agent: round(wh) for agent, wh in other.items()}, book
            uncut += in_whole and any(ours.values())
            cut += not in_whole
        traded += result.p2p_volume > 0
        better = [  # better than the last of its side, and yet without a trade: cut to nothing
            theirs["filled"][i] == 0 and (p > theirs["buyers_pay"] if b else p < theirs["sellers_get"])
            for i, (p, b) in enumerate(zip(book["price"], book["is_buy"], strict=True))
            if result.p2p_volume > 0
        ]
        dropped += any(better)
    assert min(traded, uncut) > PLAIN / 3
    assert min(cut, dropped) > PLAIN / 20


def test_ties_change_the_volume_at_most(compared):
    larger = 0
    for book, result, theirs in compared[PLAIN : PLAIN + TIED]:
        assert same_prices(result, theirs), book
        if theirs["buyers_pay"] is None:
            continue
        last = [
            theirs["buyers_pay" if b else "sellers_get"] == p
            for p, b in zip(book["price"], book["is_buy"], strict=True)
        ]
        volume = sum(wh for wh, b in zip(theirs["filled"], book["is_buy"], strict=True) if b)
        if sum(last) == 2:  # one bid and one ask: the same orders are left out
            assert result.p2p_volume * 1000 == pytest.approx(volume, abs=1e-6), book
        else:
            assert result.p2p_volume * 1000 >= volume - 1e-6, book
            larger += result.p2p_volume * 1000 > volume + 0.5
    assert larger > 10


@pytest.mark.parametrize(
    ("place", "book", "prices", "volume", "their_prices", "their_volume"),
    [
        (-3, EQUAL_PRICES, (50.0, 50.0), 1.0, (None, None), 0.0),
        (-2, TIED_LAST_BIDS, (70.0, 30.0), 2.0, (70.0, 30.0), 1.0),
        (-1, EQUAL_UNITS, (50.0, 50.0), 1.0, (60.0, 40.0), 0.0),
    ],
    ids=["a last bid equal to the last ask", "tied last bids", "equal units"],
)
def test_the_differences_are_those_that_are_listed(compared, place, book, prices, volume, their_prices, their_volume):
    asked, result, theirs = compared[place]
    assert asked == book
    assert result.price_interval[::-1] == prices
    assert result.p2p_volume == volume
    assert (theirs["buyers_pay"], theirs["sellers_get"]) == their_prices
    assert sum(theirs["filled"]) == pytest.approx(2000 * their_volume)
