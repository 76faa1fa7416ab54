"""What a user waits for before anything is computed, and what a training holds, each in a process of its own."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile

from benches.case import Outcome, Params
from benches.workloads.inputs import number

IMPORTS = 5
"""Imports of which the quickest counts."""
IMPORT = "import market"
CLEAR = "from benches.workloads import inputs; inputs.clear_book(inputs.books_of(10, 1), 0)"
TRAINER = "from benches.workloads import training; training.close_trainer(training.trainer({params}))"
TRAINING = "from benches.workloads import startup; startup.print_memory({params})"
SETTLED = 5
"""Iterations after which a training holds all that it will hold, but for what grows."""


def processor_seconds(code: str, **environment: str) -> tuple[float, str]:
    """CPU seconds, user and system, of a new Python that runs `code`, and what it printed.

    Raises RuntimeError with its last words where it fails.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, encoding="utf-8", check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"{code}: status {done.returncode}: {(done.stderr.strip().splitlines() or [''])[-1]}")
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def importing(_prepared: Params, _: int) -> Outcome:
    """`import market`, the quickest of some."""
    return Outcome(facts={"cpu_seconds": min(processor_seconds(IMPORT)[0] for _ in range(IMPORTS))})


def first_clear(_prepared: Params, _: int) -> Outcome:
    """A book cleared by a new process that finds no compiled kernel."""
    with tempfile.TemporaryDirectory(prefix="kernels-") as empty:
        return Outcome(facts={"cpu_seconds": processor_seconds(CLEAR, NUMBA_CACHE_DIR=empty)[0]})


def first_trainer(prepared: Params, _: int) -> Outcome:
    """A new process that builds a trainer: torch and Ray are imported in it."""
    return Outcome(facts={"cpu_seconds": processor_seconds(TRAINER.format(params=dict(prepared)))[0]})


def training_memory(prepared: Params, _: int) -> Outcome:
    """What a training holds after its last iteration, and how much more each iteration holds, bytes."""
    return Outcome(facts=json.loads(processor_seconds(TRAINING.format(params=dict(prepared)))[1].splitlines()[-1]))


def print_memory(params: Params) -> None:
    """Train in this process, and print the largest resident memory and the median growth of the later iterations."""
    from benches.workloads import training

    trainer = training.trainer(params)
    held = []
    for _ in range(number(params, "iterations")):
        trainer.train_iteration()
        held.append(resident())
    growth = sorted(after - before for before, after in zip(held[SETTLED - 1 :], held[SETTLED:], strict=False))
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"resident_bytes": largest, "growth_bytes": growth[len(growth) // 2]}))
    training.close_trainer(trainer)


def resident() -> int:
    """Resident memory of this process, bytes; its largest so far where there is no /proc."""
    import gc

    gc.collect()
    try:
        with open("/proc/self/statm", encoding="ascii") as file:  # noqa: PTH123
            return int(file.read().split()[1]) * resource.getpagesize()
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
