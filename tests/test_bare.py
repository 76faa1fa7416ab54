"""The bare loops that learners are timed against compute what the learners compute."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from ray.rllib.core import DEFAULT_MODULE_ID

from benches.bare_appo import BareAPPO
from market.config import RLAlgorithm
from rl_support import EVERY_MODE, SMALL, Targets, TargetTrainer


@EVERY_MODE
def test_bare_appo_is_the_learner(mode: str) -> None:
    """Three iterations; the policy that samples stays as it was, so that importance weights matter."""
    settings = replace(SMALL[RLAlgorithm.APPO], kl_coeff=0.0, target_update=1)
    with TargetTrainer(Targets(3, 6), "appo", mode, 1, episodes_per_iteration=4, hyperparameters=settings) as trainer:
        bare, config = BareAPPO(trainer), trainer._algorithm.config
        for _ in range(3):
            episodes = trainer._algorithm.env_runner.sample()
            batch = bare.batch(episodes)
            plan: dict[str, Any] = {"num_epochs": config.num_epochs, "minibatch_size": config.minibatch_size}
            bare.learner.update(episodes=episodes, timesteps={}, **plan)
            assert bare.update(batch) == 4
        module = bare.learner.module[DEFAULT_MODULE_ID]
        for ours, theirs in (
            (module.actor, bare.actor),
            (module.critic, bare.critic),
            (module.target_actor, bare.target),
        ):
            for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
                torch.testing.assert_close(a, b, atol=1e-5, rtol=0.0)
