"""What a user waits for before anything is computed, and what a training holds, each in a process of its own."""

from __future__ import annotations

import gc
import itertools
import json
import os
import resource
import subprocess
import sys
import tempfile
import time

from benches.case import Outcome, Params
from benches.measure import machine
from benches.workloads.inputs import number

IMPORTS = 3
"""Imports of which the quickest counts."""
IMPORT = "import market"
CLEAR = "from benches.workloads import inputs; inputs.clear_book(inputs.books_of(10, 1), 0)"
TRAINING = "from benches.workloads import startup; startup.print_training({params})"
SETTLED = 4
"""Iterations after which a training holds all that it will hold, but for what grows."""


def processor_seconds(code: str, **environment: str) -> tuple[float, str]:
    """CPU seconds, user and system, of a new Python that runs `code`, and what it printed.

    Raises RuntimeError with its last words where it fails.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-P", "-c", code]
    environment = os.environ | {"PYTHONPATH": str(machine.ROOT)} | environment
    done = subprocess.run(command, env=environment, capture_output=True, encoding="utf-8", check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{code}: {machine.ending(done.returncode, done.stderr.encode())}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def importing(_prepared: Params, _: int) -> Outcome:
    """`import market`, the quickest of some."""
    return Outcome(facts={"cpu_seconds": min(processor_seconds(IMPORT)[0] for _ in range(IMPORTS))})


def first_clear(_prepared: Params, _: int) -> Outcome:
    """A book cleared by a new process that finds no compiled kernel."""
    with tempfile.TemporaryDirectory(prefix="kernels-") as empty:
        return Outcome(facts={"cpu_seconds": processor_seconds(CLEAR, NUMBA_CACHE_DIR=empty)[0]})


def first_training(prepared: Params, _: int) -> Outcome:
    """A new process that trains: what it takes until there is a trainer, and what memory it holds.

    cpu_seconds: until the trainer is built, torch and Ray imported. resident_bytes: at most. growth_bytes: of an
    iteration, when it has settled.
    """
    return Outcome(facts=json.loads(processor_seconds(TRAINING.format(params=dict(prepared)))[1].splitlines()[-1]))


def print_training(params: Params) -> None:
    """Train in this process, and print the facts of `first_training`."""
    from benches.workloads import training

    trainer = training.trainer(params)
    built, held = time.process_time(), []
    for _ in range(number(params, "iterations")):
        trainer.train_iteration()
        held.append(resident())
    growth = sorted(after - before for before, after in itertools.pairwise(held[SETTLED - 1 :]))
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    facts = {"cpu_seconds": built, "resident_bytes": largest, "growth_bytes": growth[len(growth) // 2]}
    print(json.dumps(facts))
    training.close_trainer(trainer)


def resident() -> int:
    """Resident memory of this process, bytes, without garbage."""
    gc.collect()
    return machine.resident_memory()
