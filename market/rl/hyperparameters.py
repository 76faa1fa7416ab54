"""Settings of the learning algorithms: the study's defaults, validated once."""

from __future__ import annotations

from dataclasses import dataclass

from market.config import check_positive_int, check_range, nearest

ACTIVATIONS = ("tanh", "relu")


@dataclass(frozen=True)
class Hyperparameters:
    """What every algorithm has; each has a class of its own that adds to it.

    lr: Adam's learning rate. gamma: discount per step.
    grad_clip: largest gradient norm, per agent for networks of its own.
    hidden: widths of the hidden layers. activation: "tanh" or "relu".
    """

    lr: float = 1e-3
    gamma: float = 0.9
    grad_clip: float = 0.5
    hidden: tuple[int, ...] = (64, 64)
    activation: str = "tanh"

    def __post_init__(self) -> None:
        check_range("lr", self.lr, 1e-12, 1.0)
        check_range("gamma", self.gamma, 0.0, 1.0)
        check_range("grad_clip", self.grad_clip, 1e-12, 1e12)
        if isinstance(self.hidden, int | str) or not self.hidden:
            raise ValueError(f"hidden: got {self.hidden!r}; allowed: a tuple of one or more layer widths")
        object.__setattr__(self, "hidden", tuple(check_positive_int("hidden", width) for width in self.hidden))
        if self.activation not in ACTIVATIONS:
            raise ValueError(
                f"activation: got {self.activation!r}; allowed: {', '.join(ACTIVATIONS)}"
                f"{nearest(str(self.activation), list(ACTIVATIONS))}"
            )


@dataclass(frozen=True)
class SACHyperparameters(Hyperparameters):
    """SAC (Haarnoja et al. 2018, arXiv:1812.05905) as RLlib computes it.

    lr: of the actors; critic_lr, temperature_lr: of the critics and of the temperatures.
    tau: share of the critics that their target networks take over in each gradient step.
    temperature: initial weight of the entropy; for a team's reward it is divided by the number of agents.
    target_entropy: of each number of an action; -1 is the automatic choice of the authors.
    capacity: env-steps that the replay buffer of a learner holds.
    updates: gradient steps per iteration. minibatch: rows per gradient step (a row is one step, all agents).
    initial_std: standard deviation of each action, before tanh, that exploration starts near.
    """

    grad_clip: float = 10.0
    activation: str = "relu"
    critic_lr: float = 1e-3
    temperature_lr: float = 1e-3
    tau: float = 0.01
    temperature: float = 0.01
    target_entropy: float = -1.0
    capacity: int = 6000
    updates: int = 20
    minibatch: int = 64
    initial_std: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("critic_lr", "temperature_lr", "tau"):
            check_range(field, getattr(self, field), 1e-12, 1.0)
        check_range("temperature", self.temperature, 1e-12, 1e6)
        check_range("target_entropy", self.target_entropy, -10.0, 10.0)
        for field in ("capacity", "updates", "minibatch"):
            check_positive_int(field, getattr(self, field))
        check_range("initial_std", self.initial_std, 0.01, 5.0)


@dataclass(frozen=True)
class ClippedSurrogate(Hyperparameters):
    """What PPO and APPO share: both follow a clipped policy gradient on the samples of an iteration.

    clip: half width of the band of probability ratios. value_coeff: weight of the critic's loss.
    entropy_coeff: weight of the entropy bonus. kl_coeff: initial weight of the KL penalty, 0 turns it off; halved or
        raised by half after each iteration to keep the KL divergence near kl_target.
    epochs: passes over the samples of an iteration.
    initial_std: standard deviation of each action, on a scale from -1 to 1, that exploration starts near.
    """

    clip: float = 0.2
    value_coeff: float = 0.5
    entropy_coeff: float = 0.0
    kl_coeff: float = 0.0
    kl_target: float = 0.01
    epochs: int = 10
    initial_std: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("clip", self.clip, 1e-6, 10.0)
        for field in ("value_coeff", "entropy_coeff", "kl_coeff"):
            check_range(field, getattr(self, field))
        check_range("kl_target", self.kl_target, 1e-12, 1e12)
        check_positive_int("epochs", self.epochs)
        check_range("initial_std", self.initial_std, 0.01, 5.0)


@dataclass(frozen=True)
class PPOHyperparameters(ClippedSurrogate):
    """PPO (Schulman et al. 2017, arXiv:1707.06347) as RLlib computes it.

    lambda_: of generalised advantage estimation (arXiv:1506.02438).
    minibatch: rows per gradient step (a row is one step of one episode, all agents; RLlib adds one row without weight
        per episode, for bootstrapping).
    """

    lambda_: float = 0.9
    minibatch: int = 120

    def __post_init__(self) -> None:
        super().__post_init__()
        check_range("lambda_", self.lambda_, 0.0, 1.0)
        check_positive_int("minibatch", self.minibatch)


@dataclass(frozen=True)
class APPOHyperparameters(ClippedSurrogate):
    """APPO as RLlib computes it: PPO's surrogate on V-trace targets (Espeholt et al. 2018, arXiv:1802.01561), with a
    target policy beside the one that learns (IMPACT: Luo et al. 2020, arXiv:1912.00167).

    minibatch: whole episodes per gradient step, since V-trace needs whole ones.
    target_update: the target policy becomes a copy of the policy after each so many iterations.
    """

    minibatch: int = 5
    target_update: int = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        check_positive_int("minibatch", self.minibatch)
        check_positive_int("target_update", self.target_update)
