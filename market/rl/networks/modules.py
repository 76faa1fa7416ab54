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
from market.rl.networks.distributions import SquashedGaussian
from market.rl.networks.stacked import Actor, Rows, TwinCritic, orthogonal_, population_mlp
from market.support.phases import phase

MEAN, LOG_STD = "mean", "log_std"
"""What a training pass of PPO and APPO gives, beside the values."""
LOGP, Q_PLAYED, Q_RESAMPLED, Q_TARGET, LOGP_NEXT = "logp", "q_played", "q_resampled", "q_target", "logp_next"
"""What a training pass gives: see `PopulationSACModule._forward_train`."""


class PopulationActor(TorchRLModule, InferenceOnlyAPI):
    """Actor of N agents with observations [N, obs] and actions [N, act]; modules add what their algorithm trains.

    model_config: {"mode": a TrainingMode, "hidden": layer widths, "activation": name, "initial_std": of actions}.
    squashed: as `Actor.drawn` takes it.
    design: its arguments.
    """

    squashed = False

    def setup(self) -> None:
        settings = self.model_config
        self.mode: Mode = MODES[settings["mode"]]
        self.design = {
            "shape": (*self.observation_space.shape, self.action_space.shape[-1]),
            "joint": self.mode.joint_actor,
            "squashed": self.squashed,
            **{name: settings[name] for name in ("hidden", "activation", "initial_std")},
        }
        self.actor: Any
        self.actor, self.action_dist_cls = Actor.drawn(**self.design)

    @property
    def player(self) -> Actor:
        """What plays, without RLlib; it shares the weights of this module."""
        return Actor(self.actor, self.action_dist_cls)

    def get_non_inference_attributes(self) -> list[str]:
        return [name for name, _ in self.named_children() if name != "actor"]


class PopulationModule(PopulationActor):
    """Actor and critic: of the community (central critic), or of each agent."""

    def setup(self) -> None:
        super().setup()
        if not self.inference_only:
            settings, heads = self.model_config, int(self.mode.central_critic)
            self.critic = population_mlp(
                self.observation_space.shape, 1, settings["hidden"], settings["activation"], heads
            )
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

    squashed = True

    def setup(self) -> None:
        super().setup()
        if self.inference_only:
            return
        settings = self.model_config
        shape, central = self.design["shape"], self.mode.central_critic
        self.critic = TwinCritic(shape, settings["hidden"], settings["activation"], central)
        initial = settings["temperature"] / (shape[0] if central else 1)
        self.temperature: Any = Rows("log_alpha", torch.full((shape[0], 1), math.log(initial)))
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
