"""SAC's parts: squashed actions, twin critics and the replay buffer, each against a slow or known twin."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from gymnasium import spaces
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchSquashedGaussian

from market.rl import SACHyperparameters
from market.rl.learning.replay import EpisodeReplay
from market.rl.modes import MODES, TrainingMode
from market.rl.networks.distributions import SquashedGaussian
from market.rl.networks.modules import LOGP, Q_PLAYED, Q_RESAMPLED, Q_TARGET, PopulationSACModule
from market.rl.rllib import quiet_rllib
from market.rl.sampling.policy import agent_policy, population_policy
from market.rl.scopes import Stream, seeded
from rl_support import EVERY_MODE

AGENTS, OBS, ACT, ROWS = 4, 5, 2, 6


def make_module(mode: TrainingMode, agents: int = AGENTS) -> PopulationSACModule:
    with quiet_rllib(), seeded(3, Stream.BUILD):
        return PopulationSACModule(
            observation_space=spaces.Box(-10, 10, (agents, OBS)),
            action_space=spaces.Box(-1, 1, (agents, ACT)),
            inference_only=False,
            model_config={
                "mode": mode.value, "hidden": (8, 7), "activation": "tanh", "initial_std": 1.0, "temperature": 0.5
            },
        )  # fmt: skip


def normal(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_squashed_gaussians_agree_with_rllib() -> None:
    logits, action = 0.5 * normal(ROWS, AGENTS, 2 * ACT), torch.tanh(normal(ROWS, AGENTS, ACT, seed=1))
    ours, theirs = SquashedGaussian.from_logits(logits), TorchSquashedGaussian.from_logits(logits)
    torch.testing.assert_close(ours.logp(action), theirs.logp(action), rtol=1e-4, atol=1e-4)
    distribution = SquashedGaussian.from_logits(logits.double())  # float32 rounds tanh(9) to 1, which cannot be undone
    with seeded(0, Stream.BUILD):
        value, logp = distribution.sample()
    torch.testing.assert_close(distribution.logp(value), logp)
    assert torch.equal(ours.most_likely(), torch.tanh(ours.mean))
    with pytest.raises(ValueError, match="entropy: got a squashed Gaussian"):
        ours.entropy()


@pytest.mark.parametrize("size", [1e3, 20.0, -20.0, -1e3])
def test_extreme_squashed_actions_have_finite_densities_and_gradients(size: float) -> None:
    logits = torch.full((3, 1, 2 * ACT), size, requires_grad=True)
    distribution = SquashedGaussian.from_logits(logits)
    value, logp = distribution.sample()
    (gradient,) = torch.autograd.grad(logp.sum() + value.sum(), logits)
    assert value.abs().max() <= 1.0
    assert logp.isfinite().all()
    assert gradient.isfinite().all()
    assert distribution.logp(torch.ones(3, 1, ACT)).isfinite().all()


def test_density_of_a_squashed_action_integrates_to_one() -> None:
    grid = torch.linspace(-1, 1, 20001)[1:-1].reshape(-1, 1, 1)
    distribution = SquashedGaussian.from_logits(torch.tensor([[[0.3, -0.7]]]).expand(len(grid), 1, 2))
    assert float(distribution.logp(grid).exp().sum()) * 1e-4 == pytest.approx(1.0, abs=1e-3)


@EVERY_MODE
def test_who_depends_on_whom(mode: TrainingMode) -> None:
    """Values read what a mode lets them; the actor's objective reaches the actor and no critic."""
    module, row = make_module(mode), MODES[mode]
    obs, action = normal(ROWS, AGENTS, OBS).requires_grad_(), torch.tanh(normal(ROWS, AGENTS, ACT)).requires_grad_()
    batch = {Columns.OBS: obs, Columns.NEXT_OBS: obs, Columns.ACTIONS: action}
    out = module.forward_train(batch)
    owners = 1 if row.central_critic else AGENTS
    assert out[Q_PLAYED].shape == (2, ROWS, owners)
    assert out[Q_RESAMPLED].shape == out[Q_TARGET].shape == (ROWS, owners)
    assert out[LOGP].shape == (ROWS, AGENTS) == (ROWS, len(module.temperature.log_alpha))
    assert not torch.equal(out[Q_PLAYED][0], out[Q_PLAYED][1])
    for owner in range(owners):
        read = torch.autograd.grad(out[Q_PLAYED][:, :, owner].sum(), (obs, action), retain_graph=True)
        for gradient in read:
            assert [bool(gradient[:, j].any()) for j in range(AGENTS)] == [
                row.central_critic or j == owner for j in range(AGENTS)
            ]
    out[Q_RESAMPLED].sum().backward()
    assert all(p.grad is None for p in module.critic.parameters())
    assert all(p.grad is not None and p.grad.any() for p in module.actor.parameters())
    torch.testing.assert_close(module.target_critic(obs, action), out[Q_PLAYED])
    assert float(module.temperature.log_alpha[0].detach().exp()) == pytest.approx(
        0.5 / (AGENTS if row.central_critic else 1)
    )


