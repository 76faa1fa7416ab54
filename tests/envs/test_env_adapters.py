"""The adapters to other interfaces: their own checkers pass, and each agrees with the vector environment to the bit."""

from __future__ import annotations

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from pettingzoo.test import parallel_api_test, parallel_seed_test

from market import MarketConfig, Scenario
from market.envs import (
    ENV_ID,
    MarketEnv,
    MarketMultiAgentEnv,
    MarketParallelEnv,
    MarketVectorEnv,
    check_market_env,
)
from market.envs.vector import AGENT_REWARDS

SEED, STEPS = 3, 6


def scenario(num_agents=4, **overrides):
    return Scenario.study(num_agents, max_steps=STEPS, **overrides)


ADAPTERS = {
    "vector": lambda: MarketVectorEnv(scenario(), num_envs=1),
    "two communities": lambda: MarketVectorEnv(scenario(), num_envs=2),
    "single": lambda: MarketEnv(scenario()),
    "pettingzoo": lambda: MarketParallelEnv(scenario()),
    "rllib": lambda: MarketMultiAgentEnv(scenario()),
    "make": lambda: gymnasium.make(ENV_ID, num_agents=4, max_steps=STEPS),
    "make_vec": lambda: gymnasium.make_vec(ENV_ID, num_envs=2, num_agents=4, max_steps=STEPS),
    "one agent": lambda: MarketParallelEnv(scenario(1)),
    "partners": lambda: MarketEnv(scenario(market_config=MarketConfig(enable_partner_preference=True))),
}


@pytest.mark.parametrize("name", ADAPTERS)
def test_adapter_passes_our_own_check(name):
    check_market_env(ADAPTERS[name]())


@pytest.mark.parametrize("name", ["single", "pettingzoo", "rllib"])
def test_adapter_agrees_with_the_vector_environment_to_the_last_bit(name):
    vector, env = ADAPTERS["vector"](), ADAPTERS[name]()
    vector.action_space.seed(1)
    by_agent = hasattr(env, "possible_agents")
    observation, _ = vector.reset(seed=SEED)
    other, _ = env.reset(seed=SEED)
    for _ in range(STEPS):
        seen = np.stack(list(other.values())) if by_agent else other
        np.testing.assert_array_equal(seen, observation[0])
        assert seen.dtype == observation.dtype
        action = vector.action_space.sample()
        observation, reward, terminated, _, info = vector.step(action)
        given = dict(zip(env.possible_agents, action[0], strict=True)) if by_agent else action[0]
        other, own, over, _, _ = env.step(given)
        if by_agent:
            np.testing.assert_array_equal(list(own.values()), info[AGENT_REWARDS][0])
            assert set(over.values()) == {bool(terminated[0])}
        else:
            assert (own, over) == (reward[0], terminated[0])
    assert env.market.ledger().head == vector.ledger().head


# --- the checkers of others


def test_gymnasium_accepts_the_single_environment():
    check_env(gymnasium.make(ENV_ID, num_agents=3).unwrapped)


def test_gymnasium_makes_vector_environments():
    native = gymnasium.make_vec("market.envs:LocalEnergyMarket-v0", num_envs=3, num_agents=2)
    copies = gymnasium.make_vec(ENV_ID, num_envs=3, num_agents=2, vectorization_mode="sync")
    assert isinstance(native.unwrapped, MarketVectorEnv)
    assert native.observation_space.shape == copies.observation_space.shape
    np.testing.assert_array_equal(native.reset(seed=5)[0][0], copies.reset(seed=5)[0][0])


def test_pettingzoo_accepts_the_parallel_environment(capsys):
    parallel_api_test(MarketParallelEnv(scenario(3)), num_cycles=20)
    parallel_seed_test(lambda: MarketParallelEnv(scenario(3)), num_cycles=20)
    assert "Passed" in capsys.readouterr().out


