"""Stacked networks against single ones in torch, and Adam with clipping against torch's own."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from market.rl.learning.gradients import ClippedAdam
from market.rl.learning.surrogate import clipped_gain
from market.rl.modes import TrainingMode
from market.rl.networks.distributions import AgentGaussian
from market.rl.networks.modules import PopulationModule
from market.rl.networks.stacked import Stack, orthogonal_
from market.rl.scopes import Stream, seeded, torch_threads
from rl_support import AGENTS, EVERY_MODE, make_module


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


@given(st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4), st.booleans())
def test_inputs_in_two_parts_are_those_side_by_side(inputs: int, copies: int, own: int, more: int, both: bool) -> None:
    """And so are the gradients, which reach the first part by torch's way alone."""
    with seeded(5, Stream.BUILD, own):
        stack = Stack.drawn(inputs * copies, (own + more, 3, 2), "tanh")
        x, extra = torch.randn(inputs, 5, own, requires_grad=both), torch.randn(inputs, 5, more, requires_grad=True)
    wanted = (extra, stack.flat, *([x] if both else []))
    outs = stack(x, extra), stack(torch.cat((x, extra), -1))
    torch.testing.assert_close(*outs, atol=1e-5, rtol=1e-5)
    found = [torch.autograd.grad(out.square().sum(), wanted) for out in outs]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(stack(x, extra), outs[0])


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


@pytest.mark.parametrize("clip", [0.2, 1.5])
@pytest.mark.parametrize("lead", [(7,), (3, 5)])
def test_the_compiled_surrogate_and_its_gradients_are_torchs(lead: tuple[int, ...], clip: float) -> None:
    """Where all rows have one standard deviation it is compiled, where each has its own it is torch's."""
    random = torch.Generator().manual_seed(0)
    action, mean = (0.3 * torch.randn(*lead, AGENTS, 3, generator=random) for _ in range(2))
    log_std, advantage = torch.randn(AGENTS, 3, generator=random), torch.randn(*lead, AGENTS, generator=random)
    old = AgentGaussian(mean, log_std).logp(action) + torch.randn(*lead, AGENTS, generator=random)
    weights, found = torch.randn(*lead, AGENTS, generator=random), []
    for of_rows in (log_std, log_std.expand_as(mean)):
        own, leaf = mean.clone().requires_grad_(), of_rows.clone().requires_grad_()
        gain = clipped_gain(AgentGaussian(own, leaf), action, old, advantage, clip).reshape(*lead, AGENTS)
        by_mean, by_log_std = torch.autograd.grad((gain * weights).sum(), (own, leaf))
        found.append((gain, by_mean, by_log_std.reshape(-1, AGENTS, 3).sum(0)))
    for compiled, torchs in zip(*found, strict=True):
        torch.testing.assert_close(compiled, torchs, rtol=1e-4, atol=1e-4)
    assert 0 < int((found[0][1] == 0.0).sum()) < mean.numel(), "some ratios are to be cut"


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
    central = {"actor": module.mode.joint_actor, "critic": module.mode.central_critic}
    parts = [(p, central[name.partition(".")[0]]) for name, p in module.named_parameters()]
    shared, own = (
        [(p, slice(None)) for p, is_central in parts if is_central],
        [p for p, is_central in parts if not is_central],
    )
    return [group for group in (shared, *([(p, agent) for p in own] for agent in range(AGENTS))) if group]


@EVERY_MODE
@pytest.mark.parametrize("compiled", [True, False])
def test_clipped_adam_is_torchs_adam_on_gradients_clipped_per_agent_and_centrally(
    mode: TrainingMode, compiled: bool
) -> None:
    ours, theirs = make_module(mode), make_module(mode)
    reference = torch.optim.Adam(theirs.parameters(), lr=0.01, eps=1e-5)
    steps = ClippedAdam((ours, 0.01), limit=0.5, epsilon=1e-5)
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
    moments = {id(p): both for group in steps.groups for p, both in zip(group.parameters, group.moments, strict=True)}
    assert int(steps.taken) == 3
    for mine, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine, other, atol=1e-6, rtol=1e-5)
        for moment, name in zip(moments[id(mine)], ("exp_avg", "exp_avg_sq"), strict=True):
            torch.testing.assert_close(moment, reference.state[other][name], atol=1e-7, rtol=1e-5)


@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize("steps_before", [0, 2])
@pytest.mark.parametrize("poison", [float("nan"), float("inf")])
def test_an_agent_without_finite_gradient_sits_out(steps_before: int, poison: float, compiled: bool) -> None:
    """Its weights and moments stay, those of the others move as if nothing had happened."""
    results = []
    for poisoned in (False, True):
        module = make_module(TrainingMode.DTDE)
        steps = ClippedAdam((module, 1e-3), limit=0.5, epsilon=1e-8)
        steps.compiled = compiled
        for step in range(steps_before + 1):
            drawn_gradients(module, step)
            if step == steps_before:
                before = [p.detach().clone() for p in module.parameters()]
                moments = [x.clone() for group in steps.groups for x in group.moments]
                if poisoned:
                    next(module.critic.parameters()).grad[1, 0] = poison  # type: ignore[index]
            assert steps.step() == (poisoned and step == steps_before)
        results.append([p.detach() for p in module.parameters()])
    for old, new in zip(moments, (x for group in steps.groups for x in group.moments), strict=True):
        assert torch.equal(new[:, 1], old[:, 1])
    for k, (clean, broken) in enumerate(zip(*results, strict=True)):
        assert torch.equal(broken[1], before[k][1])
        assert torch.equal(broken[[0, 2, 3]], clean[[0, 2, 3]])
        assert not torch.equal(clean[1], before[k][1])
