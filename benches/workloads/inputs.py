"""What the market's cases prepare and call. The market loads when a cell is prepared: no timed call holds an import.

Inputs rotate, as repeating one order book trains the branch predictor and makes clearing look faster than it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial, wraps
from typing import TYPE_CHECKING, Any

import numpy as np

from benches.case import Params
from benches.workloads import naive

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from market import ClearingResult, Ledger, MarketConfig, Orders, Trades
    from market.community.agents import Params as Market
    from market.grid.network import Grid
    from market.simulation.history import State
    from market.support.arrays import Floats

Calls = Sequence[partial[Any]]
"""Prepared calls that a case rotates through."""
SEED = 42
INPUTS = 64
"""Different inputs that a case rotates through."""
FEED_IN_TARIFF, UTILITY_PRICE = 60.0, 220.0
"""The DSO's prices for a single clearing, $/MWh."""


def number(params: Params, axis: str) -> int:
    """The value of a numeric axis."""
    return int(params[axis])


def run(prepared: Calls, turn: int, **changes: Any) -> None:
    """The next of the prepared calls, with some of its arguments changed."""
    prepared[turn % len(prepared)](**changes)


def keeping_memory(setup: Callable[[Params], Any]) -> Callable[[Params], Any]:
    """The same preparation, in a process that keeps freed memory."""

    @wraps(setup)
    def prepare(params: Params) -> Any:
        from market.support.allocator import keep_freed_memory

        keep_freed_memory()
        return setup(params)

    return prepare


# --- clearing -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Books:
    """Order books under one set of rules; their sort keys, packed and as columns; the same rules at average prices."""

    clear: Callable[..., ClearingResult]
    books: Sequence[Orders]
    config: MarketConfig
    grid: Grid | None
    keys: Sequence[NDArray[np.uint64]]
    columns: Sequence[tuple[NDArray[np.int64], Floats, NDArray[np.bool_]]]
    averages: MarketConfig


def books_of(size: int, count: int = INPUTS, grid: Grid | None = None) -> Books:
    """`count` random books of `size` orders: prices and quantities uniform within the study's bounds, half bids."""
    from market import MarketConfig, Orders, clear

    config = MarketConfig()
    rng = np.random.default_rng([SEED, size])
    books = [
        Orders(
            price=rng.uniform(config.min_price, config.max_price, size),
            quantity=rng.uniform(config.min_quantity, config.max_quantity, size),
            is_buy=rng.random(size) < 0.5,
        )
        for _ in range(count)
    ]
    keys, columns = [naive.sort_keys(book) for book in books], [naive.sort_columns(book) for book in books]
    return Books(clear, books, config, grid, keys, columns, config)


def books(params: Params) -> Books:
    """Random books, on no grid."""
    return books_of(number(params, "orders"))


def books_by_rule(params: Params) -> Books:
    """Random books, to be cleared under one of the mechanisms."""
    from market import ClearingMechanism, MarketConfig

    return replace(books(params), config=MarketConfig(price_mechanism=ClearingMechanism(str(params["rule"]))))


def cleared(prepared: Books, config: MarketConfig, turn: int) -> ClearingResult:
    """The next book, cleared under these rules."""
    book = prepared.books[turn % len(prepared.books)]
    return prepared.clear(book, config, feed_in_tariff=FEED_IN_TARIFF, utility_price=UTILITY_PRICE, grid=prepared.grid)


def clear_book(prepared: Books, turn: int) -> None:
    """Clear the next book: who trades with whom, how much, at which price; volumes, welfare."""
    cleared(prepared, prepared.config, turn)


def clear_at_averages(prepared: Books, turn: int) -> None:
    """Clear the next book under AVERAGE, whatever its rule is."""
    cleared(prepared, prepared.averages, turn)


def clear_to_trades(prepared: Books, turn: int) -> None:
    """Clear the next book and write out all trades, the DSO's too."""
    _ = cleared(prepared, prepared.config, turn).trades


def count_trades(prepared: Books, turn: int) -> float:
    """Trades that the next book leads to, the DSO's too."""
    return float(len(cleared(prepared, prepared.config, turn).trades))


def textbook(prepared: Books, turn: int) -> None:
    """The next book cleared by textbook loops, all trades written out, on no grid."""
    naive.textbook(prepared.books[turn % len(prepared.books)], FEED_IN_TARIFF, UTILITY_PRICE)


def bare_sort(prepared: Books, turn: int) -> None:
    """`np.sort` of the next book's packed keys, and nothing else."""
    np.sort(prepared.keys[turn % len(prepared.keys)])


