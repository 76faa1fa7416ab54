"""`clear` against the slow twin on many random books: larger than hypothesis draws them, and every feature in each."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from market import DSO, NO_PARTNER, GridTopology, MarketConfig, Orders, clear
from market.clearing import books
from market_support import assert_same, rules_of
from oracle import clear_book
from strategies import RULES, grid_of

QUICK, ALL = 96, 3000


def random_case(seed: int):
    """(book, settings, terms of `clear`): a random book of up to 60 orders under the rule that is this seed's turn."""
    rng = np.random.default_rng([20021122, seed])
    size = int(rng.integers(0, 60))
    agents = size if rng.random() < 0.5 else max(1, size // 3)
    agent = rng.permutation(size) if agents == size else rng.integers(0, agents, size)
    plain = agents == size and rng.random() < 0.5  # the orders' positions are their agents
    agent = np.arange(size) if plain else agent
    side = rng.random(max(agents, 1)) < rng.choice([0.3, 0.5, 0.7])
    is_buy = side[agent]
    step = rng.choice([1, 25, 1000])  # ticks between prices: few or many ties
    price = rng.integers(0, 10_000 // step + 1, size) * step
    eager = rng.random(size) < 0.5
    price = np.where(
        eager, np.where(is_buy, np.maximum(price, 10_000 - price), np.minimum(price, 10_000 - price)), price
    )
    quantity = rng.integers(1, 5001, size) if rng.random() < 0.7 else np.full(size, rng.choice([100, 1000, 2500]))
    book = {
        "price": (price / 100).tolist(),
        "quantity": (np.where(rng.random(size) < rng.choice([0.0, 0.1]), 0, quantity) / 1000).tolist(),
        "is_buy": is_buy.tolist(),
        "node": rng.integers(0, 5, size).tolist(),
    }
    if not plain:
        book["agent"] = agent.tolist()
    if not plain or rng.random() < 0.5:
        book["arrival"] = rng.random(size).round(int(rng.integers(1, 4))).tolist()
        book["reputation"] = rng.random(size).round(1).tolist()
    if rng.random() < 0.25:
        del book["node"]
    if rng.random() < 0.5:
        mate = np.where(rng.random(size) < 0.4, agent ^ 1, NO_PARTNER)
        book["partner"] = np.where(rng.random(size) < 0.1, DSO, mate).tolist()
    low, high = np.sort(rng.integers(0, 10_001, 2)) / 100
    terms = {"feed_in_tariff": float(low), "utility_price": float(high), "step_hours": float(rng.choice([0.25, 1.0]))}
    if rng.random() < 0.5:
        terms["last_price"] = float(rng.integers(0, 10_001) / 100)
    if rng.random() < 0.6:
        capacity = float(rng.choice([0.5, 7.3, 40.0, 1e4]))
        terms["grid"] = grid_of(rng.choice(list(GridTopology)), int(rng.choice([5, 9])), capacity)
    config = rules_of(RULES[seed % len(RULES)], loss_rate=0.05, spread_share=float(rng.choice([0.25, 0.5, 1 / 3])))
    return book, config, terms


def compare(seeds) -> Counter:
    """Clears the books of `seeds`, sorted whole and screened, and as the twin does; counts what happened in them."""
    seen = Counter()
    for seed in seeds:
        book, config, terms = random_case(seed)
        grid, hours = terms.get("grid"), terms["step_hours"]
        twin = clear_book(book, config, **terms)
        for screened in (books.SCREENED, 0):
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(books, "SCREENED", screened)
                result = clear(Orders(**book), config, **terms)
            try:
                assert_same(result, twin, grid, hours)
            except AssertionError as error:
                raise AssertionError(f"random_case({seed}) under {config.price_mechanism}: {error}") from error
        stages = {t.stage for t in twin.trades}
        seen.update(f"stage {stage}" for stage in stages)
        seen[config.price_mechanism] += 2 in stages
        seen["full"] += grid is not None and twin.p2p_volume == round(grid.capacity * hours * 1000)
        seen["surplus"] += twin.budget_surplus > 0
        seen["congested"] += result.congestion_max > 1
        seen["fees"] += bool((result.trades.fee > 0).any())
    return seen


def test_random_books_clear_as_the_twin_does():
    seen = compare(range(QUICK))
    assert min(seen[rule] for rule in RULES) >= QUICK / 16


def large_book(size: int, most: float, seed: int = 0) -> dict:
    """Columns of a book of bids and asks up to `most` kWh, each order an agent of its own, some with partners."""
    rng, agent = np.random.default_rng(seed), np.arange(size)
    mate = np.where(np.repeat(rng.random(size // 2) < 0.1, 2), agent ^ 1, NO_PARTNER)
    return {
        "price": (rng.integers(0, 24_000, size) / 100).tolist(),
        "quantity": np.round(rng.uniform(0.1, most, size), 3).tolist(),
        "is_buy": (rng.random(size) < 0.5).tolist(),
        "partner": np.where(rng.random(size) < 0.05, DSO, mate).tolist(),
    }


@pytest.mark.parametrize(
    ("size", "most"), [(3_000, 2e6), pytest.param(20_000, 200.0, marks=pytest.mark.slow)], ids=["GWh", "many"]
)
@pytest.mark.parametrize("rule", ["average", "uniform", "mcafee"])
def test_large_books_clear_as_the_twin_does(rule, size, most):
    """More orders than bits of a rank would hold in 11, sums beyond 32 bits, energies beyond single precision."""
    book, grid = large_book(size, most), grid_of(GridTopology.IEEE34, 34, size * most)
    config = MarketConfig(0, 240, 0.1, most, price_mechanism=rule)
    terms = {"feed_in_tariff": 60.0, "utility_price": 220.0, "grid": grid}
    assert_same(clear(Orders(**book), config, **terms), clear_book(book, config, **terms), grid)


@pytest.mark.slow
def test_thousands_of_random_books_clear_as_the_twin_does():
    seen = compare(range(QUICK, ALL))
    assert min(seen[rule] for rule in RULES) >= ALL / 16
    assert min(seen[f"stage {stage}"] for stage in (1, 2, 3)) >= ALL / 6
    assert min(seen[what] for what in ("full", "surplus", "congested", "fees")) >= ALL / 40
