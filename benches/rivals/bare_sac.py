"""SAC's update written out in torch, without RLlib: how much of a learner's time is arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benches.rivals.bare import Bare

if TYPE_CHECKING:
    from torch import Tensor

    from market import RLTrainer


class BareSAC(Bare):
    """Three fused Adams, twin critics and their targets. It draws from the learner's replay buffer."""

    def __init__(self, prepared: RLTrainer) -> None:
        import torch

        super().__init__(prepared)
        module, settings = self.module, self.settings
        numbers = module.action_space.shape[0] * module.action_space.shape[1] // len(module.temperature.log_alpha)
        self._entropy = settings.target_entropy * numbers
        self._parts = (module.actor, module.critic, module.temperature)
        rates = (settings.lr, settings.critic_lr, settings.temperature_lr)
        self._adams = [
            torch.optim.Adam(part.parameters(), lr=lr, eps=1e-7, fused=True)
            for part, lr in zip(self._parts, rates, strict=True)
        ]

    def update(self, episodes: list[Any]) -> None:
        """The gradient steps of an iteration; the learner has put the episodes into the buffer."""
        import torch

        pairs = list(zip(self.module.target_critic.parameters(), self.module.critic.parameters(), strict=True))
        for _ in range(self.settings.updates):
            batch = self.learner.replay.sample(self.settings.minibatch)
            for adam in self._adams:
                adam.zero_grad()
            self._loss(batch).backward()  # type: ignore[no-untyped-call]
            for part in self._parts:
                self.clip(part)
            for adam in self._adams:
                adam.step()
            with torch.no_grad():
                for mine, theirs in pairs:
                    mine.lerp_(theirs, self.settings.tau)

    def _draw(self, obs: Tensor) -> tuple[Tensor, Tensor]:
        import torch

        module = self.module
        mean, log_std = module.actor(obs).chunk(2, -1)
        log_std = log_std.clamp(-5.0, 2.0)
        noise = torch.randn(mean.shape)
        raw = mean + log_std.exp() * noise
        action = raw.tanh()
        slope = 2.0 * (0.6931471805599453 - raw - torch.nn.functional.softplus(-2.0 * raw))
        logp = (-0.5 * noise.square() - log_std - 0.9189385332046727 - slope).sum(-1)
        return action, logp.sum(-1, keepdim=True) if module.mode.joint_actor else logp

    def _loss(self, batch: dict[str, Tensor]) -> Tensor:
        import torch

        module = self.module
        action, logp = self._draw(batch["obs"])
        log_alpha = module.temperature.log_alpha.squeeze(-1)
        alpha = log_alpha.detach().exp()
        with torch.no_grad():
            following, logp_next = self._draw(batch["new_obs"])
            cost = alpha * logp_next
            cost = cost.sum(-1, keepdim=True) if module.mode.central_critic else cost
            value = module.target_critic.value(module.target_critic.observe(batch["new_obs"]), following).amin(0) - cost
            target = batch["rewards"] + self.settings.gamma * (1.0 - batch["terminateds"]).unsqueeze(-1) * value
        observed = module.critic.observe(batch["obs"])
        error = (module.critic.value(observed, batch["actions"]) - target).abs()
        huber = torch.where(error < 1.0, 0.5 * error.square(), error - 0.5)
        module.critic.requires_grad_(False)
        q = module.critic.value(observed.detach(), action).amin(0)
        module.critic.requires_grad_(True)
        temperature = log_alpha * (-logp.detach() - self._entropy)
        return (huber.sum() + (alpha * logp).sum() - q.sum() + temperature.sum()) / len(q)
