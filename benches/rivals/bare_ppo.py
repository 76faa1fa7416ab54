"""PPO's update written out in torch, without RLlib: how much of a learner's time is arithmetic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benches.rivals.bare import Bare

if TYPE_CHECKING:
    from torch import Tensor

    from market import RLTrainer


class BarePPO(Bare):
    """A fused Adam, the clipped surrogate and the value loss; rows as PPO takes them."""

    def __init__(self, prepared: RLTrainer) -> None:
        import torch

        super().__init__(prepared)
        self.adam = torch.optim.Adam(self.module.parameters(), lr=self.settings.lr, fused=True)

    def plan(self) -> dict[str, Any]:
        settings = self.settings
        return {"num_epochs": settings.epochs, "minibatch_size": settings.minibatch, "shuffle_batch_per_epoch": True}

    def update(self, episodes: list[Any]) -> None:
        import torch

        from market.rl.learning.batches import minibatch_rows, take

        columns, settings = self.batch(episodes), self.settings
        for chosen in minibatch_rows(len(columns["obs"]), settings.minibatch, epochs=settings.epochs):
            index = torch.from_numpy(chosen)
            self.adam.zero_grad()
            self._loss({name: take(x, index) for name, x in columns.items()}).backward()  # type: ignore[no-untyped-call]
            self.clip(self.module)
            self.adam.step()

    def _loss(self, rows: dict[str, Tensor]) -> Tensor:
        """The clipped surrogate and the squared errors of values, means over the rows that count, sums over agents."""
        import torch

        settings = self.settings
        weight = rows["loss_mask"].float()
        weight = weight / weight.sum()
        mean, log_std = self.module.actor(rows["obs"]).chunk(2, dim=-1)
        density: Any = torch.distributions.Normal(mean, log_std.clamp(-5.0, 2.0).exp(), validate_args=False)
        logp = density.log_prob(rows["actions"]).sum(-1)
        value = self.module.critic(rows["obs"]).squeeze(-1)
        if self.module.mode.joint_ratio:
            logp = logp.sum(-1, keepdim=True)
        ratio = (logp - rows["action_logp"]).exp()
        gain, band = rows["advantages"], ratio.clamp(1 - settings.clip, 1 + settings.clip)
        surrogate = torch.min(ratio * gain, band * gain).sum(-1)
        error = (value - rows["value_targets"]).square().sum(-1)
        return weight @ (settings.value_coeff * error - surrogate)
