"""APPO's update written out in torch, without RLlib: how much of a learner's time is arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benches.rivals.bare import Bare

if TYPE_CHECKING:
    from torch import Tensor

    from market import RLTrainer


COLUMNS = ("obs", "actions", "action_logp", "old_logp", "rewards")


class BareAPPO(Bare):
    """A fused Adam and the clipped surrogate on V-trace; minibatches are whole episodes."""

    def __init__(self, prepared: RLTrainer) -> None:
        import torch

        super().__init__(prepared)
        learned = [*self.module.actor.parameters(), *self.module.critic.parameters()]
        self.adam = torch.optim.Adam(learned, lr=self.settings.lr, fused=True)

    def plan(self) -> dict[str, Any]:
        config = self.trainer._algorithm.config
        return {"num_epochs": config.num_epochs, "minibatch_size": config.minibatch_size}

    def update(self, episodes: list[Any]) -> None:
        """All gradient steps on one batch, then the target policy follows."""
        columns, size = self.batch(episodes), self.settings.minibatch
        for _ in range(self.settings.epochs):
            for first in range(0, len(columns["obs"]), size):
                self.adam.zero_grad()
                loss: Any = self._loss(*(columns[key][first : first + size] for key in COLUMNS))
                loss.backward()
                self.clip(self.module)
                self.adam.step()
        for mine, theirs in zip(self.module.target_actor.parameters(), self.module.actor.parameters(), strict=True):
            mine.data.copy_(theirs.data)

    def _loss(self, obs: Tensor, actions: Tensor, sampled: Tensor, old: Tensor, rewards: Tensor) -> Tensor:
        import torch

        rows, steps = obs.shape[0], actions.shape[1]
        flat = obs.flatten(0, 1)
        mean, log_std = self.module.actor(flat).reshape(rows, steps + 1, obs.shape[2], -1)[:, :-1].chunk(2, -1)
        log_std = log_std.clamp(-5.0, 2.0)
        logp = (-0.5 * ((actions - mean) * torch.exp(-log_std)).square() - log_std - 0.9189385332046727).sum(-1)
        logp = logp.sum(-1, keepdim=True) if self.module.mode.joint_ratio else logp
        values = self.module.critic(flat).reshape(rows, steps + 1, -1)
        with torch.no_grad():
            rho = (old - sampled).exp().clamp(max=1.0)
            trace = (
                (old - sampled).sum(-1, keepdim=True).exp().clamp(max=1.0) if self.module.mode.central_critic else rho
            )
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
