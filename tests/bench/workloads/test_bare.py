"""The bare loops are the learners' updates: the same weights after several of them."""

from __future__ import annotations

import numba
import pytest

from benches.rivals.bare import BARE, Pair
from benches.workloads.inputs import SEED
from market.rl.hyperparameters import RLAlgorithm
from market.rl.modes import TrainingMode
from market.rl.networks.compiled import StackFunction
from market.rl.scopes import Stream, seeded

FIRST = {"ppo": 1e-4, "appo": 1e-4, "sac": 1e-2}
"""Largest difference after one update, in moved distances. SAC's Adam turns gradients of rounding's size into steps."""


def test_every_algorithm_has_a_bare_loop() -> None:
    assert set(BARE) == {algorithm.value for algorithm in RLAlgorithm}


@pytest.mark.skipif(numba.config.DISABLE_JIT, reason="kernels as Python round otherwise, and Adam makes that large")
@pytest.mark.parametrize("mode", TrainingMode)
@pytest.mark.parametrize("algorithm", BARE)
def test_bare_loop_learns_the_same_weights(monkeypatch: pytest.MonkeyPatch, algorithm: str, mode: TrainingMode) -> None:
    """The policy that sampled stays as it was, so that ratios and importance weights matter.

    The loop calls no compiled networks: those may be made faster, and the loop is to stay as it is.
    """
    prepared = Pair({"algorithm": algorithm, "mode": mode.value, "agents": 4})
    with prepared.trainer:
        bare = prepared.bare
        before = {name: p.detach().clone() for name, p in bare.module.state_dict().items()}
        for close in (FIRST[algorithm], 5e-2):  # what side of the clip a ratio is on is rounding's choice now and then
            position = bare.learner._weights_seq_no, bare.learner._learner_index
            bare.learn(prepared.episodes)
            with seeded(SEED, Stream.LEARN, *position), monkeypatch.context() as patched:
                patched.setattr(StackFunction, "apply", None)
                bare.update(prepared.episodes)
            ours = bare.learner.population.state_dict()
            assert ours.keys() == before.keys()
            for name, p in bare.module.state_dict().items():
                moved = float((ours[name] - before[name]).detach().norm())
                assert float((ours[name] - p).detach().norm()) <= close * moved + 1e-6, name
        assert max(float((ours[name] - p).abs().max().detach()) for name, p in before.items()) > 1e-2
