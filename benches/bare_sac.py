"""SAC's update written out in torch, without RLlib: how much of a learner's time is arithmetic.

`python -m benches.bare_sac --agents 100` times both on the same minibatches in turn and prints the ratio.
"""

from __future__ import annotations

from benches import threads

threads.pin()  # before anything below imports numpy

import argparse  # noqa: E402
import copy  # noqa: E402
import statistics  # noqa: E402
import time  # noqa: E402
from typing import TYPE_CHECKING  # noqa: E402

from benches import machine, show  # noqa: E402
from benches.training import trainer  # noqa: E402
from market.rl import SACHyperparameters  # noqa: E402

if TYPE_CHECKING:
    from torch import Tensor, nn

    from market import RLTrainer


class BareSAC:
    """The learner of a trainer as a plain loop: copies of its networks, Adams on them, no RLlib, metrics or checks.

    It draws from the learner's replay buffer. All that it leaves out must not change the weights: they stay those of
    the learner to rounding.
    """

    def __init__(self, prepared: RLTrainer) -> None:
        import torch

        self.learner = prepared._algorithm.learner_group._learner
        settings = prepared.hyperparameters
        assert isinstance(settings, SACHyperparameters)
        self.settings = settings
        module = self.learner.population
        self.mode = module.mode
        self.actor, self.critic, self.target, self.temperature = (
            copy.deepcopy(part) for part in (module.actor, module.critic, module.target_critic, module.temperature)
        )
        self.entropy = settings.target_entropy * module.action_space.shape[-1]
        if self.mode.joint_actor:
            self.entropy *= module.action_space.shape[0]
        rates = (settings.lr, settings.critic_lr, settings.temperature_lr)
        self.parts: tuple[nn.Module, ...] = (self.actor, self.critic, self.temperature)
        self.adams = [
            torch.optim.Adam(part.parameters(), lr=lr, eps=1e-7, fused=True)
            for part, lr in zip(self.parts, rates, strict=True)
        ]

    def update(self) -> int:
        """The gradient steps of an iteration; how many."""
        import torch

        for _ in range(self.settings.updates):
            batch = self.learner.replay.sample(self.settings.minibatch)
            for adam in self.adams:
                adam.zero_grad()
            self._loss(batch).backward()  # type: ignore[no-untyped-call]
            self._clip()
            for adam in self.adams:
                adam.step()
            with torch.no_grad():
                for mine, theirs in zip(self.target.parameters(), self.critic.parameters(), strict=True):
                    mine.lerp_(theirs, self.settings.tau)
        return self.settings.updates

    def _draw(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        import torch

        mean, log_std = self.actor(obs).chunk(2, -1)
        log_std = log_std.clamp(-5.0, 2.0)
        noise = torch.randn(mean.shape)
        raw = mean + log_std.exp() * noise
        action = raw.tanh()
        slope = 2.0 * (0.6931471805599453 - raw - torch.nn.functional.softplus(-2.0 * raw))
        logp = (-0.5 * noise.square() - log_std - 0.9189385332046727 - slope).sum(-1)
        return action, logp.sum(-1, keepdim=True) if self.mode.joint_actor else logp

    def _loss(self, batch: dict[str, Tensor]) -> Tensor:
        import torch

        action, logp = self._draw(batch["obs"])
        log_alpha = self.temperature.log_alpha.squeeze(-1)
        alpha = log_alpha.detach().exp()
        with torch.no_grad():
            following, logp_next = self._draw(batch["new_obs"])
            cost = alpha * logp_next
            cost = cost.sum(-1, keepdim=True) if self.mode.central_critic else cost
            value = self.target.value(self.target.observe(batch["new_obs"]), following).amin(0) - cost
            target = batch["rewards"] + self.settings.gamma * (1.0 - batch["terminateds"]).unsqueeze(-1) * value
        observed = self.critic.observe(batch["obs"])
        error = (self.critic.value(observed, batch["actions"]) - target).abs()
        huber = torch.where(error < 1.0, 0.5 * error.square(), error - 0.5)
        self.critic.requires_grad_(False)
        q = self.critic.value(observed.detach(), action).amin(0)
        self.critic.requires_grad_(True)
        temperature = log_alpha * (-logp.detach() - self.entropy)
        return (huber.sum() + (alpha * logp).sum() - q.sum() + temperature.sum()) / len(q)

    def _clip(self) -> None:
        import torch

        limit = self.settings.grad_clip
        for part, stacked in zip(self.parts, (not self.mode.joint_actor, True, True), strict=True):
            if not stacked:
                torch.nn.utils.clip_grad_norm_(part.parameters(), limit)
                continue
            gradients = [p.grad for p in part.parameters() if p.grad is not None]
            norm = torch.stack([g.flatten(1).square().sum(1) for g in gradients]).sum(0).sqrt()
            scale = limit / (norm + 1e-6).clamp(min=limit)
            for g in gradients:
                g.mul_(scale.view(-1, *[1] * (g.dim() - 1)))


def compare(mode: str, agents: int, rounds: int) -> tuple[list[float], list[float]]:
    """Seconds of the learner and of the bare loop, in turn, from the same buffer; the learner adds episodes to it."""
    with trainer({"agents": agents, "mode": mode, "algorithm": "sac", "iterations": 1}) as prepared:
        prepared.train_iteration()
        bare = BareSAC(prepared)
        ours, theirs = [], []
        for _ in range(rounds + 1):
            episodes = prepared._algorithm.env_runner.sample()
            began = time.perf_counter()
            bare.update()
            between = time.perf_counter()
            bare.learner.update(episodes=episodes, timesteps={})
            theirs.append(between - began)
            ours.append(time.perf_counter() - between)
        return ours[1:], theirs[1:]


def main() -> None:
    """Print a line per training mode."""
    import torch

    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--agents", type=int, default=100)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--modes", default="ctce,ctde,dtde")
    given = parser.parse_args()
    torch.set_num_threads(1)
    for mode in given.modes.split(","):
        ours, theirs = compare(mode, given.agents, given.rounds)
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        print(
            f"sac {mode} N={given.agents}: learner {show.seconds(statistics.median(ours))}, bare torch "
            f"{show.seconds(statistics.median(theirs))}, ratio min {min(ratios):.2f} median "
            f"{statistics.median(ratios):.2f} ({given.rounds} rounds, load {machine.load_average()[0]:.1f})",
            flush=True,
        )


if __name__ == "__main__":
    main()