SCENARIOS = {
    "nothing": ({}, r"num_agents: got nothing; allowed: num_agents=5"),
    "both": ({"scenario": {"num_agents": 2}, "max_steps": 3}, r"scenario: got one and max_steps, too"),
    "text": ({"scenario": "study"}, r"scenario: got 'study'; allowed: a Scenario or a dictionary"),
    "typing error": ({"num_agents": 2, "max_stepz": 3}, r"max_stepz.*did you mean 'max_steps'"),
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_scenarios_that_cannot_be_read(name):
    arguments, message = SCENARIOS[name]
    with pytest.raises(ValueError, match=message):
        MarketEnv(**arguments)


# --- actions and ends


BAD_ACTIONS = {
    "unknown": ({"agnt_0003": np.zeros(4)}, r"got one of 'agnt_0003'; allowed: .*did you mean 'agent_0003'"),
    "missing": ({"agent_0000": np.zeros(4)}, r"got none of 'agent_0001'; allowed: one \[4\] of every agent"),
    "no dictionary": ([np.zeros(4)] * 4, r"actions: got \[array.*; allowed: a dictionary"),
}


@pytest.mark.parametrize("name", BAD_ACTIONS)
def test_actions_of_the_wrong_agents(name):
    env = MarketMultiAgentEnv(scenario())
    env.reset()
    actions, message = BAD_ACTIONS[name]
    with pytest.raises(ValueError, match=message):
        env.step(actions)


@pytest.mark.parametrize("kind", [MarketParallelEnv, MarketMultiAgentEnv])
@pytest.mark.parametrize(
    ("action", "got"),
    [
        (np.zeros(3), r"shape \[3\]; allowed: \[4\]"),
        (np.zeros((4, 1)), r"shape \[4, 1\]; allowed: \[4\]"),
        (np.full(4, np.inf), "inf at 0; allowed: finite"),
        (np.ma.masked_array(np.zeros(4), [0, 1, 0, 0]), "masked_array.*; allowed: finite"),
        (np.zeros(4, complex), "array.*; allowed: finite"),
        ("buy", "'buy'; allowed: finite"),
        (None, "None; allowed: finite"),
    ],
)
def test_the_agent_of_a_wrong_action_is_named(kind, action, got):
    env = kind(scenario(3))
    env.reset(seed=np.int64(1))
    actions = {agent: np.zeros(4) for agent in env.possible_agents} | {"agent_0001": action}
    with pytest.raises(ValueError, match=rf"^actions of 'agent_0001': got {got}[^\n]*$"):
        env.step(actions)


@pytest.mark.parametrize("name", ADAPTERS)
def test_seeds_of_numpy_are_seeds(name):
    env = ADAPTERS[name]()
    seen, same = (
        np.stack(list(each.values())) if isinstance(each, dict) else each
        for each in (env.reset(seed=np.int64(3))[0], env.reset(seed=3)[0])
    )
    np.testing.assert_array_equal(seen, same)
    for seed in (np.nan, np.inf, 1.5, True, np.timedelta64(3), -1, 10**5000, np.array([3])):
        with pytest.raises(ValueError, match=r"^seed: got [^\n]*; allowed: [^\n]*$"):
            env.reset(seed=seed)


@pytest.mark.parametrize("name", ["single", "pettingzoo", "rllib"])
def test_step_after_the_end(name):
    env = ADAPTERS[name]()
    env.reset()
    actions = np.zeros((4, 4)) if name == "single" else {agent: np.zeros(4) for agent in env.possible_agents}
    for _ in range(STEPS):
        env.step(actions)
    with pytest.raises(ValueError, match=r"after the last step; allowed: after reset\(\)"):
        env.step(actions)


@pytest.mark.slow  # builds one of RLlib's networks per agent
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # of ray and gymnasium among themselves
def test_stock_ppo_trains_on_the_rllib_environment():
    from ray.rllib.algorithms.ppo import PPOConfig

    from market.rl import ray_session

    agents = [agent.id for agent in scenario(2).agents]
    config = PPOConfig().environment(MarketMultiAgentEnv, env_config={"num_agents": 2, "max_steps": STEPS})
    config.multi_agent(policies=set(agents), policy_mapping_fn=lambda agent, episode, **_: agent)
    config.env_runners(num_env_runners=0, num_envs_per_env_runner=2, rollout_fragment_length=STEPS)
    config.learners(num_learners=0)
    config.reporting(min_time_s_per_iteration=0)
    config.training(train_batch_size_per_learner=4 * STEPS, minibatch_size=2 * STEPS, num_epochs=1)
    config.debugging(log_level="ERROR", log_sys_usage=False)
    with ray_session():
        algorithm = config.build_algo()
        before = algorithm.learner_group.get_weights()
        result = algorithm.train()
        after = algorithm.learner_group.get_weights()
        algorithm.stop()
    assert result["env_runners"]["num_env_steps_sampled"] == 4 * STEPS
    assert np.isfinite(result["env_runners"]["episode_return_mean"])
    assert set(result["env_runners"]["agent_episode_returns_mean"]) == set(agents)
    for agent in agents:
        assert any((before[agent][name] != after[agent][name]).any() for name in before[agent]), agent
