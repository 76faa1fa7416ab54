"""APPO's update written out in torch, without RLlib: how much of a learner's time is arithmetic.

`python -m benches.bare_appo --agents 100` times both on the same batches in turn and prints the ratio.
"""

from __future__ import annotations

from benches import threads

threads.pin()  # before anything below imports numpy

import argparse  # noqa: E402
import copy  # noqa: E402
import statistics  # noqa: E402
import time  # noqa: E402
from typing import TYPE_CHECKING, Any  # noqa: E402

import torch  # noqa: E402

from benches import machine, show  # noqa: E402
from benches.training import trainer  # noqa: E402

if TYPE_CHECKING:
    from torch import Tensor

    from market import RLTrainer


COLUMNS = ("obs", "actions", "action_logp", "old_logp", "rewards")


class BareAPPO:
    """The learner of a trainer as a plain loop: a copy of its networks and Adam, no RLlib, no metrics, no checks.

    All that it leaves out must not change the weights: they stay those of the learner to rounding.
    """

    def __init__(self, prepared: RLTrainer) -> None:
        self.learner = prepared._algorithm.learner_group._learner
        self.settings: Any = prepared.hyperparameters
        module = self.learner.population
        self.mode = module.mode
        self.actor, self.critic, self.target = (
            copy.deepcopy(network) for network in (module.actor, module.critic, module.target_actor)
        )
        parameters = [*self.actor.parameters(), *self.critic.parameters()]
        self.adam = torch.optim.Adam(parameters, lr=self.settings.lr, fused=True)
        own = [not self.mode.joint_actor] * len(list(self.actor.parameters()))
        own += [not self.mode.central_critic] * len(list(self.critic.parameters()))
        self.stacked = [p for p, is_own in zip(parameters, own, strict=True) if is_own]
        self.central = [p for p, is_own in zip(parameters, own, strict=True) if not is_own]

    def batch(self, episodes: list[Any]) -> dict[str, Tensor]:
        """Tensors of the episodes, by the learner's own pipeline."""
        built: dict[str, Tensor] = self.learner._learner_connector(
            rl_module=self.learner.module, batch={}, episodes=episodes, shared_data={}
        )["default_policy"]
        return built

    def update(self, batch: dict[str, Tensor]) -> int:
        """All gradient steps on one batch, then the target policy follows; how many steps."""
        steps = 0
        episodes = len(batch["obs"])
        for _ in range(self.settings.epochs):
            for first in range(0, episodes, self.settings.minibatch):
                rows = slice(first, first + self.settings.minibatch)
                self.adam.zero_grad()
                self._loss(*(batch[key][rows] for key in COLUMNS)).backward()  # type: ignore[no-untyped-call]
                self._clip()
                self.adam.step()
                steps += 1
        with torch.no_grad():
            for mine, theirs in zip(self.target.parameters(), self.actor.parameters(), strict=True):
                mine.copy_(theirs)
        return steps

    def _loss(self, obs: Tensor, actions: Tensor, sampled: Tensor, old: Tensor, rewards: Tensor) -> Tensor:
        rows, steps = obs.shape[0], actions.shape[1]
        flat = obs.flatten(0, 1)
        mean, log_std = self.actor(flat).reshape(rows, steps + 1, obs.shape[2], -1)[:, :-1].chunk(2, -1)
        log_std = log_std.clamp(-5.0, 2.0)
        logp = (-0.5 * ((actions - mean) * torch.exp(-log_std)).square() - log_std - 0.9189385332046727).sum(-1)
        logp = logp.sum(-1, keepdim=True) if self.mode.joint_ratio else logp
        values = self.critic(flat).reshape(rows, steps + 1, -1)
        with torch.no_grad():
            rho = (old - sampled).exp().clamp(max=1.0)
            trace = (old - sampled).sum(-1, keepdim=True).exp().clamp(max=1.0) if self.mode.central_critic else rho
            gamma, running = self.settings.gamma, torch.zeros_like(values[:, 0])
            targets = values.clone()
            for t in range(steps - 1, -1, -1):
                go_on = gamma if t + 1 < steps else 0.0
                delta = rewards[:, t] + go_on * values[:, t + 1] - values[:, t]
                running = trace[:, t] * (delta + go_on * running)
                targets[:, t] += running
            following = gamma * targets[:, 1:]
            following[:, -1] = 0.0
            advantage = rho * (rewards + following - values[:, :-1])
        ratio = torch.exp(logp - sampled) * torch.exp(sampled - old).clamp(max=2.0)
        band = ratio.clamp(1.0 - self.settings.clip, 1.0 + self.settings.clip)
        surrogate = torch.min(advantage * ratio, advantage * band)
        error = (values[:, :-1] - targets[:, :-1]).square()
        return (0.5 * self.settings.value_coeff * error.sum() - surrogate.sum()) / (rows * steps)

    @torch.no_grad()
    def _clip(self) -> None:
        limit = self.settings.grad_clip
        if self.stacked:
            gradients = [p.grad for p in self.stacked if p.grad is not None]
            norm = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0).sqrt()
            scale = limit / (norm + 1e-6).clamp(min=limit)
            for g in gradients:
                g.mul_(scale.view(-1, *[1] * (g.dim() - 1)))
        if self.central:
            torch.nn.utils.clip_grad_norm_(self.central, limit)


def compare(mode: str, agents: int, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of the learner (with building the batch) and of the bare loop, in turn on the same episodes."""
    with trainer({"agents": agents, "mode": mode, "algorithm": "appo", "iterations": 1}) as prepared:
        bare = BareAPPO(prepared)
        config = prepared._algorithm.config
        ours, theirs = [], []
        for _ in range(rounds + 1):
            episodes = prepared._algorithm.env_runner.sample()
            batch = bare.batch(episodes)
            began = time.perf_counter()
            bare.update(batch)
            between = time.perf_counter()
            bare.learner.update(
                episodes=episodes, timesteps={}, num_epochs=config.num_epochs, minibatch_size=config.minibatch_size
            )
            theirs.append(between - began)
            ours.append(time.perf_counter() - between)
        return ours[1:], theirs[1:]


def main() -> None:
    """Print a line per training mode."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--modes", default="ctce,ctde,dtde")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for mode in given.modes.split(","):
        ours, theirs = compare(mode, given.agents, given.rounds)
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        print(
            f"appo {mode} N={given.agents}: learner {show.seconds(statistics.median(ours))}, bare torch "
            f"{show.seconds(statistics.median(theirs))}, ratio min {min(ratios):.2f} median "
            f"{statistics.median(ratios):.2f} ({given.rounds} rounds, load {machine.load_average()[0]:.1f})"
        )


if __name__ == "__main__":
    main()
