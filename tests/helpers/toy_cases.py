"""A table of toy cases: quick ones, and some that fail, lack inputs or memory, hang, crash or are not built yet.

The environment variable MENDED makes the failing and the hanging one well.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from benches.case import Case, Outcome, Unsupported, table

MENDED = "MENDED"
HANGING = Path("hanging")
"""Written by the case that hangs as soon as it does."""
ORPHAN = Path("orphan")
"""Holds the number of a process that a cell has started and left."""


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


def leave(params, turn):
    if params["agents"] == 2 and MENDED not in os.environ:
        os._exit(0)


def orphan(params, turn):
    """Starts a process that outlives the call and keeps every stream open; then the cell crashes."""
    if params["agents"] == 2:
        code = f"open({str(ORPHAN)!r}, 'w').write(str(__import__('os').getpid())); __import__('time').sleep(300)"
        subprocess.Popen([sys.executable, "-c", code], close_fds=False)
        while not ORPHAN.exists() or not ORPHAN.read_text():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGKILL)


def remove(params, turn):
    """Takes away the records, or their whole folder, as a user may who tidies up."""
    if turn == 0 and params["agents"] == 2:
        (Path("results") / "latest" / "cases.jsonl").unlink(missing_ok=True)
    if turn == 0 and params["agents"] == 3:
        shutil.rmtree((Path("results") / "latest").resolve(), ignore_errors=True)


class Unspeakable(Exception):
    def __str__(self):
        raise ValueError("no words")


def speak(params, turn):
    errors = {2: Unspeakable(), 3: ValueError("\ud800 \x1b[31m|"), 4: ValueError("word " * 2_000_000)}
    if params["agents"] in errors:
        raise errors[params["agents"]]


def only_ppo(params):
    if params["algorithm"] == "sac":
        raise Unsupported("sac is not built yet")
    return params


def work(params, turn):
    """CPU seconds that are linear in the agents, with a floor."""
    sum(range(2_000 + 2_000 * params["agents"]))


def case(name, call, sizes=(1, 2, 3), setup=dict, references=(), processes=0, beside=None, **axes):
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
        references=dict(references),
        processes=processes,
        beside=beside,
        clock="wall" if name.startswith("train") else "cpu",
    )


MATRIX = {"seed": (42,), "mode": ("ctce", "dtde"), "algorithm": ("ppo", "sac"), "iterations": (3,)}
CASES = table(
    case("toy/add", spin, (1, 4, 16, 64), references={"idle": lambda *_: time.sleep(0.005)}),
    case("toy/broken", fail),
    case("toy/hang", hang),
    case("toy/crash", crash),
    case("toy/swell", swell),
    case("toy/leave", leave),
    case("toy/orphan", orphan),
    case("toy/remove", remove),
    case("toy/speak", speak, (1, 2, 3, 4)),
    case("toy/rotate", work, (1, 2, 4, 8), processes=2),
    case("toy/rotate_end", crash, processes=2),
    case("toy/rotate_fail", fail, processes=2),
    case("toy/late", spin, beside=lambda params: (-params["agents"],)),
    case("toy/unready", spin, (1, 2), refuse),
    case("train/iteration", spin, (1, 2), only_ppo, **MATRIX),
)
