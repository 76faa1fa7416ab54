"""RLTrainer on the market itself."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from market import RLTrainer, Scenario
from market.config import RLAlgorithm
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


DEPLOYED = """
import pickle, sys
from pathlib import Path
sys.modules["ray"] = None  # importing it fails
import numpy as np
from market import Scenario
from market.envs.vector import MarketVectorEnv
from market.rl.sampling.policy import agent_policy, population_policy, rollout
from market.rl.scopes import Stream, derive
actor, returns, seed = pickle.loads(Path(sys.argv[1]).read_bytes())
env = MarketVectorEnv(Scenario.study(2).unseen, num_envs=2)
played = rollout(env, actor, seed=derive(seed, Stream.EVALUATE), explore=False)
assert np.array_equal(played.rewards.sum(1), returns)
seen = played.observations[:, 0]
np.testing.assert_allclose(agent_policy(actor, 1)(seen[:, 1]), population_policy(actor)(seen)[:, 1], atol=1e-6)
"""


def test_a_trained_population_plays_where_there_is_no_ray(tmp_path: Path) -> None:
    settings, path = SMALL[RLAlgorithm.PPO], tmp_path / "actor.pickle"
    with RLTrainer(
        Scenario.study(2), "ppo", "ctde", 1, episodes_per_iteration=2, seed=5, hyperparameters=settings
    ) as trainer:
        trainer.train()
        path.write_bytes(pickle.dumps((trainer.module.player, trainer.evaluate(2).returns, 5)))
    subprocess.run([sys.executable, "-c", DEPLOYED, str(path)], check=True)


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