@pytest.mark.parametrize("mode", [m for m in MODES if not MODES[m].joint_actor])
def test_one_agent_plays_the_squashed_mean_on_its_own_observation(mode: TrainingMode) -> None:
    module, x = make_module(mode), 3.0 * normal(ROWS, AGENTS, OBS).numpy()
    played = population_policy(module.player)(x)
    with torch.no_grad():
        mean = module.actor(torch.from_numpy(x)).chunk(2, -1)[0]
    np.testing.assert_allclose(played, np.tanh(mean.numpy()), atol=1e-6)
    for agent in range(AGENTS):
        np.testing.assert_allclose(agent_policy(module.player, agent)(x[:, agent]), played[:, agent], atol=1e-6)


def episodes(count: int, steps: int, first: int) -> dict[str, torch.Tensor]:
    """Episodes whose every number tells where it belongs: episode + step / 100; ended for good if even."""
    number = np.arange(first, first + count)[:, None] + np.arange(steps + 1) / 100
    wide = number[:, :, None, None]
    columns = {
        Columns.OBS: wide.repeat(2, 2).repeat(3, 3),
        Columns.ACTIONS: wide[:, :-1].repeat(2, 2),
        Columns.REWARDS: number[:, :-1, None],
        Columns.TERMINATEDS: 1.0 - number[:, 0] % 2,
    }
    return {name: torch.from_numpy(x) for name, x in columns.items()}


def test_replay_pairs_rows_and_forgets_the_oldest_episode() -> None:
    replay, steps = EpisodeReplay(capacity=27, device=torch.device("cpu")), 5
    for first in (0, 3, 6):
        replay.add(episodes(3, steps, first))
    assert replay.steps == 25, "whole episodes: five of five steps fit into 27"
    batch = {name: x.double() for name, x in replay.sample(4000).items()}
    number = batch[Columns.REWARDS][:, 0]
    seen = sorted({(int(n + 0.001), round(float(n % 1) * 100) % 100) for n in number})
    assert seen == [(e, t) for e in range(4, 9) for t in range(steps)]
    assert torch.equal(batch[Columns.OBS][:, 1, 2], number)
    assert torch.equal(batch[Columns.ACTIONS][:, 1, 0], number)
    torch.testing.assert_close(batch[Columns.NEXT_OBS][:, 0, 0], number + 0.01, rtol=0.0, atol=1e-5)
    last = (number % 1 * 100).round() == steps - 1
    even = (number + 0.001).floor() % 2 == 0
    assert torch.equal(batch[Columns.TERMINATEDS], (last & even).double())
    shares = np.unique(number.numpy(), return_counts=True)[1] / 4000
    assert shares == pytest.approx(np.full(25, 0.04), abs=0.02)


@pytest.mark.parametrize("added", [0, 1, 4])
def test_restored_replay_draws_the_same_and_goes_on_the_same(added: int) -> None:
    buffers = [EpisodeReplay(12, torch.device("cpu")) for _ in range(2)]
    for first in range(added):
        buffers[0].add(episodes(1, 4, first))
    buffers[1].take_over(buffers[0].snapshot())
    drawn = []
    for replay in buffers:
        replay.add(episodes(2, 4, 10))
        torch.manual_seed(1)
        drawn.append(replay.sample(50))
    assert all(torch.equal(x, drawn[1][name]) for name, x in drawn[0].items())


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"tau": 0.0}, "tau: got 0.0"),
        ({"critic_lr": 2.0}, "critic_lr: got 2.0"),
        ({"temperature": 0.0}, "temperature: got 0.0"),
        ({"capacity": 0}, "capacity: got 0; allowed: a whole number >= 1"),
        ({"updates": 0}, "updates: got 0"),
        ({"minibatch": 1.5}, "minibatch: got 1.5"),
        ({"target_entropy": float("nan")}, "target_entropy: got nan"),
        ({"initial_std": 0.0}, "initial_std: got 0.0"),
    ],
)
def test_hyperparameters_are_checked(wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SACHyperparameters(**wrong)
