"""PPO's update written out in torch, without RLlib: how much of a learner's time is arithmetic."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

from benches.bare import Bare

if TYPE_CHECKING:
    from torch import Tensor

    from market import RLTrainer


class BarePPO(Bare):
    """A copy of the learner's networks, a fused Adam, the clipped surrogate and the value loss; rows in PPO's order."""

    def __init__(self, prepared: RLTrainer) -> None:
        import torch

        super().__init__(prepared)
        self.settings: Any = prepared.hyperparameters
        self.module = copy.deepcopy(self.learner.population)
        self.mode = self.module.mode
        self.adam = torch.optim.Adam(self.module.parameters(), lr=self.settings.lr, fused=True)

    def learn(self, episodes: list[Any]) -> None:
        self.learner.update(
            episodes=episodes,
            timesteps={},
            num_epochs=self.settings.epochs,
            minibatch_size=self.settings.minibatch,
            shuffle_batch_per_epoch=True,
        )

    def prepare(self, episodes: list[Any]) -> dict[str, Tensor]:
        """Rows [L, ...] and advantages, as a plain loop would have them at hand from its own rollout."""
        from ray.rllib.core import DEFAULT_MODULE_ID

        batch: dict[str, Any] = self.learner._learner_connector(
            rl_module={DEFAULT_MODULE_ID: _Wrapped(self.module)}, batch={}, episodes=episodes, shared_data={}
        )
        rows: dict[str, Tensor] = batch[DEFAULT_MODULE_ID]
        return rows

    def update(self, episodes: list[Any]) -> None:
        import torch

        from market.rl.minibatches import minibatch_rows, take

        rows, settings = self.prepare(episodes), self.settings
        count = len(rows["obs"])
        for chosen in minibatch_rows(count, settings.minibatch, epochs=settings.epochs):
            index = torch.from_numpy(chosen)
            self.adam.zero_grad()
            self._loss({name: take(x, index) for name, x in rows.items()}).backward()  # type: ignore[no-untyped-call]
            self._clip()
            self.adam.step()

    def _loss(self, rows: dict[str, Tensor]) -> Tensor:
        """The clipped surrogate and the squared errors of values, means over the rows that count, sums over agents."""
        import torch

        settings = self.settings
        weight = rows["loss_mask"].float()
        weight = weight / weight.sum()
        mean, log_std = self.module.actor(rows["obs"]).chunk(2, dim=-1)
        density = torch.distributions.Normal(mean, log_std.clamp(-5.0, 2.0).exp(), validate_args=False)
        logp: Tensor = density.log_prob(rows["actions"]).sum(-1)  # type: ignore[no-untyped-call]
        value = self.module.critic(rows["obs"]).squeeze(-1)
        if self.mode.joint_ratio:
            logp = logp.sum(-1)
        ratio = (logp - rows["action_logp"]).view(len(weight), -1).exp()
        gain, band = rows["advantages"], ratio.clamp(1 - settings.clip, 1 + settings.clip)
        surrogate = torch.min(ratio * gain, band * gain).sum(-1)
        error = (value - rows["value_targets"]).square().sum(-1)
        return weight @ (settings.value_coeff * error - surrogate)

    def _clip(self) -> None:
        """Stacked parameters agent by agent, all others together."""
        import torch

        limit = self.settings.grad_clip
        stacked = [p for p in self.module.parameters() if p.dim() == 3]
        central = [p for p in self.module.parameters() if p.dim() != 3]
        if stacked:
            norms = torch.stack([p.grad.flatten(1).norm(dim=1) for p in stacked if p.grad is not None]).norm(dim=0)
            scale = (limit / (norms + 1e-6)).clamp(max=1.0)
            for p in stacked:
                if p.grad is not None:
                    p.grad.mul_(scale.view(-1, 1, 1))
        if central:
            torch.nn.utils.clip_grad_norm_(central, limit)


class _Wrapped:
    """A module as the learner's pipeline asks for it."""

    def __init__(self, module: Any) -> None:
        self._module = module

    def unwrapped(self) -> Any:
        return self._module
