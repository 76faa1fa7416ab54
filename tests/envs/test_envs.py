"""The vector environment: interface, episodes in lockstep, numbering, rewards, and bad actions."""

from __future__ import annotations

import numpy as np
import pytest

from market import MarketConfig, Scenario
from market.envs import MarketVectorEnv
from market.envs.vector import AGENT_REWARDS, EPISODES_OF_A_SEED
from market.simulation.dynamics import initial, observe, step, team_reward


def make(num_agents=4, num_envs=3, **overrides):
    return MarketVectorEnv(Scenario.study(num_agents, **overrides), num_envs)


def actions(env, number):
    env.action_space.seed(number)
    return env.action_space.sample()


def test_observations_and_actions_fit_their_spaces():
    env = make()
    observation, info = env.reset(seed=0)
    assert info == {}
    for number in range(24):
        assert env.observation_space.contains(observation)
        observation, reward, _, _, info = env.step(actions(env, number))
        assert reward.shape == (3,)
        assert info[AGENT_REWARDS].shape == (3, 4)


@pytest.mark.parametrize("preference", [False, True])
def test_observation_size_does_not_grow_with_agents(preference):
    config = MarketConfig(enable_partner_preference=preference)
    sizes = {make(n, 1, market_config=config).single_observation_space.shape[1] for n in (1, 5, 60)}
    assert sizes == {42 + 8 * preference}


def test_an_episode_lasts_all_its_steps_and_the_next_begins():
    env = make()
    first, _ = env.reset(seed=0)
    for number in range(24):
        observation, _, terminated, truncated, _ = env.step(actions(env, number))
        assert terminated.all() == terminated.any() == (number == 23)
        assert not truncated.any()
    assert len(env.history().cost) == 24
    observation, reward, terminated, _, info = env.step(actions(env, 24))
    assert not terminated.any()
    assert not reward.any()
    assert not info[AGENT_REWARDS].any()
    assert (observation != first).any()
    np.testing.assert_array_equal(env.start.episode, [3, 4, 5])


def test_it_is_the_simulation():
    env = make()
    observation, _ = env.reset(seed=2)
    params = env.params
    state = initial(params, 2 * EPISODES_OF_A_SEED + np.arange(3))
    np.testing.assert_array_equal(observation, observe(params, state).astype(np.float32))
    action = actions(env, 1)
    observation, reward, *_, info = env.step(action)
    state, expected, record = step(params, state, action.astype(float))
    np.testing.assert_array_equal(observation, observe(params, state).astype(np.float32))
    np.testing.assert_array_equal(info[AGENT_REWARDS], expected)
    np.testing.assert_array_equal(reward, team_reward(params, record))


def test_same_seed_same_episodes_other_seed_others():
    env, again = make(), make()
    np.testing.assert_array_equal(env.reset(seed=1)[0], again.reset(seed=1)[0])
    assert (env.reset(seed=2)[0] != again.reset(seed=3)[0]).any()


def test_an_episode_does_not_depend_on_how_many_there_are():
    one, many = make(num_envs=1), make(num_envs=5)
    first, _ = one.reset(seed=3)
    all_first, _ = many.reset(seed=3)
    np.testing.assert_array_equal(first[0], all_first[0])
    np.testing.assert_array_equal(one.reset()[0][0], all_first[1])


def test_copies_without_a_seed_play_different_episodes():
    one, other = make(), make()
    assert (one.reset()[0] != other.reset()[0]).any()


def test_a_seed_out_of_range():
    with pytest.raises(ValueError, match=r"seed: got 8796093022208; allowed: 0 to 8796093022207"):
        make().reset(seed=2**43)


def test_fixed_tariffs_when_they_are_not_redrawn():
    env = make(enable_reset_dso_profiles=False)
    env.reset(seed=0)
    assert (env.start.utility_price == env.start.utility_price[0]).all()
    redrawn = make()
    redrawn.reset(seed=0)
    assert (redrawn.start.utility_price[0] != redrawn.start.utility_price[1]).any()


@pytest.mark.parametrize("shape", [(3, 4, 3), (4, 4), (2, 4, 4)])
def test_actions_of_the_wrong_shape(shape):
    env = make()
    env.reset()
    with pytest.raises(ValueError, match=r"actions: got shape .*; allowed: \[3, 4, 4\]"):
        env.step(np.zeros(shape))


def test_actions_that_are_not_numbers():
    env = make()
    env.reset()
    with pytest.raises(ValueError, match="finite"):
        env.step(np.full((3, 4, 4), np.nan))


def test_step_before_reset():
    with pytest.raises(ValueError, match="after reset"):
        make().step(np.zeros((3, 4, 4)))


def test_no_environments():
    with pytest.raises(ValueError, match="num_envs: got 0; allowed: a whole number >= 1"):
        make(num_envs=0)


@pytest.mark.parametrize("episode", [-1, 3, 5, 1.5, None, True, 2**70])
def test_an_episode_that_there_is_not(episode):
    env, range_named = make(num_agents=2), r"episode: got .*; allowed: .*0 to 2"
    env.reset(seed=0)
    assert env.ledger(2).length == 0
    with pytest.raises(ValueError, match=range_named):
        env.ledger(episode)
    env.step(actions(env, 0))
    for call in (env.ledger, env._state.last.trades):
        call(np.int64(2))
        with pytest.raises(ValueError, match=range_named):
            call(episode)


def test_the_ledger_of_an_episode_holds_every_trade_of_every_step():
    env = make(num_agents=5)
    env.reset(seed=0)
    for number in range(3):
        env.step(actions(env, number))
    chains = [env.ledger(episode) for episode in range(3)]
    assert all(chain.length == 3 and chain.verify(chain.head, 3) for chain in chains)
    assert len({chain.head for chain in chains}) == 3
    history = env.history()
    for episode, chain in enumerate(chains):
        for number, block in enumerate(chain.blocks):
            trades = block.trades
            p2p = trades.stage < 3
            assert trades.quantity[p2p].sum() == pytest.approx(history.bought_p2p[number, episode].sum())
            bought = np.bincount(trades.buyer[trades.buyer >= 0], trades.quantity[trades.buyer >= 0], 5)
            expected = history.bought_p2p[number, episode] + history.bought_dso[number, episode]
            np.testing.assert_allclose(bought, expected, atol=1e-9)
