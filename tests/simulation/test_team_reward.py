"""The reward of a community."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from market.simulation.dynamics import REWARD_LIMIT, initial, step, team_reward
from strategies import scenarios

SEEDS = st.integers(0, 2**32)


@given(scenarios(sizes=(9, 6, 2)), SEEDS, st.floats(0.1, 10.0), st.floats(-5.0, 5.0))
def test_a_team_reward_is_welfare_whoever_gets_the_money(scenario, seed, unit, gift):
    """The order of agents, a payment between two of them and the currency do not change it; a gain for one does."""
    params, episodes = scenario.params, np.arange(2)
    random = np.random.default_rng(seed)
    state = initial(params, episodes)
    _, _, record = step(params, state, random.uniform(-1, 1, (2, params.num_agents, 4)))
    expected = team_reward(params, record)
    savings, scale = record.saving, params.reward_scale

    def reward(saving: np.ndarray, scale: np.ndarray = scale) -> np.ndarray:
        twin = replace(params)
        vars(twin)["reward_scale"] = scale
        return team_reward(twin, replace(record, saving=saving))

    mixed = random.permutation(params.num_agents)
    np.testing.assert_allclose(reward(savings[:, mixed], scale[mixed]), expected, atol=1e-9)
    np.testing.assert_allclose(reward(unit * savings, unit * scale), expected, atol=1e-9)
    moved = savings.copy()
    moved[:, 0] += gift
    moved[:, -1] -= gift
    np.testing.assert_allclose(reward(moved), expected, atol=1e-9)
    gained = savings + np.eye(params.num_agents)[0] * 0.01 * scale.sum()
    inside = np.abs(savings.sum(1) / scale.sum()) < REWARD_LIMIT - 1
    np.testing.assert_allclose((reward(gained) - expected)[inside], 0.01, atol=1e-9)
