"""The RLModules of a population: one per algorithm, for all modes, whose fields decide which networks it is made of.

Shapes: B rows, N agents, V values per step (1 with a central critic, else N).
"""

from __future__ import annotations

import copy
import math
from typing import Any

import torch
from ray.rllib.core.columns import Columns
from ray.rllib.core.rl_module.apis import InferenceOnlyAPI
from ray.rllib.core.rl_module.torch import TorchRLModule
from torch import Tensor

from market.rl.modes import MODES, Mode
from market.rl.networks.distributions import AgentGaussian, SquashedGaussian
from market.rl.networks.stacked import (
    Actor,
    CentralMLP,
    GaussianActor,
    Stack,
    StackedMLP,
    Temperature,
    TwinCritic,
    orthogonal_,
)
from market.support.phases import phase

MEAN, LOG_STD = "mean", "log_std"
"""What a training pass of PPO and APPO gives, beside the values."""
LOGP, Q_PLAYED, Q_RESAMPLED, Q_TARGET, LOGP_NEXT = "logp", "q_played", "q_resampled", "q_target", "logp_next"
"""What a training pass gives: see `PopulationSACModule._forward_train`."""


class PopulationActor(TorchRLModule, InferenceOnlyAPI):
    """Actor of N agents with observations [N, obs] and actions [N, act]; modules add what their algorithm trains.

    model_config: {"mode": a TrainingMode, "hidden": layer widths, "activation": name, "initial_std": of actions}.
    Initialisation and standard deviations are those that Andrychowicz et al. 2021, arXiv:2006.05990, recommend.
    distribution: of each agent's actions.
    """

    mode: Mode
    observed_std = False  # standard deviations depend on the observation
    distribution: type[AgentGaussian] = AgentGaussian

    def setup(self) -> None:
        settings = self.model_config
        self.mode = MODES[settings["mode"]]
        agents = self.observation_space.shape[0]
        act = self.action_space.shape[-1]

        log_std = torch.full((agents, act), math.log(settings["initial_std"]))
        network = self._network(self.mode.joint_actor, out=(1 + self.observed_std) * act, heads=agents)
        if self.observed_std:
            network.stack.layers()[-1][1].data.view(agents, -1)[:, act:] += log_std
            self.actor: Any = network
        else:
            orthogonal_(network.stack, last_gain=0.01)
            self.actor = GaussianActor(network, log_std)
        self.action_dist_cls = self.distribution  # RLlib's constructor has set it to None

    @property
    def player(self) -> Actor:
        """What plays, without RLlib; it shares the weights of this module."""
        return Actor(self.actor, self.action_dist_cls)

    def _network(self, central: bool, out: int, heads: int) -> CentralMLP | StackedMLP:
        """On the observations of all agents, or stacked ones on their own."""
        agents, obs = self.observation_space.shape
        settings = self.model_config
        hidden, activation = settings["hidden"], settings["activation"]
        if central:
            return CentralMLP(Stack.drawn(1, (agents * obs, *hidden, heads * out), activation), heads)
        return StackedMLP(Stack.drawn(agents, (obs, *hidden, out), activation))

    def _forward(self, batch: dict[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        """Observations [B, N, obs] -> means and log standard deviations [B, N, 2 act]."""
        return {Columns.ACTION_DIST_INPUTS: self.actor(batch[Columns.OBS])}

    def get_non_inference_attributes(self) -> list[str]:
        return [name for name, _ in self.named_children() if name != "actor"]


class PopulationModule(PopulationActor):
    """Actor and critic: of the community (central critic), or of each agent."""

    def setup(self) -> None:
        super().setup()
        if not self.inference_only:
            self.critic = self._network(self.mode.central_critic, out=1, heads=1)
            orthogonal_(self.critic.stack, last_gain=1.0)

    def values(self, observations: Tensor) -> Tensor:
        """[B, N, obs] -> values [B, V]: one of the community (central critic), or one per agent."""
        return self.critic(observations).squeeze(-1)

    def _forward_train(self, batch: dict[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        """Actor and critic in one pass, so that several learners average the gradients of both.

        Means [B, N, act], log standard deviations [N, act], values [B, V].
        """
        with phase("forward"):
            mean, log_std = self.actor.apart(batch[Columns.OBS])
            return {MEAN: mean, LOG_STD: log_std, Columns.VF_PREDS: self.values(batch[Columns.OBS])}


class TargetPopulationModule(PopulationModule):
    """A population with a target actor, which follows the actor now and then; it learns from whole episodes.

    In training, observations are [E, T + 1, N, obs] and outputs [E, T + 1, ...] (E episodes of T steps).
    """

    def setup(self) -> None:
        super().setup()
        if not self.inference_only:
            self.target_actor = copy.deepcopy(self.actor).requires_grad_(False)

    def _forward_train(self, batch: dict[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        observations = batch[Columns.OBS]
        rows = super()._forward_train({Columns.OBS: observations.flatten(0, 1)})
        for name in (MEAN, Columns.VF_PREDS):
            rows[name] = rows[name].reshape(*observations.shape[:2], *rows[name].shape[1:])
        return rows


class PopulationSACModule(PopulationActor):
    """Actor, twin critic, its target and the temperatures of N agents with observations [N, obs], actions [N, act].

    model_config: that of `PopulationActor`, and {"temperature": the initial one of a population of one}. A team's
    reward is a mean over agents while the entropies of their actions add up, so its temperature starts N times smaller.
    """

    observed_std = True
    distribution = SquashedGaussian

    def setup(self) -> None:
        super().setup()
        if self.inference_only:
            return
        settings = self.model_config
        shape = (*self.observation_space.shape, self.action_space.shape[-1])
        self.critic = TwinCritic(shape, settings["hidden"], settings["activation"], self.mode.central_critic)
        initial = settings["temperature"] / (shape[0] if self.mode.team_reward else 1)
        self.temperature = Temperature(shape[0], initial)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)

    def _forward_train(self, batch: dict[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        """What the losses need, in the order in which RLlib's SAC draws its random numbers.

        Log-probabilities [B, N] of actions drawn at the observations (with gradient) and at the next ones, and values
        of the actions played [2, B, V], of those drawn [B, V] (their gradient reaches the actor alone), and of those
        drawn next, from the target networks [B, V].
        """
        with phase("forward"):
            drawn, logp = self._draw(batch[Columns.OBS])
            with torch.no_grad():
                following, logp_next = self._draw(batch[Columns.NEXT_OBS])
                target = self.target_critic(batch[Columns.NEXT_OBS], following).amin(0)
            played = self.critic(batch[Columns.OBS], batch[Columns.ACTIONS])
            self.critic.requires_grad_(False)
            resampled = self.critic(batch[Columns.OBS], drawn).amin(0)
            self.critic.requires_grad_(True)
            return {LOGP: logp, Q_PLAYED: played, Q_RESAMPLED: resampled, Q_TARGET: target, LOGP_NEXT: logp_next}

    def _draw(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Actions [B, N, act] with gradient, and their log-probabilities [B, N]."""
        return SquashedGaussian.from_logits(self.actor(observation)).sample()