def lexical_sort(prepared: Books, turn: int) -> None:
    """`np.lexsort` of the next book by side, price and arrival, and nothing else."""
    np.lexsort(prepared.columns[turn % len(prepared.columns)])


def batches(params: Params) -> Calls:
    """Random batches of E books of N orders in ticks, as the simulation makes them, each cleared in one call."""
    from market import MarketConfig
    from market.clearing.batch import clear_batch
    from market.clearing.books import Book

    markets, size = number(params, "markets"), number(params, "orders")
    rng, shape = np.random.default_rng([SEED, markets, size]), (markets, size)
    low, high, mid = (np.full(markets, price) for price in (FEED_IN_TARIFF, UTILITY_PRICE, 140.0))
    drawn = [
        Book(
            price=rng.integers(4_000, 24_000, shape),
            quantity=rng.integers(100, 200_000, shape, np.int32),
            is_buy=rng.random(shape) < 0.5,
            reputation=rng.integers(0, 65_536, shape),
            by_arrival=rng.permuted(np.tile(np.arange(size), (markets, 1)), axis=1),
            agent=np.empty((markets, 0), np.int64),
        )
        for _ in range(INPUTS)
    ]
    threads = number(params, "threads")
    return [partial(clear_batch, book, MarketConfig(), low, high, mid, None, 1.0, threads=threads) for book in drawn]


# --- simulation -----------------------------------------------------------------------------------------------------


@dataclass
class Walk:
    """E parallel markets on their way through a few episodes: where they stand, where each episode starts."""

    advance: Callable[..., tuple[State, Any, Any]]
    see: Callable[[Market, State], Floats]
    market: Market
    starts: Sequence[State]
    actions: Sequence[Floats]
    state: State


def walk(params: Params) -> Walk:
    """E parallel markets of the study's population, with INPUTS random actions [E, N, 4] prepared."""
    from market import Scenario
    from market.simulation.dynamics import initial, observe, step

    envs, agents = number(params, "episodes"), number(params, "agents")
    market = Scenario.study(agents, SEED).params
    rng = np.random.default_rng([SEED, envs, agents])
    starts = [initial(market, first * envs + np.arange(envs)) for first in range(3)]
    actions = [rng.uniform(-1.0, 1.0, (envs, agents, 4)) for _ in range(INPUTS)]
    return Walk(step, observe, market, starts, actions, starts[0])


def advance(prepared: Walk, turn: int) -> None:
    """Act, clear, settle and reward. No episode starts in it."""
    market = prepared.market
    if prepared.state.step == market.max_steps:
        prepared.state = prepared.starts[turn // market.max_steps % len(prepared.starts)]
    prepared.state = prepared.advance(market, prepared.state, prepared.actions[turn % len(prepared.actions)])[0]


def env_step(prepared: Walk, turn: int) -> None:
    """What an environment does in a step: `advance`, and observe as float32."""
    advance(prepared, turn)
    prepared.see(prepared.market, prepared.state).astype(np.float32)


def build_scenario(params: Params, turn: int) -> None:
    """The study's population from a seed not used before: agents, profiles, grid, and the arrays made of them."""
    from market import Scenario

    _ = Scenario.study(number(params, "agents"), SEED + turn).params


# --- ledger ---------------------------------------------------------------------------------------------------------


def trades(params: Params) -> tuple[type[Ledger], list[Trades]]:
    """Random trades, all of them between agents, for several blocks, and the class that seals them."""
    from market import Ledger, Trades

    size = number(params, "trades")
    rng = np.random.default_rng([SEED, size])

    def draw() -> Trades:
        price = rng.uniform(40.0, 240.0, size)
        return Trades(
            buyer=rng.integers(0, 1000, size),
            seller=rng.integers(1000, 2000, size),
            price=price,
            seller_price=price,
            quantity=rng.uniform(0.1, 200.0, size),
            stage=np.full(size, 2, np.int8),
            distance=rng.uniform(0.0, 30.0, size),
            loss=rng.uniform(0.0, 0.1, size),
            fee=rng.uniform(0.0, 0.1, size),
        )

    return Ledger, [draw() for _ in range(INPUTS)]


def seal_block(prepared: tuple[type[Ledger], list[Trades]], turn: int) -> None:
    """One block at the study's difficulty, on a ledger of its own so that memory does not grow with the rounds."""
    ledger, blocks = prepared
    ledger(difficulty=1).append(blocks[turn % len(blocks)], turn)
