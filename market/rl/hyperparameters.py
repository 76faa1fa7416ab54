"""Settings of the learning algorithms: the study's defaults, validated once."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import StrEnum

from market.support import check


class RLAlgorithm(StrEnum):
    """The learning algorithm; see `SETTINGS` and `market.rl.algorithms.registry.ALGORITHMS`."""

    PPO = "ppo"
    APPO = "appo"
    SAC = "sac"


ACTIVATIONS = dict.fromkeys(("tanh", "relu"))

RANGES = {
    **dict.fromkeys(("lr", "critic_lr", "temperature_lr", "tau"), (1e-12, 1.0)),
    **dict.fromkeys(("grad_clip", "kl_target"), (1e-12, 1e12)),
    **dict.fromkeys(("value_coeff", "entropy_coeff", "kl_coeff"), (0.0,)),
    **dict.fromkeys(("gamma", "lambda_"), (0.0, 1.0)),
    "initial_std": (0.01, 5.0),
    "temperature": (1e-12, 1e6),
    "target_entropy": (-10.0, 10.0),
    "clip": (1e-6, 10.0),
}
"""Lowest and highest value of each number that is not a count."""
COUNTS = {"capacity", "updates", "minibatch", "epochs", "target_update"}


@dataclass(frozen=True)
class Hyperparameters:
    """What every algorithm has; each has a class of its own that adds to it.

    lr: Adam's learning rate.
    gamma: discount per step.
    grad_clip: largest gradient norm, per agent for networks of its own.
    hidden: widths of the hidden layers.
    activation: "tanh" or "relu".
    initial_std: standard deviation of each action that exploration starts near, on a scale from -1 to 1; SAC's is that
        before tanh.
    """

    lr: float = 3e-3
    gamma: float = 1.0
    grad_clip: float = 0.5
    hidden: tuple[int, ...] = (64, 64)
    activation: str = "tanh"
    initial_std: float = 0.5

    def __post_init__(self) -> None:
        for field in fields(self):
            if field.name in RANGES:
                check.number(field.name, getattr(self, field.name), *RANGES[field.name])
            elif field.name in COUNTS:
                check.whole(field.name, getattr(self, field.name))
        if not isinstance(self.hidden, list | tuple) or not self.hidden:
            raise ValueError(f"hidden: got {check.shown(self.hidden)}; allowed: a tuple of one or more layer widths")
        object.__setattr__(self, "hidden", tuple(check.whole("hidden", width) for width in self.hidden))
        check.find(ACTIVATIONS, self.activation, "activation")


@dataclass(frozen=True)
class SACHyperparameters(Hyperparameters):
    """SAC (Haarnoja et al. 2018, arXiv:1812.05905) as RLlib computes it.

    lr: of the actors.
    critic_lr, temperature_lr: of the critics and of the temperatures.
    tau: share of the critics that their target networks take over in each gradient step.
    temperature: initial weight of the entropy; for a team's reward it is divided by the number of agents.
    target_entropy: of each number of an action; -1 is the automatic choice of the authors.
    capacity: env-steps that the replay buffer of a learner holds.
    updates: gradient steps per iteration.
    minibatch: rows per gradient step (a row is one step, all agents).
    """

    grad_clip: float = 10.0
    activation: str = "relu"
    critic_lr: float = 3e-3
    temperature_lr: float = 3e-3
    tau: float = 0.01
    temperature: float = 0.01
    target_entropy: float = -1.0
    capacity: int = 12_000
    updates: int = 20
    minibatch: int = 256


@dataclass(frozen=True)
class ClippedSurrogate(Hyperparameters):
    """What PPO and APPO share: both follow a clipped policy gradient on the samples of an iteration.

    clip: half width of the band of probability ratios.
    value_coeff: weight of the critic's loss.
    entropy_coeff: weight of the entropy bonus.
    kl_coeff: initial weight of the KL penalty, 0 turns it off; halved or raised by half after each iteration to keep
        the KL divergence near kl_target.
    epochs: passes over the samples of an iteration.
    """

    clip: float = 0.2
    value_coeff: float = 0.5
    entropy_coeff: float = 0.0
    kl_coeff: float = 0.0
    kl_target: float = 0.01
    epochs: int = 10


@dataclass(frozen=True)
class PPOHyperparameters(ClippedSurrogate):
    """PPO (Schulman et al. 2017, arXiv:1707.06347) as RLlib computes it.

    lambda_: of generalised advantage estimation (arXiv:1506.02438).
    minibatch: rows per gradient step (a row is one step of one episode, all agents; RLlib adds one row without weight
        per episode, for bootstrapping).
    """

    lambda_: float = 0.95
    minibatch: int = 240


@dataclass(frozen=True)
class APPOHyperparameters(ClippedSurrogate):
    """APPO as RLlib computes it: PPO's surrogate on V-trace targets (Espeholt et al. 2018, arXiv:1802.01561), with a
    target policy beside the one that learns (IMPACT: Luo et al. 2020, arXiv:1912.00167).

    minibatch: whole episodes per gradient step, since V-trace needs whole ones.
    target_update: the target policy becomes a copy of the policy after each so many iterations.
    """

    minibatch: int = 10
    target_update: int = 1


SETTINGS: dict[RLAlgorithm, type[Hyperparameters]] = {
    RLAlgorithm.PPO: PPOHyperparameters,
    RLAlgorithm.APPO: APPOHyperparameters,
    RLAlgorithm.SAC: SACHyperparameters,
}
"""Their defaults are the study's."""
