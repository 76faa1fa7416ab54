"""Rollouts on their way from env runners to learners: RLlib shares out whole episodes, and little is logged."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ray.rllib.utils.metrics import NUM_ENV_STEPS_SAMPLED, NUM_ENV_STEPS_SAMPLED_LIFETIME
from ray.rllib.utils.minibatch_utils import ShardEpisodesIterator

from market.rl.learning.batches import stack_episodes
from market.rl.modes import MODES
from market.rl.results import MARKET
from market.rl.sampling.policy import Rollout, rollout
from market.rl.scopes import Stream, derive, seeded
from rl_support import Targets, TargetTrainer

STEPS = 5


def rolled(episodes: int, first: int = 0) -> Rollout:
    """Episodes of two agents, in whose arrays each episode has its number."""
    number = np.arange(first, first + episodes)
    each = {"observations": (STEPS + 1, 2, 3), "actions": (STEPS, 2, 4), "rewards": (STEPS,), "terminated": ()}
    each |= {"agent_rewards": (STEPS, 2), "action_logp": (STEPS, 2), "action_dist_inputs": (STEPS, 2, 8)}

    def filled(shape: tuple[int, ...]) -> np.ndarray:
        return np.broadcast_to(number.reshape(-1, *[1] * len(shape)), (episodes, *shape))

    return Rollout(**{name: filled(shape) for name, shape in each.items()})


@pytest.mark.parametrize("parts", [[8], [4, 4], [2, 2, 2, 2], [6, 2]])
@pytest.mark.parametrize("learners", [1, 2, 4])
def test_rllib_shares_out_whole_episodes(parts: list[int], learners: int) -> None:
    ends = np.cumsum([0, *parts])
    rollouts = [rolled(count, first) for count, first in zip(parts, ends, strict=False)]
    shards = list(ShardEpisodesIterator(rollouts, num_shards=learners, len_lookback_buffer=0))
    numbers = [np.concatenate([part.rewards[:, 0] for part in shard]).tolist() for shard in shards]
    assert sorted(number for each in numbers for number in each) == list(range(8))
    assert {len(each) for each in numbers} == {8 // learners}
    for shard, mine in zip(shards, numbers, strict=True):
        columns = stack_episodes(shard, MODES["dtde"], torch.device("cpu"), "action_logp")
        assert columns["obs"].shape == (8 // learners, STEPS + 1, 2, 3)
        for x in columns.values():
            np.testing.assert_array_equal(x.flatten(1)[:, 0] if x.dim() > 1 else x, mine)


def test_parts_of_episodes_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^steps: got 0 to 7; allowed: multiples of 5, whole episodes$"):
        rolled(4)[:7]


def test_a_sample_is_logged_in_one_entry_beside_rllibs_counts() -> None:
    with TargetTrainer(Targets(2, max_steps=STEPS), "ppo", "dtde", 1, episodes_per_iteration=60) as trainer:
        runner = trainer._algorithm.env_runner
        runner.get_metrics()
        (played,) = runner.sample()
        logged = runner.get_metrics()
    assert len(played) == played.rewards.size == 60 * STEPS
    assert {*logged} == {NUM_ENV_STEPS_SAMPLED, NUM_ENV_STEPS_SAMPLED_LIFETIME, MARKET}
    assert logged[MARKET].peek()[0]["env_steps"] == 60 * STEPS


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_log_probabilities_are_those_of_the_actions_played(algorithm: str) -> None:
    task = Targets(2, max_steps=STEPS)
    with TargetTrainer(task, algorithm, "dtde", 1, episodes_per_iteration=60) as trainer:
        player = trainer.module.player
        env = trainer._make_env(task, 3)
        with seeded(1, Stream.SAMPLE):
            played = rollout(env, player, seed=1, explore=True)
        with seeded(1, Stream.SAMPLE):
            distribution = player.distribution.from_logits(player.logits(played.observations[:, 0]))
            first = distribution.draw()
    np.testing.assert_array_equal(played.actions[:, 0], first.detach())
    np.testing.assert_allclose(played.action_logp[:, 0], distribution.logp(first).detach(), rtol=1e-3, atol=1e-3)


def test_seeding_is_that_of_torch() -> None:
    with seeded(3, Stream.LEARN, 2):
        ours = torch.rand(5)
    torch.manual_seed(derive(3, Stream.LEARN, 2))
    torch.testing.assert_close(ours, torch.rand(5), rtol=0, atol=0)
