"""RLTrainer on the market itself."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from market import RLTrainer, Scenario
from market.rl.hyperparameters import RLAlgorithm
from rl_support import EVERY_ALGORITHM, EVERY_MODE, SMALL


@EVERY_ALGORITHM
@EVERY_MODE
@pytest.mark.parametrize("agents", [1, 3])
def test_every_mode_trains_on_the_market(mode: str, algorithm: RLAlgorithm, agents: int) -> None:
    with RLTrainer(
        Scenario.study(agents), algorithm, mode, 2, episodes_per_iteration=2, hyperparameters=SMALL[algorithm]
    ) as trainer:
        result, evaluation = trainer.train(), trainer.evaluate(2)
    for record in result.iterations:
        assert (record.env_steps, record.agent_steps, record.skipped_updates) == (48, 48 * agents, 0)
        assert np.isfinite(record.return_mean)
        assert record.phases.keys() >= {"clearing", "settlement", "observation", "environment"}
        assert record.kpis.keys() == evaluation.kpis.keys() >= {"social_welfare", "self_sufficiency"}
        assert np.isnan(record.kpis["clearing_price"]) or agents > 1


def test_evaluation_is_on_held_out_days_unless_told_otherwise() -> None:
    settings, scenario = SMALL[RLAlgorithm.PPO], Scenario.study(2)
    with RLTrainer(scenario, "ppo", "ctde", 1, episodes_per_iteration=2, hyperparameters=settings) as trainer:
        held_out = trainer.evaluate(2)
        assert np.array_equal(held_out.returns, trainer.evaluate(2, Scenario.study(2, held_out=True)).returns)
        seen, other = trainer.evaluate(2, trainer.scenario), trainer.evaluate(2, {"num_agents": 2, "seed": 7})
        assert np.array_equal(seen.returns, trainer.evaluate(2, Scenario.study(2)).returns)
        for elsewhere in (seen, other):
            assert not np.array_equal(held_out.returns, elsewhere.returns)
        with pytest.raises(ValueError, match=r"^scenario: got observations and actions of shapes .*as in training$"):
            trainer.evaluate(2, Scenario.study(3))


def test_dictionary_is_the_same_scenario() -> None:
    scenario = Scenario.study(2, max_steps=8)
    described = {field.name: getattr(scenario, field.name) for field in fields(scenario)}
    settings, returns = SMALL[RLAlgorithm.PPO], []
    for env_config in (scenario, described):
        with RLTrainer(env_config, "ppo", "dtde", 1, episodes_per_iteration=2, hyperparameters=settings) as trainer:
            returns.append(trainer.train().iterations[0].return_mean)
    assert returns[0] == returns[1]


@pytest.mark.slow  # 50 iterations
@EVERY_ALGORITHM
@EVERY_MODE
def test_training_beats_every_untrained_policy(mode: str, algorithm: RLAlgorithm) -> None:
    """On the same ten episodes: after 50 iterations, better than the best of five untrained populations."""
    scenario, seeds, returns = Scenario.study(10), range(5), []
    for seed in seeds:
        with RLTrainer(scenario, algorithm, mode, 50, seed=seed) as trainer:
            returns.append(trainer.evaluate().return_mean)
    with RLTrainer(scenario, algorithm, mode, 50, seed=0) as trainer:
        trainer.train()
        assert trainer.evaluate().return_mean > max(returns)
