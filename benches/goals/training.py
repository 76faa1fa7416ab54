"""The goals of training: its speed, what surrounds the arithmetic, memory, start-up, and that it learns."""

from __future__ import annotations

import json
import math
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benches.campaign.cell import Cell, References, Training
from benches.campaign.command import read, run
from benches.campaign.tables import FALL, RIVALS, curves_of, references
from benches.cases import MODES
from benches.goals.goal import Figure, Goal, measured_median, measured_ratio, measured_record
from benches.measure import machine
from benches.rivals.bare import BARE
from benches.stats import intervals
from benches.terminal.text import one_line
from benches.workloads.inputs import SEED
from benches.workloads.startup import processor_seconds
from benches.workloads.training import ALGORITHMS, EPISODES, EVALUATION_EPISODES

LARGE = 1000
"""Agents of the goals for large populations."""
FEW, SEEDS = 5, range(5)
"""Agents and seeds of the goals of learning."""
BEST, LONG, SHORT, SLOW, EVERY = (("ppo", "dtde"), ("ppo", "ctde")), 150, 40, {"sac": 80}, 5
"""What has to become good; its iterations, those of all others, those of slow algorithms, those of an evaluation."""
LAST = 3
"""Evaluations that the end of a training is the mean of."""
GOOD, PROCESSES = 0.75, 2
OVERHEAD_ROUNDS = 30
APART = "from benches.goals.training import large; print(large({agents}))"
"""A training in a process of its own."""


def training() -> Iterator[Figure]:
    """One PPO iteration of 100 agents in each mode: 10 episodes x 24 steps, 10 epochs, minibatch 120, hidden 64-64."""
    for mode in MODES:
        name = f"PPO iteration, {mode}, N=100"
        yield measured_median(
            "train/iteration", 3.0, 1.0, "s", name, mode=mode, algorithm="ppo", iterations=5, agents=100
        )


def scale() -> Iterator[Figure]:
    """DTDE PPO of a thousand agents on two threads: time, share of sampling, memory; then building another trainer."""
    from market import RLTrainer, Scenario

    name = f"PPO, dtde, N={LARGE}"
    try:
        _, told = processor_seconds(APART.format(agents=LARGE))  # no other training has raised its peak memory
        seconds, share, peak = json.loads((told.splitlines() or [""])[-1])
        details = f"min {min(seconds):.3g}", f"max {max(share):.3g}", "resident, of a process of its own"
    except (RuntimeError, ValueError) as error:
        seconds, share, peak = [math.nan], [math.nan], math.nan
        details = (f"failed: {one_line(str(error))}",) * 3
    yield Figure(f"{name}, iteration, 2 threads", float(np.median(seconds)), 6.0, "s", details[0])
    yield Figure(f"{name}, sampling", float(np.median(share)), 10.0, "% of an iteration", details[1])
    yield Figure(f"{name}, peak memory", peak, 3.0, "GiB", details[2])
    for number, mode in enumerate(MODES[:1] + MODES):
        with RLTrainer(Scenario.study(10, SEED), "ppo", mode, 1, EPISODES, seed=SEED) as trainer:
            built = trainer.set_up.build_seconds
        if number:  # the first one loads torch and Ray
            yield Figure(f"building PPO, {mode}, N=10, not the first", built, 1.0, "s", "one build")


def large(agents: int) -> str:
    """DTDE PPO on two threads: seconds of three iterations, % of each sampling, peak GiB of this process; as JSON."""
    from market import RLTrainer, Scenario

    with RLTrainer(Scenario.study(agents, SEED), "ppo", "dtde", 3, EPISODES, cpus=2, seed=SEED) as trainer:
        trainer.train_iteration()
        records = [trainer.train_iteration() for _ in range(3)]
    share = [100 * record.sampling_seconds / record.total_seconds for record in records]
    return json.dumps([[record.total_seconds for record in records], share, machine.peak_memory() / 2**30])


