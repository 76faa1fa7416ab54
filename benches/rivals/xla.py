"""The gradient steps of a PPO update in jax, compiled by XLA, in a process and an environment of their own."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benches.case import Unsupported
from benches.measure import machine

if TYPE_CHECKING:
    from torch import Tensor

    from benches.rivals.loops import BarePPO

PYTHON = machine.ROOT / ".venv-jax" / "bin" / "python"
SCRIPT = machine.ROOT / "tests" / "differential" / "jax_ppo.py"
COLUMNS = ("obs", "actions", "action_logp", "advantages", "value_targets")
SETTINGS = ("lr", "clip", "value_coeff", "grad_clip")


def named_weights(module: Any) -> dict[str, Tensor]:
    """Of actor and critic, as part.kind.layer.name; the kind is "own" for agents' own networks, else "central"."""
    from market.rl.networks.stacked import Stacked

    found: dict[str, Tensor] = {}
    for part, network in (("critic", module.critic), ("actor", module.actor.network)):
        kind = "own" if isinstance(network, Stacked) else "central"
        for number, (weight, bias) in enumerate(network.stack.layers()):
            found |= {f"{part}.{kind}.{number}.weight": weight, f"{part}.{kind}.{number}.bias": bias}
    return {**found, f"actor.{kind}.log_std": module.actor.spread.log_std}


class Xla:
    """A process that has compiled the update, and repeats it when asked; each goes on from the one before.

    bare: weights and settings. columns: of the batch, prepared. rows: of each minibatch, [steps, B].
    Raises Unsupported where jax is not installed.
    """

    def __init__(self, bare: BarePPO, columns: dict[str, Any], rows: list[Any]) -> None:
        if not PYTHON.exists():
            raise Unsupported("jax is not installed; make .venv-jax/.ready")
        with tempfile.TemporaryDirectory() as folder:
            arrays: dict[str, Any] = {
                "rows": np.stack(rows).astype(np.int32),
                **{f"weight:{name}": x.detach().numpy() for name, x in named_weights(bare.module).items()},
                **{f"column:{name}": columns[name].float().numpy() for name in COLUMNS},
                **{f"setting:{name}": np.float32(getattr(bare.settings, name)) for name in SETTINGS},
            }
            np.savez(path := Path(folder, "update.npz"), **arrays)
            command = [str(PYTHON), str(SCRIPT), str(path)]
            self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8")
            self._answer()

    def update(self) -> float:
        """One update. Returns the CPU seconds that it took there."""
        return float(self._ask("update"))

    def weights(self) -> dict[str, Any]:
        """The weights by now, by the names of `named_weights`."""
        with tempfile.TemporaryDirectory() as folder, np.load(self._ask(str(Path(folder, "weights.npz")))) as file:
            return dict(file)

    def close(self) -> None:
        """End the process."""
        self._process.communicate()

    def _ask(self, line: str) -> str:
        assert self._process.stdin is not None
        print(line, file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> str:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self.close()
            raise RuntimeError(f"jax's process: {machine.ending(self._process.returncode)}")
        return line.strip()
