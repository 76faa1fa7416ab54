"""The adapters to other interfaces: their own checkers pass, and each agrees with the vector environment to the bit."""

from __future__ import annotations

import numpy as np
import pytest

from market import Scenario
from market.envs import MarketMultiAgentEnv, MarketVectorEnv
from market.envs.vector import AGENT_REWARDS

SEED, STEPS = 3, 6


def scenario(num_agents=4, **overrides):
    return Scenario.study(num_agents, max_steps=STEPS, **overrides)


def walk():
    """Actions, observations, own rewards and ends of one episode of the vector environment."""
    env = MarketVectorEnv(scenario())
    env.action_space.seed(1)
    observation, _ = env.reset(seed=SEED)
    actions, observations, rewards, over = [], [observation[0]], [], []
    for _ in range(STEPS):
        actions.append(env.action_space.sample()[0])
        observation, _, terminated, _, info = env.step(actions[-1][None])
        observations.append(observation[0])
        rewards.append(info[AGENT_REWARDS][0])
        over.append(bool(terminated[0]))
    return actions, observations, rewards, over


def test_rllib_agrees_with_the_vector_environment():
    env = MarketMultiAgentEnv({"num_agents": 4, "max_steps": STEPS})
    actions, observations, rewards, over = walk()
    observation, _ = env.reset(seed=SEED)
    assert list(observation) == env.agents == [f"agent_{i:04d}" for i in range(4)]
    for step in range(STEPS):
        np.testing.assert_array_equal(np.stack(list(observation.values())), observations[step])
        for agent, seen in observation.items():
            assert env.get_observation_space(agent).contains(seen)
        observation, reward, terminated, truncated, _ = env.step(dict(zip(env.agents, actions[step], strict=True)))
        np.testing.assert_array_equal(list(reward.values()), rewards[step])
        assert (terminated["__all__"], truncated["__all__"]) == (over[step], False)


BAD_ACTIONS = {
    "unknown": ({"agnt_0003": np.zeros(4)}, r"got one of 'agnt_0003'; allowed: .*did you mean 'agent_0003'"),
    "missing": ({"agent_0000": np.zeros(4)}, r"got none of 'agent_0001'; allowed: one \[4\] of every agent"),
}


@pytest.mark.parametrize("name", BAD_ACTIONS)
def test_actions_of_the_wrong_agents(name):
    env = MarketMultiAgentEnv(scenario())
    env.reset()
    actions, message = BAD_ACTIONS[name]
    with pytest.raises(ValueError, match=message):
        env.step(actions)


def test_step_after_the_end():
    env = MarketMultiAgentEnv(scenario())
    env.reset()
    actions = {agent: np.zeros(4) for agent in env.agents}
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
