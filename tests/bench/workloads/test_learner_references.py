"""What a learner's update is compared with: its matrix products alone, and XLA's update in a process of its own."""

from __future__ import annotations

import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from benches.case import Unsupported
from benches.cases import CASES
from benches.rivals import xla
from benches.rivals.bare import Pair, bare_update, close_pair, products_of, ready
from market.rl.modes import TrainingMode

AGENTS = 3
INSTALLED = xla.PYTHON.exists()

OBS, ACT, WIDTH = 42, 4, 64
STEPS, ROWS, ALL_ROWS = 20, 240, 480
"""Of the defaults: 10 epochs of 20 episodes of 24 steps, 240 rows at a time."""
VALUED = 500
"""Rows that have a value before the first step: those, and one after each episode."""


@pytest.fixture(scope="module")
def pair():
    """Building one takes longer than the tests do."""
    prepared = Pair({"algorithm": "ppo", "mode": "dtde", "agents": AGENTS})
    yield prepared
    prepared.trainer.close()


def flops(product) -> float:
    """Additions and multiplications of a product of two matrices, or of two stacks."""
    (left, _), (right, _) = product
    return 2.0 * np.prod(left) * right[-1]


def network_flops(fan_in: int, out: int) -> float:
    """All gradient steps of one network: forward, gradients of weights, and of all inputs but the first."""
    first, rest = fan_in * WIDTH, WIDTH * WIDTH + WIDTH * out
    return 2.0 * STEPS * ROWS * (2 * first + 3 * rest)


@pytest.mark.parametrize("mode", TrainingMode)
def test_the_products_are_those_of_the_defaults(mode, pair):
    """Actor and critic in every gradient step, and the values of the whole batch before the first."""
    actors, critics = (AGENTS if mode.value in modes else 1 for modes in (("ctde", "dtde"), ("dtde",)))
    read, acted = OBS * AGENTS // actors, ACT * AGENTS // actors
    valued = OBS * AGENTS // critics
    expected = actors * network_flops(read, acted) + critics * network_flops(valued, 1)
    expected += 2.0 * critics * VALUED * (valued * WIDTH + WIDTH * WIDTH + WIDTH)
    prepared = pair if mode.value == "dtde" else Pair({"algorithm": "ppo", "mode": mode.value, "agents": AGENTS})
    found = products_of(lambda: bare_update(prepared, 0))
    assert sum(map(flops, found)) == expected
    if prepared is not pair:
        close_pair(prepared)


class Seen(TorchDispatchMode):
    """The names of all that torch is asked for."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, function, _, arguments=(), options=None):
        self.names.add(str(function))
        return function(*arguments, **(options or {}))


def test_the_products_are_repeated_and_nothing_else():
    """Forward and backward, stacked and not, transposed as they were."""
    layer, bias = torch.randn(5, 7, requires_grad=True), torch.zeros(3, 1, 2, requires_grad=True)
    stacked = torch.randn(3, 7, 2, requires_grad=True)

    def update():
        hidden = torch.nn.functional.linear(torch.randn(4, 7), layer).tanh() @ layer
        torch.baddbmm(bias, hidden.expand(3, 4, 7), stacked).square().sum().backward()

    found = products_of(update)
    assert list(map(flops, found)) == [2.0 * 4 * 7 * 5] * 2 + [2.0 * 3 * 4 * 7 * 2] * 3 + [2.0 * 4 * 7 * 5] * 3
    again = ready(found)
    assert products_of(again) == found
    with Seen() as seen:
        again()
    assert seen.names == {"aten.mm.out", "aten.bmm.out"}


def test_without_jax_or_for_another_algorithm_there_is_no_xla(monkeypatch, tmp_path, pair):
    reference = CASES["train/learner"].references["xla"]
    monkeypatch.setattr(xla, "PYTHON", tmp_path / "python")
    with pytest.raises(Unsupported, match=r"jax is not installed; make .venv-jax/.ready"):
        reference(pair, 0)
    other = Pair.__new__(Pair)
    other.bare = None
    with pytest.raises(Unsupported, match="PPO's"):
        reference(other, 0)


SERVES = """
import numpy, sys
given = dict(numpy.load(sys.argv[1]))
print("ready", flush=True)
for line in sys.stdin:
    if line != "update\\n":
        numpy.savez(line.strip(), **given)
    print("0.25" if line == "update\\n" else line.strip(), flush=True)
"""


@pytest.fixture
def serving(monkeypatch, tmp_path):
    """A script to run in place of jax's, by this Python."""

    def serve(source):
        script = tmp_path / "serves.py"
        script.write_text(source)
        monkeypatch.setattr(xla, "PYTHON", Path(sys.executable))
        monkeypatch.setattr(xla, "SCRIPT", script)

    return serve


def test_jax_gets_the_weights_the_batch_and_the_rows_of_the_bare_loop(serving, pair):
    serving(SERVES)
    assert CASES["train/learner"].references["xla"](pair, 0) == 0.25
    beside = vars(pair).pop("xla")
    given = beside.weights()
    for name, x in xla.named_weights(pair.bare.module).items():
        np.testing.assert_array_equal(given[f"weight:{name}"], x.detach().numpy())
    assert given["rows"].shape == (STEPS, ROWS)
    assert given["column:obs"].shape == (ALL_ROWS, AGENTS, OBS)
    assert given["setting:lr"] == np.float32(pair.bare.settings.lr)
    beside.close()
    assert beside._process.returncode == 0


def test_a_process_that_ends_is_one_line(serving, pair):
    serving("raise SystemExit(3)")
    with pytest.raises(RuntimeError, match=r"^jax's process: exit status 3$"):
        _ = pair.xla


@pytest.mark.slow  # compiles
@pytest.mark.skipif(not INSTALLED, reason="jax is not installed; make .venv-jax/.ready")
@pytest.mark.parametrize(("mode", "clip"), [("ctce", 10.0), ("ctde", 10.0), ("dtde", 10.0), ("dtde", 0.2)])
def test_xla_learns_the_same_weights_as_the_bare_loop(mode, clip):
    """Where the clip is narrow, rounding decides now and then on which side of it a ratio is: half the owners agree."""
    prepared = Pair({"algorithm": "ppo", "mode": mode, "agents": 4})
    prepared.bare.settings = replace(prepared.bare.settings, clip=clip)
    before = {name: x.detach().clone() for name, x in xla.named_weights(prepared.bare.module).items()}
    with closing(prepared.trainer), closing(prepared.xla) as beside:
        assert beside.update() > 0.0
        bare_update(prepared, 0)
        found = beside.weights()
    for name, weights in xla.named_weights(prepared.bare.module).items():
        now = weights.detach()
        rows = len(now) if ".own." in name else 1
        moved = (now - before[name]).reshape(rows, -1).norm(dim=1)
        apart = ((torch.from_numpy(found[name]) - now).reshape(rows, -1).norm(dim=1) / moved).sort().values
        assert moved.min() > 0.0
        assert apart[-1 if clip > 1.0 else rows // 2 - 1] <= 1e-3, name
