"""A stacked SAC update is the update of separate stock RLlib SAC learners."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
import torch
from ray.rllib.algorithms.sac import SACConfig
from ray.rllib.algorithms.sac.sac_catalog import SACCatalog
from ray.rllib.core import DEFAULT_MODULE_ID
from ray.rllib.core.columns import Columns
from ray.rllib.core.models.base import ENCODER_OUT
from ray.rllib.core.models.configs import MLPEncoderConfig
from ray.rllib.core.rl_module.rl_module import RLModuleSpec
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from torch import Tensor, nn

from market.rl import SACHyperparameters
from market.rl.algorithms.sac import PopulationSACLearner
from market.rl.rllib import quiet_rllib, without_object_store
from rl_support import ACTIONS, Targets, TargetTrainer

SETTINGS = SACHyperparameters(
    grad_clip=0.3,
    lr=3e-3,
    critic_lr=2e-3,
    temperature_lr=5e-3,
    tau=0.1,
    temperature=0.2,
    updates=8,
    minibatch=24,
    hidden=(32, 16),
    activation="tanh",
)


class ConcatenatingEncoder(nn.Module):
    """RLlib's MLP encoder on the observation and the action side by side."""

    def __init__(self, encoder: Any) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, batch: dict[str, Tensor]) -> dict[str, Tensor]:
        joined = torch.cat((batch[Columns.OBS], batch[Columns.ACTIONS]), -1)
        return {ENCODER_OUT: self.encoder({Columns.OBS: joined})[ENCODER_OUT]}


class AuthorsCatalog(SACCatalog):
    """RLlib's catalog with the critic of the paper; RLlib's own has a network each for observation and action first."""

    def _build_qf_encoder_continuous(self, framework: str) -> Any:
        settings = self._model_config_dict
        widths = settings["fcnet_hiddens"]
        config = MLPEncoderConfig(
            input_dims=(self.observation_space.shape[0] + self.action_space.shape[0],),
            hidden_layer_dims=widths[:-1],
            hidden_layer_activation=settings["fcnet_activation"],
            output_layer_dim=widths[-1],
            output_layer_activation=settings["fcnet_activation"],
        )
        return ConcatenatingEncoder(config.build(framework=framework))


def stock_learner(task: Targets, trainer: TargetTrainer) -> Any:
    """RLlib's SAC learner of one agent: its module, loss, four Adams, clipping and target updates."""
    config = SACConfig()
    config.environment(
        observation_space=gym.spaces.Box(-10.0, 10.0, (task.num_observations,), np.float32),
        action_space=gym.spaces.Box(-1.0, 1.0, (ACTIONS,), np.float32),
    )
    config.rl_module(
        rl_module_spec=RLModuleSpec(
            catalog_class=AuthorsCatalog,
            model_config={
                "fcnet_hiddens": list(SETTINGS.hidden),
                "fcnet_activation": SETTINGS.activation,
                "head_fcnet_hiddens": [],
                "twin_q": True,
            },
        )
    )
    ours = trainer._algorithm.config
    names = "gamma actor_lr critic_lr alpha_lr tau grad_clip"
    config.training(**{name: getattr(ours, name) for name in names.split()}, initial_alpha=SETTINGS.temperature)
    return config.build_learner(spaces={DEFAULT_MODULE_ID: (config.observation_space, config.action_space)})


def linears(*parts: nn.Module) -> Iterator[tuple[Tensor, Tensor]]:
    """Weight [out, in] and bias [out] of each layer."""
    for part in parts:
        for layer in part.modules():
            if isinstance(layer, nn.Linear):
                yield layer.weight, layer.bias


