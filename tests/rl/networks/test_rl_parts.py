"""Modes, networks, distributions, advantages and clipping: each against a slow or known twin."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ray.rllib.algorithms.impala.torch.vtrace_torch_v2 import vtrace_torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchDiagGaussian
from ray.rllib.utils.postprocessing.value_predictions import compute_value_targets

from market.rl.learning.advantages import estimate_advantages, importance, vtrace
from market.rl.modes import MODES, TrainingMode
from market.rl.networks.distributions import AgentGaussian
from market.rl.networks.stacked import CentralMLP, Stack
from market.rl.sampling.policy import agent_policy, checked, population_policy
from market.rl.scopes import Stream, derive, seeded, torch_threads
from rl_support import ACT, AGENTS, EVERY_MODE, OBS, ROWS, make_module

OWN_ACTORS = pytest.mark.parametrize("mode", [m for m in MODES if not MODES[m].joint_actor])


def observations(agents: int = AGENTS, rows: int = ROWS) -> torch.Tensor:
    return torch.randn(rows, agents, OBS, generator=torch.Generator().manual_seed(1))


def test_central_network_sees_everybody() -> None:
    x = observations().requires_grad_()
    out = CentralMLP(Stack.drawn(1, (AGENTS * OBS, 8, 2 * 3), "tanh"), heads=2)(x)
    assert out.shape == (ROWS, 2, 3)
    (gradient,) = torch.autograd.grad(out[0, 0, 0], x)
    assert (gradient[0] != 0).all()
    assert (gradient[1:] == 0).all()


def test_gaussians_agree_with_rllib() -> None:
    generator = torch.Generator().manual_seed(0)
    logits, others = (0.5 * torch.randn(ROWS, AGENTS, 2 * ACT, generator=generator) for _ in range(2))
    actions = torch.randn(ROWS, AGENTS, ACT, generator=generator)
    ours, theirs = AgentGaussian.from_logits(logits), TorchDiagGaussian.from_logits(logits)
    other, their_other = AgentGaussian.from_logits(others), TorchDiagGaussian.from_logits(others)
    torch.testing.assert_close(ours.logp(actions), theirs.logp(actions))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    torch.testing.assert_close(ours.kl(other), theirs.kl(their_other))


def test_extreme_logits_give_finite_densities() -> None:
    logits = torch.tensor([1e3, -1e3]).repeat_interleave(2 * ACT).reshape(2, 1, 2 * ACT)
    distribution = AgentGaussian.from_logits(logits)
    value = distribution.draw()
    logp = distribution.logp(value)
    assert value.isfinite().all()
    assert logp.isfinite().all()


@pytest.mark.parametrize("terminated", [True, False])
def test_advantages_are_rllibs_for_every_agent(terminated: bool) -> None:
    """Before they are standardised: RLlib does that over its appended rows, too, which moves the mean away from 0."""
    episodes, steps, gamma, lambda_ = 3, 5, 0.9, 0.7
    random = np.random.default_rng(0)
    values = random.normal(size=(episodes, steps + 1, AGENTS)).astype(np.float32)
    rewards = random.normal(size=(episodes, steps, AGENTS)).astype(np.float32)
    ends = np.full(episodes, float(terminated), np.float32)
    ours, targets = estimate_advantages(*(torch.from_numpy(x) for x in (values, rewards, ends)), gamma, lambda_)
    flags = np.zeros((episodes, steps + 1), np.float32)
    flags[:, -2] = 1.0
    for agent in range(AGENTS):
        theirs = compute_value_targets(
            values=values[..., agent].ravel(),
            rewards=np.pad(rewards[..., agent], ((0, 0), (0, 1))).ravel(),
            terminateds=(flags * terminated).ravel(),
            truncateds=(flags * (not terminated)).ravel(),
            gamma=gamma,
            lambda_=lambda_,
        )
        theirs = theirs.reshape(episodes, -1)
        np.testing.assert_allclose(targets[..., agent], theirs[:, :-1], rtol=1e-5, atol=1e-5)
        advantages = theirs - values[..., agent]
        played = advantages[:, :-1]
        standard = (played - played.mean()) / played.std()
        np.testing.assert_allclose(ours[..., agent], standard, rtol=1e-4, atol=1e-5)
        assert abs(played.mean() - advantages.mean()) > 1e-4, "the appended rows move nothing here"


@pytest.mark.parametrize("mode", MODES)
def test_vtrace_is_rllibs_for_every_agent(mode: TrainingMode) -> None:
    """RLlib's single-agent V-trace, per agent; a central critic's targets weigh the joint action, advantages the own.

    The first two episodes ended for good, the others were cut.
    """
    episodes, steps, gamma, central = 5, 6, 0.9, MODES[mode].central_critic
    columns, ratios = 1 if central else AGENTS, AGENTS
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(episodes, steps + 1, columns, generator=generator)
    rewards = torch.randn(episodes, steps, columns, generator=generator)
    log_rhos = torch.randn(episodes, steps, ratios, generator=generator)
    discounts = torch.full((episodes, steps, 1), gamma)
    discounts[:2, -1] = 0.0
    targets, advantages = vtrace(values, rewards, discounts, *importance(log_rhos, central))
    assert targets.shape == rewards.shape
    assert advantages.shape == log_rhos.shape

    def theirs(log_rho: torch.Tensor, column: int) -> tuple[torch.Tensor, torch.Tensor]:
        found = vtrace_torch(
            target_action_log_probs=log_rho.T,
            behaviour_action_log_probs=torch.zeros(steps, episodes),
            discounts=discounts[..., 0].T,
            rewards=rewards[..., column].T,
            values=values[:, :-1, column].T,
            bootstrap_values=values[:, -1, column],
        )
        return found[0].T, found[1].T

    for agent in range(ratios):
        column = 0 if central else agent
        weighing = log_rhos.sum(-1) if central else log_rhos[..., agent]
        expected, advantage = theirs(weighing, column)
        torch.testing.assert_close(targets[..., column], expected)
        own = log_rhos[..., agent].exp().clamp(max=1.0) / weighing.exp().clamp(max=1.0)
        torch.testing.assert_close(advantages[..., agent], advantage * own)


@EVERY_MODE
@pytest.mark.parametrize("agents", [1, AGENTS])
def test_shapes(mode: TrainingMode, agents: int) -> None:
    module, row = make_module(mode, agents), MODES[mode]
    batch = {Columns.OBS: observations(agents)}
    logits = module.actor(batch[Columns.OBS])
    assert logits.shape == (ROWS, agents, 2 * ACT)
    assert module.values(batch[Columns.OBS]).shape == (ROWS, 1 if row.central_critic else agents)
    logp = module.action_dist_cls.from_logits(logits).logp(torch.zeros(ROWS, agents, ACT))
    assert logp.shape == (ROWS, agents)


@EVERY_MODE
def test_who_depends_on_whom(mode: TrainingMode) -> None:
    """Gradients of actions and values show exactly the observations that a mode lets them read."""
    module, row = make_module(mode), MODES[mode]
    x = observations().requires_grad_()
    logits = module.actor(x)
    values = module.values(x)
    for i in range(AGENTS):
        (gradient,) = torch.autograd.grad(logits[:, i].sum(), x, retain_graph=True)
        for j in range(AGENTS):
            assert bool(gradient[:, j].any()) == (i == j or row.joint_actor)
    for i in range(values.shape[1]):
        (gradient,) = torch.autograd.grad(values[:, i].sum(), x, retain_graph=True)
        for j in range(AGENTS):
            assert bool(gradient[:, j].any()) == (i == j or row.central_critic)


@OWN_ACTORS
def test_one_agent_acts_on_its_own_observation_alone(mode: TrainingMode) -> None:
    """The decentralised policy is given nothing else, and does what the whole population would do."""
    module = make_module(mode, activation="relu")
    x = observations().numpy()
    for agent in range(AGENTS):
        own = agent_policy(module.player, agent)(x[:, agent])
        np.testing.assert_allclose(own, population_policy(module.player)(x)[:, agent], atol=1e-6)
    with pytest.raises(ValueError, match=f"agent: got {AGENTS}; allowed: 0 to {AGENTS - 1}"):
        agent_policy(module.player, AGENTS)


@pytest.mark.parametrize(
    ("seen", "message"),
    [
        (np.zeros((2, 3)), r"got shape \[2, 3\]; allowed: \[E, 3, 5\]"),
        (np.zeros((2, 5, 3)), r"got shape \[2, 5, 3\]; allowed: \[E, 3, 5\]$"),
        (np.zeros((1, 3, 5), complex), "got .*; allowed: finite numbers"),
        (np.full((1, 3, 5), np.nan), r"got nan at \[0, 0, 0\]; allowed: finite numbers"),
        (np.ma.masked_array(np.zeros((1, 3, 5))), "got masked_array"),
        (None, "got None; allowed: finite numbers"),
        (torch.zeros((1, 3, 5), requires_grad=True), "got tensor"),
    ],
)
def test_a_policy_names_observations_that_do_not_fit(seen, message: str) -> None:
    policy = checked(lambda observation: observation, (3, 5))
    assert policy([[[1] * 5] * 3]).dtype == np.float32
    with pytest.raises(ValueError, match=rf"^observation: {message}"):
        policy(seen)


def test_joint_actor_cannot_be_taken_apart() -> None:
    with pytest.raises(ValueError, match="joint actor"):
        agent_policy(make_module(TrainingMode.CTCE).player, 0)


def test_random_states_and_threads_are_given_back() -> None:
    states = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002  # RLlib draws from it
    threads = torch.get_num_threads()
    draws = []
    for position in (1, 1, 2):
        with seeded(5, Stream.LEARN, position), torch_threads(1):
            draws.append((float(torch.rand(1)), float(np.random.rand())))  # noqa: NPY002
    assert draws[0] == draws[1] != draws[2]
    assert torch.equal(torch.get_rng_state(), states[0])
    assert np.array_equal(np.random.get_state()[1], states[1])  # noqa: NPY002
    assert torch.get_num_threads() == threads
    assert derive(5, Stream.LEARN, 1) != derive(5, Stream.SAMPLE, 1) != derive(6, Stream.SAMPLE, 1)


@EVERY_MODE
def test_standard_deviations_are_those_asked_for_and_depend_on_no_observation(mode: TrainingMode) -> None:
    module = make_module(mode)
    logits = module.actor(observations())
    mean, log_std = logits.detach().chunk(2, -1)
    assert not log_std.any()  # log 1.0
    assert 0 < float(mean.abs().max()) < 0.1, "exploration starts around the middle of every action"
