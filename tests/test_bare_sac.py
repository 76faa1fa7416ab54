"""The bare loop that SAC's learner is timed against computes what the learner computes."""

from __future__ import annotations

import torch

from benches.bare_sac import BareSAC
from market.config import RLAlgorithm
from market.rl.scopes import Stream, seeded
from rl_support import EVERY_MODE, SMALL, Targets, TargetTrainer


@EVERY_MODE
def test_bare_sac_is_the_learner(mode: str) -> None:
    settings = SMALL[RLAlgorithm.SAC]
    with TargetTrainer(Targets(3, 6), "sac", mode, 1, episodes_per_iteration=4, hyperparameters=settings) as trainer:
        bare = BareSAC(trainer)
        for _ in range(3):
            version = bare.learner._weights_seq_no
            bare.learner.update(episodes=trainer._algorithm.env_runner.sample(), timesteps={})
            with seeded(42, Stream.LEARN, version, 0):
                assert bare.update() == 3
        module = bare.learner.population
        for ours, theirs in zip(
            (module.actor, module.critic, module.target_critic, module.temperature),
            (bare.actor, bare.critic, bare.target, bare.temperature),
            strict=True,
        ):
            for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
                torch.testing.assert_close(a, b, atol=1e-5, rtol=0.0)
