"""A batch on several threads is the batch on one, and each of its markets alone: bit for bit, under every rule."""

from __future__ import annotations

import os
import signal
import threading

import numpy as np
import pytest

from market import DSO, NO_PARTNER, GridTopology
from market.clearing.batch import Cleared, clear_batch
from market.clearing.books import Book, Packed
from market.support.threads import in_parts
from market_support import rules_of
from strategies import RULES, grid_of

pytestmark = pytest.mark.usefixtures("screening")

MARKETS, SIZE, GRID = 7, 60, grid_of(GridTopology.RING, 5, 100.0)

FIGURES = ("bid_order", "ask_order", "ticks", "stage", "market", "price", "seller_price", "clearing_price", "volume")
FIGURES += ("social_welfare", "budget_surplus", "lower", "upper", "quantity", "energy")


def random_batch(seed: int, *, partners: bool = True, unit: bool = False) -> Book:
    """Books of different lengths of trade: in some most orders trade, in some none."""
    rng, shape = np.random.default_rng([7, seed]), (MARKETS, SIZE)
    is_buy = rng.random(shape) < 0.5
    mate = np.arange(SIZE) ^ 1
    wish = np.where(rng.random(shape) < 0.2, mate, np.where(rng.random(shape) < 0.05, DSO, NO_PARTNER))
    quantity = np.full(shape, 1000) if unit else np.where(rng.random(shape) < 0.1, 0, rng.integers(1, 5001, shape))
    eager = np.linspace(-1, 1, MARKETS)[:, None] * np.where(is_buy, 5000, -5000)
    return Book(
        price=np.clip(rng.integers(0, 10_001, shape) // 100 * 100 + eager.astype(int), 0, 10_000),
        quantity=quantity.astype(np.int32),
        is_buy=is_buy,
        reputation=rng.integers(0, 3, shape) * 20_000,
        by_arrival=rng.permuted(np.tile(np.arange(SIZE), (MARKETS, 1)), axis=1),
        agent=np.empty((MARKETS, 0), np.int64),
        node=rng.integers(0, 5, shape, np.int32),
        partner=wish if partners else None,
    )


def cleared(book, rule, grid, markets=slice(None), **more) -> Cleared:
    tariffs = (
        column[markets] for column in (np.linspace(5, 40, MARKETS), np.linspace(60, 95, MARKETS), np.full(7, 50.0))
    )
    part = Book(**{name: None if column is None else column[markets] for name, column in vars(book).items()})
    return clear_batch(part, rules_of(rule, loss_rate=0.05), *tariffs, grid, 0.25, **more)


def columns(result: Cleared) -> dict[str, bytes]:
    """Every figure as bytes, those of the grid too."""
    named = {name: getattr(result, name) for name in FIGURES}
    if result.network is not None:
        named |= {name: getattr(result.network, name) for name in ("distance", "loss", "fee")}
        named |= result.network.routing._asdict()
    return {name: (value.dtype, value.shape, value.tobytes()) for name, value in named.items()}


@pytest.mark.parametrize("grid", [None, GRID], ids=["no grid", "grid"])
@pytest.mark.parametrize("rule", RULES)
def test_a_batch_on_several_threads_is_the_batch_on_one(rule, grid):
    for seed, kind in enumerate(({}, {"partners": False}, {"partners": False, "unit": True})):
        book = random_batch(seed, **kind)
        one = cleared(book, rule, grid)
        counts = np.bincount(one.market, minlength=MARKETS)
        assert counts.min() < SIZE / 4 < counts.max()
        for threads in (2, 3, MARKETS, MARKETS + 4):
            several = cleared(book, rule, grid, threads=threads)
            assert columns(several) == columns(one)
            assert (several.seller_price is several.price) == (one.seller_price is one.price)


@pytest.mark.parametrize("grid", [None, GRID], ids=["no grid", "grid"])
@pytest.mark.parametrize("rule", RULES)
def test_a_batch_is_its_markets_alone(rule, grid):
    """Some markets have more trades than the grid has pairs of nodes, which are routed by pairs, and some fewer."""
    for seed, kind in enumerate(({}, {"partners": False})):
        book = random_batch(seed, **kind)
        together = columns(cleared(book, rule, grid, threads=2))
        parts = [cleared(book, rule, grid, slice(e, e + 1)) for e in range(MARKETS)]
        for part, e in zip(parts, range(MARKETS), strict=True):
            part.orders[:2] += SIZE * e
        market = np.repeat(np.arange(MARKETS), [len(part.price) for part in parts])
        assert together.pop("market")[2] == market.tobytes()
        alone = [columns(part) for part in parts]
        for name, (dtype, _, data) in together.items():
            assert {part[name][0] for part in alone} == {dtype}
            assert b"".join(part[name][2] for part in alone) == data, name


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")  # Python 3.12
def test_threads_after_a_fork():
    """The threads of the parent are not there: the child must not wait for them."""
    book = random_batch(0)
    expected = columns(cleared(book, "average", GRID, threads=2))
    child = os.fork()
    if not child:
        signal.alarm(20)
        os._exit(int(columns(cleared(book, "average", GRID, threads=2)) != expected))
    assert os.waitpid(child, 0)[1] == 0


@pytest.mark.parametrize("bad", [0, 2, 4])
def test_an_error_on_any_thread_is_raised_when_all_have_ended(bad):
    done = []

    def work(part):
        if part.start == bad:
            raise RuntimeError(f"part {bad}")
        done.append(part)

    with pytest.raises(RuntimeError, match=f"part {bad}"):
        in_parts(work, 6, 3)
    assert len(done) == 2


@pytest.mark.parametrize(("markets", "threads"), [(0, 2), (1, 4), (3, 3), (7, 3), (5, 8)])
def test_parts_are_consecutive_and_alike(markets, threads):
    seen, caller = [], []
    in_parts(lambda part: (seen.append(part), caller.append(threading.get_ident())), markets, threads)
    parts = sorted((part.start, part.stop) for part in seen)
    assert [k for start, stop in parts for k in range(start, stop)] == list(range(markets))
    assert len(parts) == max(min(markets, threads), 1)
    assert max(b - a for a, b in parts) - min(b - a for a, b in parts) <= 1
    assert caller.count(threading.get_ident()) == 1 <= len(set(caller)) <= threads


@pytest.mark.parametrize("threads", [0, -1, 1.5, True, "2"])
def test_threads_are_a_whole_number(threads):
    with pytest.raises(ValueError, match=rf"^threads: got {threads!r}; allowed: a whole number >= 1$"):
        cleared(random_batch(0), "average", None, threads=threads)


def test_a_batch_of_more_orders_than_their_positions_can_count_is_refused():
    shape, prices = (2**16, 2**15), np.empty(2**16)
    alone = np.empty((2**16, 0), np.int64)
    book = Packed(np.broadcast_to(np.uint64(0), shape), np.broadcast_to(np.int32(0), shape), alone, alone)
    with pytest.raises(ValueError, match=r"^book: got 65536 markets of 32768 orders; allowed: at most 2,147,483,647"):
        clear_batch(book, rules_of("average"), prices, prices, prices, None, 1.0)
