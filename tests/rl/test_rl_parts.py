"""Modes, networks, distributions, advantages and clipping: each against a slow or known twin."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st
from ray.rllib.algorithms.impala.torch.vtrace_torch_v2 import vtrace_torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.distribution.torch.torch_distribution import TorchDiagGaussian
from ray.rllib.utils.postprocessing.value_predictions import compute_value_targets
from torch import nn

from market.config import TrainingMode
from market.rl.learning.advantages import estimate_advantages, vtrace
from market.rl.learning.gradients import ClippedAdam
from market.rl.modes import MODES
from market.rl.networks.distributions import AgentGaussian
from market.rl.networks.modules import PopulationModule
from market.rl.networks.stacked import CentralMLP, Stack, orthogonal_
from market.rl.rllib import quiet_rllib
from market.rl.sampling.policy import agent_policy, population_policy
from market.rl.scopes import Stream, derive, seeded, torch_threads

AGENTS, OBS, ACT, ROWS = 4, 5, 2, 6
EVERY_MODE = pytest.mark.parametrize("mode", list(MODES))
OWN_ACTORS = pytest.mark.parametrize("mode", [m for m in MODES if not MODES[m].joint_actor])


def make_module(mode: TrainingMode, agents: int = AGENTS, activation: str = "tanh") -> PopulationModule:
    with quiet_rllib(), seeded(3, Stream.BUILD):
        return PopulationModule(
            observation_space=spaces.Box(-10, 10, (agents, OBS)),
            action_space=spaces.Box(-1, 1, (agents, ACT)),
            inference_only=False,
            model_config={"mode": mode.value, "hidden": (8, 7), "activation": activation, "initial_std": 1.0},
        )


def observations(agents: int = AGENTS, rows: int = ROWS) -> torch.Tensor:
    return torch.randn(rows, agents, OBS, generator=torch.Generator().manual_seed(1))


def plain_network(stack: Stack, row: int) -> nn.Sequential:
    """One network of a stack, as torch builds it."""
    layers: list[nn.Module] = []
    for weight, bias in stack.layers():
        linear = nn.Linear(*weight.shape[1:])
        linear.weight.data.copy_(weight[row].detach().T)
        linear.bias.data.copy_(bias[row, 0].detach())
        layers += [linear, nn.Tanh() if stack.activation == "tanh" else nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@given(
    st.sampled_from(["tanh", "relu"]),
    st.integers(1, 3),
    st.integers(1, 3),
    st.lists(st.integers(1, 9), min_size=3, max_size=5),
    st.integers(1, 7),
    st.integers(1, 3),
)
def test_a_stack_is_separate_networks_and_so_are_its_gradients(
    activation: str, inputs: int, copies: int, widths: list[int], rows: int, threads: int
) -> None:
    """Compiled, in torch, and one by one; several networks may read the same inputs."""
    with seeded(4, Stream.BUILD, rows), torch_threads(threads):
        stack = Stack.drawn(inputs * copies, widths, activation)
        x = torch.randn(inputs, rows, widths[0], requires_grad=True)
        asked = torch.randn(inputs * copies, rows, widths[-1])
        outs = [
            stack(x),
            stack.plain(x),
            torch.stack([plain_network(stack, row)(x[row % inputs]) for row in range(inputs * copies)]),
        ]
        found = [torch.autograd.grad((out * asked).sum(), x) for out in outs]
        learned = [torch.autograd.grad((out(x) * asked).sum(), stack.flat) for out in (stack, stack.plain)]
    for out, (by_input,) in zip(outs[1:], found[1:], strict=True):
        torch.testing.assert_close(out, outs[0], atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(by_input, found[0][0], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(*learned, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("activation", ["tanh", "relu"])
def test_what_is_not_a_number_stays_so_in_a_stack(activation: str) -> None:
    stack = Stack.drawn(2, (3, 4, 2), activation)
    x = torch.randn(2, 5, 3)
    x[1, 2, 0] = math.nan
    out = stack(x)
    assert out[0].isfinite().all()
    assert out[1, 2].isnan().all()
    out.sum().backward()
    assert stack.flat.grad is not None
    assert stack.flat.grad[0].isfinite().all()
    assert stack.flat.grad[1].isnan().any()


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
    value, logp = distribution.sample()
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
    targets, advantages = vtrace(values, rewards, discounts, log_rhos, central)
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


def drawn_gradients(module: nn.Module, seed: int) -> None:
    """Gradients of sizes from far below to far above the limit, by agent where parameters are stacked."""
    random = torch.Generator().manual_seed(seed)
    size = torch.tensor([1e-3, 1.0, 10.0, 1e-2])
    for p in module.parameters():
        p.grad = torch.randn(p.shape, generator=random)
        if len(p) == AGENTS:
            p.grad.mul_(size.view(-1, *[1] * (p.dim() - 1)))


def rows_clipped_together(module: PopulationModule) -> list[list[tuple[torch.Tensor, int | slice]]]:
    """Parameters, and which part of each, whose gradients have one norm: an agent's own, and the central ones."""
    shared = [(p, slice(None)) for p in module.parameters() if len(p) != AGENTS or module.mode.joint_actor]
    own = [p for p in module.parameters() if not any(p is q for q, _ in shared)]
    return [group for group in (shared, *([(p, agent) for p in own] for agent in range(AGENTS))) if group]


