"""THE table of cases. pytest-benchmark and asv both read it: to add a benchmark, add a row here.

Importing this module loads neither the market nor torch nor ray, and times nothing.
"""

from __future__ import annotations

from benches import inputs
from benches.case import Case, Grid, Params, table
from benches.inputs import EPISODES, INPUTS, STEPS, inputs_by_size, number

POPULATIONS = (1, 5, 10, 20, 50, 100)
"""Agents of the study; `full` goes on to 1000."""
MORE = (*POPULATIONS, 200, 500, 1000)
MODES = ("ctce", "ctde", "dtde")
ALGORITHMS = ("ppo", "appo", "sac")
ORDERS = (10, 100, 1_000, 10_000, 100_000)
PROFILES = ("quick", "study", "full")


def _profiles(quick: Grid, study: Grid | None = None, full: Grid | None = None) -> dict[str, Grid]:
    """The grids of a case; a profile that is not given is as the one before it."""
    study = study or quick
    return dict(zip(PROFILES, (quick, study, full or study), strict=True))


def _rows(axis: str) -> dict[str, float]:
    raise NotImplementedError(axis)


def _orders(params: Params) -> dict[str, float]:
    return {"orders": number(params, "orders")}


def _step(params: Params) -> dict[str, float]:
    envs = number(params, "episodes")
    return {"agent_steps": envs * number(params, "agents"), "env_steps": envs}


def _training(params: Params, episodes: int) -> dict[str, float]:
    return {"agent_steps": episodes * STEPS * number(params, "agents"), "env_steps": episodes * STEPS}
