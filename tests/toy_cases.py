"""A table of toy cases: quick ones, and some that fail, lack inputs or memory, hang, crash, or are not built yet.

The environment variable MENDED makes the failing and the hanging one well.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np

from benches.case import Case, Outcome, Unsupported, table

MENDED = "MENDED"
HANGING = Path("hanging")
"""Written by the case that hangs as soon as it does."""


def spin(params, turn):
    end = time.perf_counter() + 2e-4 * params["agents"]
    while time.perf_counter() < end:
        pass
    return Outcome({"sampling": 0.1, "learning": 0.2}, {"episodes": 7})


def fail(params, turn):
    if params["agents"] == 2 and MENDED not in os.environ:
        raise RuntimeError("boom\nover two lines")


def hang(params, turn):
    if params["agents"] == 3 and MENDED not in os.environ:
        HANGING.touch()
        time.sleep(120)


def refuse(params):
    if params["agents"] == 2:
        raise ValueError("no inputs")
    return params


def crash(params, turn):
    if params["agents"] == 2 and MENDED not in os.environ:
        os.kill(os.getpid(), signal.SIGKILL)


def swell(params, turn):
    if params["agents"] == 2 and MENDED not in os.environ:
        np.empty(2**60, np.uint8)


def only_ppo(params):
    if params["algorithm"] == "sac":
        raise Unsupported("sac is not built yet")
    return params


def case(name, call, sizes=(1, 2, 3), setup=dict, **axes):
    grid = {**axes, "agents": sizes}
    return Case(
        name=name,
        size="agents",
        grids={"quick": grid, "study": grid},
        setup=setup,
        call=call,
        work=lambda params: {"agent_steps": 24.0 * params["agents"], "env_steps": 24.0},
        budget=1.2,
        rounds=lambda params: 5,
    )


MATRIX = {"seed": (42,), "mode": ("ctce", "dtde"), "algorithm": ("ppo", "sac"), "iterations": (3,)}
CASES = table(
    case("toy/add", spin, (1, 4, 16, 64)),
    case("toy/broken", fail),
    case("toy/hang", hang),
    case("toy/crash", crash),
    case("toy/swell", swell),
    case("toy/unready", spin, (1, 2), refuse),
    case("train/iteration", spin, (1, 2), only_ppo, **MATRIX),
)
