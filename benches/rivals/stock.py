"""RLlib's usual way, one module per agent in a MultiAgentEnv with its stock runner and learner, beside ours."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benches.workloads.inputs import SEED, number
from benches.workloads.training import EPISODES, STEPS, trainer

if TYPE_CHECKING:
    from benches.case import Params
    from market import RLTrainer


WRAPPER = "rllib-multi-agent-env-v0"
"""RLlib registers its environments under this name whenever it makes some; gymnasium warns of a name taken before."""


class Beside:
    """Our trainer and stock PPO on the same population and budget: env-steps, epochs, minibatch, networks, Adam."""

    def __init__(self, params: Params) -> None:
        self.ours: RLTrainer = trainer({"algorithm": "ppo", "mode": "dtde", "iterations": 1, **params})
        self.classic: Any = _stock(number(params, "agents"), self.ours.hyperparameters)


def _stock(agents: int, settings: Any) -> Any:
    """Stock PPO, built."""
    import gymnasium
    from ray.rllib.algorithms.ppo import PPO, PPOConfig

    from market import Scenario
    from market.envs.multi_agent import MarketMultiAgentEnv
    from market.rl.algorithms.run import surrogate
    from market.rl.rllib import RLlibAlgorithm, quiet_rllib

    class Stock(RLlibAlgorithm, PPO):  # type: ignore[misc]  # no Ray, as ours
        """RLlib's PPO."""

    config = PPOConfig(algo_class=Stock)
    scenario = Scenario.study(agents, SEED)
    config.environment(MarketMultiAgentEnv, env_config={name: getattr(scenario, name) for name in vars(scenario)})
    names = MarketMultiAgentEnv(scenario).possible_agents
    config.multi_agent(policies=set(names), policy_mapping_fn=lambda agent, *_, **__: agent)
    config.env_runners(num_env_runners=0, rollout_fragment_length=STEPS, batch_mode="complete_episodes")
    config.learners(num_learners=0)
    config.rl_module(
        model_config={
            "fcnet_hiddens": list(settings.hidden),
            "fcnet_activation": settings.activation,
            "head_fcnet_hiddens": [],
            "vf_share_layers": False,
        }
    )
    config.training(
        lr=settings.lr,
        gamma=settings.gamma,
        lambda_=settings.lambda_,
        **surrogate(settings),
        grad_clip=settings.grad_clip,
        minibatch_size=settings.minibatch,
        train_batch_size_per_learner=EPISODES * STEPS,
    )
    config.reporting(min_time_s_per_iteration=0)
    config.debugging(log_level="ERROR", log_sys_usage=False)
    gymnasium.registry.pop(WRAPPER, None)
    with quiet_rllib():
        return config.build_algo(use_copy=False)


def our_iteration(prepared: Beside, _: int) -> None:
    """One iteration of ours."""
    prepared.ours.train_iteration()


def classic_iteration(prepared: Beside, _: int) -> None:
    """One of RLlib's."""
    from market.rl.scopes import torch_threads

    with torch_threads(1):
        prepared.classic.train()


def close(prepared: Beside) -> None:
    """Stop both."""
    prepared.ours.close()
    prepared.classic.stop()