def bare() -> Iterator[Figure]:
    """The update of a thousand agents against the same in a bare torch loop; `learner` has that of fewer."""
    for algorithm in BARE:
        for mode in MODES:
            record = measured_record("train/learner", mode=mode, algorithm=algorithm, agents=LARGE)
            yield measured_ratio(record, "bare", 1.3, f"{algorithm} learner, {mode}, N={LARGE}, against a bare loop")


def classic() -> Iterator[Figure]:
    """How many times as long one module per agent takes, 50 agents."""
    record = measured_record("train/classic", agents=50)
    yield measured_ratio(record, "classic", 10.0, "RLlib's usual way against ours, N=50", at_least=True)


def profiler() -> Iterator[Figure]:
    """What splitting an iteration into phases costs: CPU time with and without, in turn."""
    from market import RLTrainer, Scenario
    from market.support.phases import unrecorded

    with RLTrainer(Scenario.study(10, SEED), "ppo", "dtde", 1, EPISODES, seed=SEED) as trainer:
        trainer.train_iteration()
        split, whole = [], []
        for _ in range(OVERHEAD_ROUNDS):
            began = time.process_time()
            trainer.train_iteration()
            split.append(time.process_time() - began)
            with unrecorded():
                began = time.process_time()
                trainer.train_iteration()
                whole.append(time.process_time() - began)
    ratios = np.array(split) / np.array(whole)
    detail = f"of the minima {100 * (min(split) / min(whole) - 1):.3g}, {OVERHEAD_ROUNDS} pairs"
    yield Figure("cost of the profiler, N=10", 100 * (float(np.median(ratios)) - 1), 2.0, "% of CPU time", detail)


def learning() -> Iterator[Figure]:
    """Positions on days held out of training, 5 agents, 5 seeds: above what does not learn, good, and lasting."""
    combinations = [(algorithm, mode) for algorithm in ALGORITHMS for mode in MODES]
    iterations = {each: LONG if each in BEST else SLOW.get(each[0], SHORT) for each in combinations}
    cells: list[Cell] = [References(FEW, seed, EVALUATION_EPISODES) for seed in SEEDS]
    cells += [Training(*each, FEW, seed, iterations[each], EVERY) for seed in SEEDS for each in combinations]
    with tempfile.TemporaryDirectory() as folder:
        run(cells, file := Path(folder, "cells.jsonl"), PROCESSES, lambda _: None)
        lines = read(file)[0]
    rivals, curves = references(lines)[FEW, EVALUATION_EPISODES], curves_of(lines)
    passed = {seed: max(rivals[name][seed] for name in RIVALS) for seed in SEEDS}
    for group, curve in curves.items():
        name = f"learning, {group.algorithm}, {group.mode}, {group.iterations} iterations"
        last = curve.positions[:, -LAST:].mean(1)
        detail = f"position {last.mean():.2f}, {last.min():.2f} to {last.max():.2f} over {len(last)} seeds"
        above = intervals.of_mean([each - passed[seed] for each, seed in zip(last, curve.results, strict=True)])
        found = f"{detail}; interval {above.low:.2f} to {above.high:.2f}"
        yield Figure(f"{name}, above {' and '.join(RIVALS)}", above.mid, 0.0, "position", found, at_least=True)
        if (group.algorithm, group.mode) in BEST:
            yield Figure(f"{name}, below its best", curve.best - last.mean(), FALL, "position", detail)
            own = max(GOOD, float(np.mean(list(rivals["own_battery"].values()))))
            yield Figure(f"{name}, good", float(last.mean()), own, "position", detail, at_least=True)


TRAINING_GOALS = {
    "training": Goal(training, 25),
    "scale": Goal(scale, 60),
    "bare": Goal(bare, 300),
    "classic": Goal(classic, 80),
    "profiler": Goal(profiler, 20),
    "learning": Goal(learning, 300),
}
