"""A replay buffer of whole episodes in preallocated arrays.

RLlib's episode buffer makes one Python object per sampled row; here a minibatch is one gather per column.
Shapes: S slots of an episode each, T steps, N agents, V rewards per step (1 for the team's, else N), B rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from ray.rllib.core.columns import Columns
from torch import Tensor

HELD, POSITION = "replay/", "replay position"
"""Names in a snapshot: the columns begin with the first."""


class EpisodeReplay:
    """The newest episodes, as many as fit into `capacity` env-steps; a new episode overwrites the oldest.

    Observations are stored once, [S, T + 1, N, obs]: the next observation of a step is that of the row after it.
    The episodes of one call of `add` fit, as `configure_sac` sees to.
    Memory is reserved when the first episodes arrive and touched when it is used.
    """

    def __init__(self, capacity: int, device: torch.device) -> None:
        self.capacity, self.device = capacity, device
        self.position = self.episodes = 0
        self._columns: dict[str, Tensor] = {}

    @property
    def steps(self) -> int:
        """Env-steps held."""
        return self.episodes * self._columns[Columns.ACTIONS].shape[1] if self._columns else 0

    def add(self, new: Mapping[str, Any]) -> None:
        """Store E episodes, arrays by name as `batches.stack_episodes` gives them."""
        count, steps = new[Columns.REWARDS].shape[:2]
        slots = self.capacity // steps
        if not self._columns:
            self._columns = {
                name: torch.empty((slots, *x.shape[1:]), dtype=torch.float32, device=self.device)
                for name, x in new.items()
            }
        where = (self.position + torch.arange(count, device=self.device)) % slots
        for name, x in new.items():
            self._columns[name][where] = torch.as_tensor(x, dtype=torch.float32).to(self.device)
        self.position = (self.position + count) % slots
        self.episodes = min(self.episodes + count, slots)

    def sample(self, rows: int) -> dict[str, Tensor]:
        """B = `rows` steps, each drawn uniformly from all that are held, with torch's global generator."""
        steps = self._columns[Columns.ACTIONS].shape[1]
        step = torch.randint(self.steps, (rows,)).to(self.device)
        episode = step // steps
        observed = self._columns[Columns.OBS].flatten(0, 1)
        last = step - episode * steps == steps - 1
        return {
            Columns.OBS: observed[step + episode],  # an episode has one observation more than steps
            Columns.NEXT_OBS: observed[step + episode + 1],
            Columns.ACTIONS: self._columns[Columns.ACTIONS].flatten(0, 1)[step],
            Columns.REWARDS: self._columns[Columns.REWARDS].flatten(0, 1)[step],
            Columns.TERMINATEDS: self._columns[Columns.TERMINATEDS][episode] * last,
        }

    def snapshot(self) -> dict[str, NDArray[Any]]:
        """Everything that `sample` depends on, by name, without the unused memory."""
        held = {f"{HELD}{name}": x[: self.episodes].cpu().numpy().copy() for name, x in self._columns.items()}
        return {POSITION: np.array(self.position), **held}

    def take_over(self, kept: Mapping[str, NDArray[Any]]) -> None:
        """Become the buffer that `kept` is a snapshot of, among other things."""
        self.position, self.episodes, self._columns = 0, 0, {}
        if held := {name.removeprefix(HELD): np.array(x) for name, x in kept.items() if name.startswith(HELD)}:
            self.add(held)
        self.position = int(kept[POSITION])
