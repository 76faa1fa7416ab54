"""The RLModule of SAC: stacked actors, twin critics with their targets, and temperatures.

Shapes: B rows, N agents, V action values per step (1 with a central critic, else N), R temperatures (1 for a joint
actor, else N).
"""

from __future__ import annotations

import copy
import math
from itertools import pairwise
from typing import Any

import torch
from ray.rllib.core.columns import Columns
from torch import Tensor, nn

from market.rl.networks.distributions import JointSquashedGaussian, SquashedGaussian
from market.rl.networks.modules import PopulationActor
from market.rl.networks.stacked import ACTIVATIONS, Stacked, StackedLinear
from market.support.phases import phase

LOGP, Q_PLAYED, Q_RESAMPLED, Q_TARGET, LOGP_NEXT = "logp", "q_played", "q_resampled", "q_target", "logp_next"
"""What a training pass gives: see `PopulationSACModule._forward_train`."""


class SplitLinear(Stacked):
    """Twin `nn.Linear` layers on an observation and an action side by side, with the weights of the two kept apart.

    What an observation adds is then computed once for several actions.
    """

    def __init__(self, owners: int, obs: int, act: int, out: int) -> None:
        super().__init__(owners)
        count = 2 * owners
        bound = (obs + act) ** -0.5  # as nn.Linear initialises
        self.observation_weight = nn.Parameter(torch.empty(count, obs, out).uniform_(-bound, bound))
        self.action_weight = nn.Parameter(torch.empty(count, act, out).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(count, 1, out).uniform_(-bound, bound))

    def observe(self, observation: Tensor) -> Tensor:
        """[N, B, obs] -> [N, B, out], without the action's part."""
        return torch.baddbmm(self.bias, observation, self.observation_weight)

    def act(self, observed: Tensor, action: Tensor) -> Tensor:
        """What `observe` gave, and [N, B, act] -> [N, B, out]."""
        return torch.baddbmm(observed, action, self.action_weight)


class TwinCritic(nn.Module):
    """Two action values for each of V owners: of each agent from its own observation and action, or of the community.

    The twins are one stack of 2 V networks, the first twins before the second.
    """

    def __init__(self, shape: tuple[int, int, int], hidden: tuple[int, ...], activation: str, central: bool) -> None:
        """shape: agents, numbers per observation and per action."""
        super().__init__()
        agents, obs, act = shape
        self.owners = 1 if central else agents
        read = agents // self.owners
        self.first = SplitLinear(self.owners, read * obs, read * act, hidden[0])
        layers: list[nn.Module] = [ACTIVATIONS[activation]()]
        for fan_in, fan_out in pairwise((*hidden, 1)):
            layers += [StackedLinear(self.owners, fan_in, fan_out, copies=2), ACTIVATIONS[activation]()]
        self.rest = nn.Sequential(*layers[:-1])

    def _for_twins(self, x: Tensor) -> Tensor:
        """[B, N, in] -> [2 V, B, N in / V]."""
        own = x.reshape(len(x), self.owners, -1).transpose(0, 1)
        return own.expand(2, *own.shape).reshape(-1, *own.shape[1:])

    def observe(self, observation: Tensor) -> Tensor:
        """[B, N, obs] -> the observations' part of the first layer, [2 V, B, hidden]."""
        return self.first.observe(self._for_twins(observation))

    def value(self, observed: Tensor, action: Tensor) -> Tensor:
        """What `observe` gave, and actions [B, N, act] -> action values [2, B, V]."""
        out: Tensor = self.rest(self.first.act(observed, self._for_twins(action)))
        return out.reshape(2, self.owners, -1).transpose(1, 2)


class Temperature(Stacked):
    """The weights of the entropy in the objective, in logarithms: one row for each of R actors."""

    def __init__(self, count: int, initial: float) -> None:
        super().__init__(count)
        self.log_alpha = nn.Parameter(torch.full((count, 1), math.log(initial)))


class PopulationSACModule(PopulationActor):
    """Actor, twin critic, its target and the temperatures of N agents with observations [N, obs], actions [N, act].

    model_config: that of `PopulationActor`, and {"temperature": the initial one of a population of one}. A team's
    reward is a mean over agents while the entropies of their actions add up, so its temperature starts N times smaller.
    """

    distributions = (SquashedGaussian, JointSquashedGaussian)

    def setup(self) -> None:
        super().setup()
        if self.inference_only:
            return
        settings = self.model_config
        shape = (*self.observation_space.shape, self.action_space.shape[-1])
        self.critic = TwinCritic(shape, settings["hidden"], settings["activation"], self.mode.central_critic)
        initial = settings["temperature"] / (shape[0] if self.mode.team_reward else 1)
        self.temperature = Temperature(self.mode.ratios(shape[0]), initial)
        self.target_critic = copy.deepcopy(self.critic).requires_grad_(False)

    def _forward_train(self, batch: dict[str, Tensor], **kwargs: Any) -> dict[str, Tensor]:
        """What the losses need, in the order in which RLlib's SAC draws its random numbers.

        Log-probabilities [B, R] of actions drawn at the observations (with gradient) and at the next ones, and values
        of the actions played [2, B, V], of those drawn [B, V] (their gradient reaches the actor alone), and of those
        drawn next, from the target networks [B, V].
        """
        with phase("forward"):
            drawn, logp = self._draw(batch[Columns.OBS])
            with torch.no_grad():
                following, logp_next = self._draw(batch[Columns.NEXT_OBS])
                target = self.target_critic.value(self.target_critic.observe(batch[Columns.NEXT_OBS]), following).amin(
                    0
                )
            observed = self.critic.observe(batch[Columns.OBS])
            played = self.critic.value(observed, batch[Columns.ACTIONS])
            self.critic.requires_grad_(False)
            resampled = self.critic.value(observed.detach(), drawn).amin(0)
            self.critic.requires_grad_(True)
            return {LOGP: logp, Q_PLAYED: played, Q_RESAMPLED: resampled, Q_TARGET: target, LOGP_NEXT: logp_next}

    def _draw(self, observation: Tensor) -> tuple[Tensor, Tensor]:
        """Actions [B, N, act] with gradient, and their log-probabilities [B, R]."""
        sampled: tuple[Tensor, Tensor] = self.action_dist_cls.from_logits(self.actor(observation)).sample()
        return sampled
