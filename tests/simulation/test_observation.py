"""What agents see, against a slow twin."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

import oracle_observation
from market.simulation.dynamics import observe
from strategies import actions, play, scenarios


@settings(max_examples=max(1, settings.default.max_examples // 2))
@given(scenarios(), st.integers(0, 2**32))
def test_observations_are_those_of_the_slow_twin(scenario, seed):
    params = scenario.params
    for before, after, _, _ in play(params, [3, 0], actions(params, 2, seed)):
        for state in (before, after):
            seen = observe(params, state)
            np.testing.assert_array_equal(seen, oracle_observation.observation(params, state, seen.shape[2]))
