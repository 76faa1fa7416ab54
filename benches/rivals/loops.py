"""The learners' updates written out in torch, without RLlib: how much of a learner's time is arithmetic."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor, nn

    from market import RLTrainer


class Bare(ABC):
    """A trainer's learner, and the same update on a copy of its networks: weights stay equal to rounding.

    Both learn from the same episodes, with the same networks, minibatches, Adam and number of threads; the loop leaves
    out RLlib, metrics and checks, and its networks compiled kernels.
    """

    def __init__(self, prepared: RLTrainer) -> None:
        self.trainer = prepared
        self.settings: Any = prepared.hyperparameters
        self.learner: Any = prepared._algorithm.learner_group._learner
        self.module: Any = copy.deepcopy(self.learner.population)
        for part in self.module.modules():
            if hasattr(part, "compiled"):
                part.compiled = False

    def learn(self, episodes: list[Any]) -> None:
        """The learner's update."""
        self.learner.update(episodes=episodes, timesteps={}, **self.plan())

    def plan(self) -> dict[str, Any]:
        """How the learner goes through the episodes."""
        return {}

    @abstractmethod
    def update(self, episodes: list[Any]) -> None:
        """The bare loop's; random numbers come from the global generators, in the learner's order."""

    def batch(self, episodes: list[Any]) -> dict[str, Tensor]:
        """Columns of the episodes by the learner's own pipeline, with the values of this copy."""
        columns: dict[str, Tensor] = self.learner.columns_of(self.module, episodes)
        return columns

    def clip(self, part: nn.Module) -> None:
        """Clip the gradients of a part of the networks: stacked ones row by row, all others together."""
        import torch

        from market.rl.networks.stacked import Stacked

        limit = self.settings.grad_clip
        stacked = [p for layer in part.modules() if isinstance(layer, Stacked) for p in layer.parameters()]
        taken = {id(p) for p in stacked}
        if stacked:
            gradients = [p.grad for p in stacked if p.grad is not None]
            norms = torch.stack([g.flatten(1).norm(dim=1) for g in gradients]).norm(dim=0)
            scale = (limit / (norms + 1e-6)).clamp(max=1.0)
            for g in gradients:
                g.mul_(scale.view(-1, *[1] * (g.dim() - 1)))
        torch.nn.utils.clip_grad_norm_([p for p in part.parameters() if id(p) not in taken], limit)


class BarePPO(Bare):
    """A fused Adam, the clipped surrogate and the value loss; rows as PPO takes them."""

    def __init__(self, prepared: RLTrainer) -> None:
        import torch

        super().__init__(prepared)
        self.adam = torch.optim.Adam(self.module.parameters(), lr=self.settings.lr, eps=1e-5, fused=True)

    def plan(self) -> dict[str, Any]:
        settings = self.settings
        return {"num_epochs": settings.epochs, "minibatch_size": settings.minibatch, "shuffle_batch_per_epoch": True}

    def rows(self, columns: dict[str, Tensor]) -> Iterator[Any]:
        """The rows of each minibatch."""
        from market.rl.learning.batches import minibatch_rows

        return minibatch_rows(len(columns["obs"]), self.settings.minibatch, epochs=self.settings.epochs)

    def update(self, episodes: list[Any]) -> None:
        import torch

        from market.rl.learning.batches import take

        columns = self.batch(episodes)
        for chosen in self.rows(columns):
            index = torch.from_numpy(chosen)
            self.adam.zero_grad()
            self._loss({name: take(x, index) for name, x in columns.items()}).backward()  # type: ignore[no-untyped-call]
            self.clip(self.module)
            self.adam.step()

    def _loss(self, rows: dict[str, Tensor]) -> Tensor:
        """The clipped surrogate and the squared errors of values, means over the rows that count, sums over agents."""
        import torch

        settings = self.settings
        mean, log_std = self.module.actor(rows["obs"]).chunk(2, dim=-1)
        density: Any = torch.distributions.Normal(mean, log_std.clamp(-5.0, 2.0).exp(), validate_args=False)
        logp = density.log_prob(rows["actions"]).sum(-1)
        value = self.module.critic(rows["obs"]).squeeze(-1)
        ratio = (logp - rows["action_logp"]).exp()
        gain, band = rows["advantages"], ratio.clamp(1 - settings.clip, 1 + settings.clip)
        surrogate = torch.min(ratio * gain, band * gain).sum(-1)
        error = (value - rows["value_targets"]).square().sum(-1)
        return (settings.value_coeff * error - surrogate).mean()


COLUMNS = ("obs", "actions", "compared", "weights", "traces", "rewards")


class BareAPPO(Bare):
    """A fused Adam and the clipped surrogate on V-trace; minibatches are whole episodes."""

    def __init__(self, prepared: RLTrainer) -> None:
        import torch

        super().__init__(prepared)
        learned = [*self.module.actor.parameters(), *self.module.critic.parameters()]
        self.adam = torch.optim.Adam(learned, lr=self.settings.lr, eps=1e-5, fused=True)

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

    def _loss(
        self, obs: Tensor, actions: Tensor, compared: Tensor, rho: Tensor, trace: Tensor, rewards: Tensor
    ) -> Tensor:
        import torch

        rows, steps = obs.shape[0], actions.shape[1]
        flat = obs.flatten(0, 1)
        mean, log_std = self.module.actor(flat).reshape(rows, steps + 1, obs.shape[2], -1)[:, :-1].chunk(2, -1)
        log_std = log_std.clamp(-5.0, 2.0)
        logp = (-0.5 * ((actions - mean) * torch.exp(-log_std)).square() - log_std - 0.9189385332046727).sum(-1)
        values = self.module.critic(flat).reshape(rows, steps + 1, -1)
        with torch.no_grad():
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
            advantage = (advantage - advantage.mean((0, 1))) / advantage.std((0, 1), correction=0).clamp(min=1e-4)
        ratio = torch.exp(logp - compared)
        band = ratio.clamp(1.0 - self.settings.clip, 1.0 + self.settings.clip)
        surrogate = torch.min(advantage * ratio, advantage * band)
        error = (values[:, :-1] - targets[:, :-1]).square()
        return (0.5 * self.settings.value_coeff * error.sum() - surrogate.sum()) / (rows * steps)


class BareSAC(Bare):
    """Three fused Adams, twin critics and their targets. It draws from the learner's replay buffer."""

    def __init__(self, prepared: RLTrainer) -> None:
        import torch

        super().__init__(prepared)
        module, settings = self.module, self.settings
        self._entropy = settings.target_entropy * module.action_space.shape[1]
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
        return action, logp

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
            value = module.target_critic(batch["new_obs"], following).amin(0) - cost
            target = batch["rewards"] + self.settings.gamma * (1.0 - batch["terminateds"]).unsqueeze(-1) * value
        error = (module.critic(batch["obs"], batch["actions"]) - target).abs()
        huber = torch.where(error < 1.0, 0.5 * error.square(), error - 0.5)
        module.critic.requires_grad_(False)
        q = module.critic(batch["obs"], action).amin(0)
        module.critic.requires_grad_(True)
        temperature = log_alpha * (-logp.detach() - self._entropy)
        return (huber.sum() + (alpha * logp).sum() - q.sum() + temperature.sum()) / len(q)
