"""A population's networks in torch alone, which stay as they are however the market computes its own.

Shapes: B rows, N agents, V owners of critics (1 or N), A numbers per action.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

TARGET = "target_"
"""Networks whose name begins so follow others, and have no gradients."""


class Networks:
    """Copies of a module's weights, by the names of its state, and plain functions of them.

    population: the module of a trainer's learner.
    """

    def __init__(self, population: Any) -> None:
        self.mode, self.action_dist_cls = population.mode, population.action_dist_cls
        self.act = population.action_space.shape[1]
        self._activation = population.model_config["activation"]
        self.weights: dict[str, Tensor] = {
            name: x.detach().clone().requires_grad_(not name.startswith(TARGET))
            for name, x in population.state_dict().items()
        }

    def named(self, *parts: str) -> dict[str, Tensor]:
        """The weights of these parts of the module ("actor", "critic")."""
        return {name: x for name, x in self.weights.items() if name.split(".")[0] in parts}

    def actor(self, obs: Tensor, part: str = "actor") -> Tensor:
        """[B, N, in] -> means and log standard deviations [B, N, 2 A]."""
        import torch

        spread = self.weights.get(f"{part}.spread.log_std")
        if spread is None:
            return self._network(f"{part}.layers", obs, 2 * self.act)
        mean = self._network(f"{part}.network.layers", obs, self.act)
        return torch.cat((mean, spread.expand_as(mean)), -1)

    def target_actor(self, obs: Tensor) -> Tensor:
        """That of the target policy."""
        return self.actor(obs, "target_actor")

    def values(self, obs: Tensor) -> Tensor:
        """[B, N, in] -> [B, V]."""
        return self._network("critic.layers", obs, 1).squeeze(-1)

    def observe(self, obs: Tensor, part: str = "critic") -> Tensor:
        """SAC's twin critics: [B, N, in] -> the observations' part of their first layer, [2 V, B, hidden]."""
        import torch

        bias, weight = (self.weights[f"{part}.first.{name}"] for name in ("bias", "observation_weight"))
        return torch.baddbmm(bias, self._for_twins(obs, len(bias)), weight)

    def value(self, observed: Tensor, action: Tensor, part: str = "critic", *, frozen: bool = False) -> Tensor:
        """What `observe` gave, and [B, N, A] -> action values [2, B, V]. frozen: no gradients of weights."""
        import torch

        weight = self.weights[f"{part}.first.action_weight"]
        x = torch.baddbmm(observed, self._for_twins(action, len(weight)), weight.detach() if frozen else weight)
        out = self._layers(f"{part}.rest", self._activate(x), frozen)
        return out.reshape(2, -1, len(action)).transpose(1, 2)

    def _for_twins(self, x: Tensor, count: int) -> Tensor:
        return x.reshape(len(x), count // 2, -1).transpose(0, 1).repeat(2, 1, 1)

    def _network(self, prefix: str, x: Tensor, out: int) -> Tensor:
        """Stacked networks, each on its own agent's features, or one on those of all."""
        if self.weights[f"{prefix}.0.weight"].dim() == 3:
            return self._layers(prefix, x.transpose(0, 1)).transpose(0, 1)
        return self._layers(prefix, x.flatten(1)).reshape(len(x), -1, out)

    def _layers(self, prefix: str, x: Tensor, frozen: bool = False) -> Tensor:
        """Layers with an activation between two of them; stacked ones [N, B, in] -> [N, B, out]."""
        import torch

        found = [w.detach() if frozen else w for name, w in self.weights.items() if name.startswith(f"{prefix}.")]
        for number, (weight, bias) in enumerate(zip(found[::2], found[1::2], strict=True)):
            x = self._activate(x) if number else x
            x = torch.baddbmm(bias, x, weight) if weight.dim() == 3 else torch.addmm(bias, x, weight.t())
        return x

    def _activate(self, x: Tensor) -> Tensor:
        return x.tanh() if self._activation == "tanh" else x.relu()