@EVERY_MODE
@pytest.mark.parametrize("compiled", [True, False])
def test_clipped_adam_is_torchs_adam_on_gradients_clipped_per_agent_and_centrally(
    mode: TrainingMode, compiled: bool
) -> None:
    ours, theirs = make_module(mode), make_module(mode)
    adam, reference = (torch.optim.Adam(m.parameters(), lr=0.01, eps=1e-5) for m in (ours, theirs))
    steps = ClippedAdam((ours, adam), limit=0.5)
    steps.compiled = compiled
    for step in range(3):
        for module in (ours, theirs):
            drawn_gradients(module, step)
        assert steps.step() == 0
        for group in rows_clipped_together(theirs):
            gradients = [p.grad[part] for p, part in group]  # type: ignore[index]
            norm = torch.cat([g.flatten() for g in gradients]).norm()
            for g in gradients:
                g.mul_(min(1.0, float(0.5 / norm)))
        reference.step()
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-5)
        for name in ("exp_avg", "exp_avg_sq", "step"):
            torch.testing.assert_close(adam.state[mine][name], reference.state[other][name], atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("steps_before", [0, 2])
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_an_agent_without_finite_gradient_sits_out(steps_before: int, poison: float, compiled: bool) -> None:
    """Its weights and moments stay, those of the others move as if nothing had happened."""
    results = []
    for poisoned in (False, True):
        module = make_module(TrainingMode.DTDE)
        optimizer = torch.optim.Adam(module.parameters())
        steps = ClippedAdam((module, optimizer), limit=0.5)
        steps.compiled = compiled
        for step in range(steps_before + 1):
            drawn_gradients(module, step)
            if step == steps_before:
                before = [p.detach().clone() for p in module.parameters()]
                moments = [optimizer.state[p]["exp_avg"].clone() for p in module.parameters() if step]
                if poisoned:
                    next(module.critic.parameters()).grad[1, 0] = poison  # type: ignore[index]
            assert steps.step() == (poisoned and step == steps_before)
        results.append([p.detach() for p in module.parameters()])
    for k, (clean, broken) in enumerate(zip(*results, strict=True)):
        assert torch.equal(broken[1], before[k][1])
        assert torch.equal(broken[[0, 2, 3]], clean[[0, 2, 3]])
        assert not torch.equal(clean[1], before[k][1])
        if steps_before:
            moment = optimizer.state[list(module.parameters())[k]]["exp_avg"]
            assert torch.equal(moment[1], moments[k][1])


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


@pytest.mark.parametrize("count", [1, 3])
def test_initial_weights_are_orthogonal_for_each_network(count: int) -> None:
    stack = Stack.drawn(count, (9, 4, 4, 6), "tanh")
    orthogonal_(stack, last_gain=0.5)
    for gain, (weight, bias) in zip((2.0, 2.0, 0.25), stack.layers(), strict=True):
        tall = weight.detach() if weight.shape[1] >= weight.shape[2] else weight.detach().transpose(1, 2)
        identity = torch.eye(tall.shape[-1]).expand(count, -1, -1)
        torch.testing.assert_close(tall.transpose(1, 2) @ tall, gain * identity, atol=1e-5, rtol=0)
        assert not bias.detach().any()
        assert count == 1 or not torch.equal(weight[0], weight[1])


@EVERY_MODE
def test_standard_deviations_are_those_asked_for_and_depend_on_no_observation(mode: TrainingMode) -> None:
    module = make_module(mode)
    logits = module.actor(observations())
    mean, log_std = logits.detach().chunk(2, -1)
    assert not log_std.any()  # log 1.0
    assert 0 < float(mean.abs().max()) < 0.1, "exploration starts around the middle of every action"