def paired(stock: Any, ours: Any, agent: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Every parameter of the stock module, and ours of this agent in the same shape; the temperature is not one."""
    networks = [(ours.actor.stack, agent, (stock.pi_encoder, stock.pi))]
    for prefix, critic in (("", ours.critic), ("target_", ours.target_critic)):
        for twin, name in enumerate(("qf", "qf_twin")):
            parts = (getattr(stock, f"{prefix}{name}_encoder"), getattr(stock, f"{prefix}{name}"))
            networks.append((critic.twins, twin * critic.owners + agent, parts))
    for stack, row, parts in networks:
        for (their_weight, their_bias), (weight, bias) in zip(linears(*parts), stack.layers(), strict=True):
            yield their_weight, weight[row].T
            yield their_bias, bias[row, 0]


@pytest.mark.parametrize(("mode", "agents"), [("dtde", 3), ("ctde", 1), ("ctce", 1)])
def test_stacked_updates_equal_stock_learners(mode: str, agents: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """DTDE at any N, and every mode at N = 1, where all are single-agent SAC: same data, noise and minibatches.

    Several iterations, so that targets, temperatures, Adam's moments and the buffer's old episodes count.
    """
    task = Targets(agents, max_steps=8)
    noise: list[Tensor] = []
    batches: list[dict[str, Tensor]] = []
    draw = torch.randn
    with TargetTrainer(task, "sac", mode, 1, episodes_per_iteration=6, hyperparameters=SETTINGS) as trainer:
        learner = trainer._algorithm.learner_group._learner
        assert isinstance(learner, PopulationSACLearner)
        ours = learner.population
        with quiet_rllib(), without_object_store():
            stocks = [stock_learner(task, trainer) for _ in range(agents)]
        modules = [stock.module[DEFAULT_MODULE_ID] for stock in stocks]
        with torch.no_grad():
            for agent, module in enumerate(modules):
                for theirs, mine in paired(module, ours, agent):
                    theirs.copy_(mine)
        before = [mine.detach().clone() for _, mine in paired(modules[0], ours, 0)]

        def recorded(*shape: int, **kwargs: Any) -> Tensor:
            noise.append(draw(*shape, **kwargs))
            return noise[-1]

        replay = learner.replay.sample

        def watched(rows: int) -> dict[str, Tensor]:
            batches.append(replay(rows))
            return batches[-1]

        monkeypatch.setattr(learner.replay, "sample", watched)
        for _ in range(3):
            episodes = trainer._algorithm.env_runner.sample()
            with monkeypatch.context() as patch:
                patch.setattr(torch, "randn", recorded)
                learner.update(episodes=episodes, timesteps={})
        assert len(noise) == 2 * len(batches) == 2 * 3 * SETTINGS.updates
        for agent, stock in enumerate(stocks):
            own = iter([x[:, agent] for x in noise])
            with monkeypatch.context() as patch:
                gaussian = torch.distributions.Normal

                def rsample(self: Any, shape: Any = (), own: Any = own) -> Tensor:
                    return self.loc + self.scale * next(own)

                patch.setattr(gaussian, "rsample", rsample)
                patch.setattr(gaussian, "sample", lambda self, shape=(): self.rsample().detach())
                for k, batch in enumerate(batches):
                    mine = {key: x[:, agent] if x.dim() > 1 else x for key, x in batch.items() if x.dim() > 1 or agents}
                    ones = torch.ones(len(batch[Columns.OBS]))
                    rows = SampleBatch({**mine, "weights": ones, "n_step": ones})
                    stock.update(
                        batch=MultiAgentBatch({DEFAULT_MODULE_ID: rows}, env_steps=len(ones)),
                        timesteps={"num_env_steps_sampled_lifetime": k + 1},
                    )
            theirs = stock.curr_log_alpha[DEFAULT_MODULE_ID].item()
            assert ours.temperature.log_alpha[agent].item() == pytest.approx(theirs, abs=1e-5)
            assert abs(theirs - np.log(SETTINGS.temperature)) > 1e-2
        for agent, module in enumerate(modules):
            for theirs, mine in paired(module, ours, agent):
                assert float((theirs - mine).detach().abs().max()) <= 1e-5
        for old, (_, new) in zip(before, paired(modules[0], ours, 0), strict=True):
            assert float((new - old).detach().abs().max()) > 1e-3, "hardly moved: the test shows too little"
