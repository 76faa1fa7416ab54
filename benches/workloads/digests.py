"""What the market computes, in some numbers: two commits that do not agree in them compute something else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from benches.case import Outcome, Params
from benches.workloads import feeders, inputs, training
from benches.workloads.inputs import SEED, number

if TYPE_CHECKING:
    from market import RLTrainer

VOLUMES = ("clearing_price", "p2p_volume", "dso_buy_volume", "dso_sell_volume", "social_welfare", "congestion_max")
SHARE_OUT = 20
"""Orders of the books that every rule clears."""


def of_market(prepared: Params, _: int) -> Outcome:
    """Cleared books, a day that the study's community plays truthfully, and the optimum of that day."""
    agents = number(prepared, "agents")
    return Outcome(facts={**dict(_cleared()), **dict(_played(agents))})


def _cleared() -> Iterator[tuple[str, float]]:
    """Each rule over a small book, and a large one that passes all stages on the feeder."""
    from market import ClearingMechanism, MarketConfig

    small = inputs.books_of(SHARE_OUT, 1)
    books = {rule.value: replace(small, config=MarketConfig(price_mechanism=rule)) for rule in ClearingMechanism}
    books["feeder"] = feeders.books_on_feeder({"orders": 1000})
    for name, prepared in books.items():
        result = inputs.cleared(prepared, prepared.config, 0)
        trades = result.trades
        yield from ((f"{name} {what}", getattr(result, what)) for what in VOLUMES)
        for what in ("buyer", "seller", "price", "quantity", "loss", "fee"):
            yield f"{name} {what}", weighted(getattr(trades, what))


def _played(agents: int) -> Iterator[tuple[str, float]]:
    from market import Scenario
    from market.evaluation.kpis import evaluate
    from market.evaluation.optimum import cooperative_optimum
    from market.evaluation.policies import play, truthful

    params = Scenario.study(agents, SEED).params
    start, history = play(params, np.arange(2), truthful)
    yield from ((f"day {name}", weighted(values)) for name, values in evaluate(history).items())
    yield "optimum cost", cooperative_optimum(params, start).cost


def of_trainings(prepared: Params, _: int) -> Outcome:
    """The first iterations of one seed for each mode and algorithm: returns, KPIs, norms of the weights."""
    facts: dict[str, float] = {}
    for mode in prepared["modes"].split(","):  # type: ignore[union-attr]
        for algorithm in training.ALGORITHMS:
            trainer = training.trainer({**prepared, "mode": mode, "algorithm": algorithm})
            try:
                facts |= {f"{mode} {algorithm} {name}": value for name, value in _trained(trainer).items()}
            finally:
                training.close_trainer(trainer)
    return Outcome(facts=facts)


def _trained(trainer: RLTrainer) -> Mapping[str, float]:
    records = [trainer.train_iteration() for _ in range(trainer.iters)]
    found = {f"return {i}": record.return_mean for i, record in enumerate(records)}
    found |= dict(records[-1].kpis)
    weights: dict[str, Any] = trainer.module.state_dict()
    return found | {"weights": float(np.sqrt(sum(float((each.double() ** 2).sum()) for each in weights.values())))}


def weighted(values: Any) -> float:
    """Sum of the values, each weighted by its place, so that their order counts; what is undefined counts as none."""
    numbers = np.nan_to_num(np.asarray(values, np.float64).ravel())
    return float(numbers @ np.linspace(1.0, 2.0, numbers.size))
