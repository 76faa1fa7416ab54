"""The goals of the learner and of the floors of `clear` and `step`, each against a reference, in turns.

The learner is measured against what it was at `EARLIER`, in a process of its own over that commit. The bare torch loop,
the matrix products alone, and XLA where it is installed, say how far the machine's limit is; they decide nothing.
"""

from __future__ import annotations

import hashlib
import operator
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from itertools import product
from pathlib import Path
from typing import Any

from benches.case import Params, Point, Unsupported
from benches.cases import CASES, MODES
from benches.gate.pair import environment
from benches.gate.plan import check_out
from benches.goals.goal import Figure, Goal
from benches.measure.machine import ROOT
from benches.measure.process import Process
from benches.rivals.bare import BARE
from benches.workloads import inputs
from benches.workloads.training import EPISODES

EARLIER = "fc46f2a"
"""The commit whose learner is to be beaten: the last one before networks were stacked into compiled passes."""
SIZES, ROUNDS = (1, 10, 100), (20, 10, 5)
SURROGATE = (0.5, 0.65, 0.85)
SHARES = {"ppo": SURROGATE, "appo": SURROGATE, "sac": (0.6, 0.7, 0.9)}
"""How much of its CPU time is allowed, for each of SIZES."""
PATIENCE = 300.0
"""Seconds in which an earlier commit must have started, compiled and answered."""
LARGE, THREAD_ROUNDS, FREE = 1000, 3, 1.8
"""Agents and rounds of the goal of two threads; CPUs that two busy threads must get for it to be judged."""
FLOOR_ROUNDS, FLOOR_BLOCK = 40, 100
STEP = replace(CASES["step/agents"], call=inputs.advance)
FLOORS = (
    ("clear", CASES["clear/orders"], {"orders": 100}, 1.0),
    ("clear", CASES["clear/orders"], {"orders": 1000}, 60 / 25),
    ("step of one community", STEP, {"episodes": 1, "agents": 100}, 1.0),
)
"""Limits in loops of 1,000 additions, which take about 25 us."""


def learner() -> Iterator[Figure]:
    """CPU time of an update against that of the earlier commit, and how far a bare loop, the products and XLA are."""
    case = CASES["train/learner"]
    with tempfile.TemporaryDirectory(prefix="earlier-") as place:
        checkout = check_out(EARLIER, Path(place), ROOT).folder
        for (algorithm, shares), mode in product(SHARES.items(), MODES):
            for agents, rounds, share in zip(SIZES, ROUNDS, shares, strict=True):
                params: Params = {"mode": mode, "algorithm": algorithm, "agents": agents}
                with Earlier(checkout, case.name, params) as earlier:
                    turns = Point(replace(case, references={"earlier": earlier.cpu_seconds, **case.references}), params)
                    taken = cpu_in_turns(turns, rounds)
                name = f"learner against {EARLIER}, {algorithm}, {mode}, N={agents}"
                yield against("earlier", name, taken, share)


class Earlier(Process):
    """An earlier commit's call of one cell of its own table."""

    def __init__(self, checkout: Path, case: str, params: Params) -> None:
        script = str(Path(__file__).with_name("earlier.py"))
        super().__init__("-P", script, cwd=checkout, env=environment(checkout))
        self.send({"case": case, "params": params})

    def cpu_seconds(self, _prepared: object, turn: int) -> float:
        """Of one call."""
        self.send(turn)
        return float(self.answer(PATIENCE))


def against(reference: str, name: str, taken: dict[str, list[float]], limit: float) -> Figure:
    """The figure of CPU seconds by round, of "learner", of a reference, and of what else there is."""
    mine = taken["learner"]
    ratios = {each: statistics.median(map(operator.truediv, mine, its)) for each, its in taken.items()}
    others = "".join(f"; {ratios[each]:.2f} x {each}" for each in taken if each not in ("learner", reference))
    detail = f"ratio of the minima {min(mine) / min(taken[reference]):.3g}, {len(mine)} rounds{others}"
    return Figure(name, ratios[reference], limit, "times the CPU time", detail)


def cpu_in_turns(point: Point, rounds: int, block: int = 1) -> dict[str, list[float]]:
    """CPU seconds of the call ("learner") and of each reference that there is, round by round after a cold one.

    block: calls of each in a round.
    """
    case = point.case
    calls: dict[str, Callable[[Any, int], object]] = {"learner": case.call, **case.references}
    taken: dict[str, list[float]] = {name: [] for name in calls}
    prepared = case.setup(point.params)
    try:
        for turn in range(rounds + 1):
            for name in list(taken):
                try:
                    taken[name].append(sum(_cpu_seconds(calls[name], prepared, turn * block + i) for i in range(block)))
                except Unsupported:
                    del taken[name]
    finally:
        case.close(prepared)
    return {name: seconds[1:] for name, seconds in taken.items()}


def _cpu_seconds(call: Callable[[Any, int], object], prepared: Any, turn: int) -> float:
    """Of this process, or those that the call returns because another process spent them."""
    began = time.process_time()
    elsewhere = call(prepared, turn)
    return elsewhere if isinstance(elsewhere, float) else time.process_time() - began


def threads() -> Iterator[Figure]:
    """The update of a thousand agents on two threads against one, wall seconds."""
    from market import RLTrainer, Scenario
    from market.rl.scopes import torch_threads

    scenario = Scenario.study(LARGE, inputs.SEED)
    with ExitStack() as stack:
        made = (RLTrainer(scenario, "ppo", "dtde", 1, EPISODES, cpus=cpus, seed=inputs.SEED) for cpus in (1, 2))
        trainers = [stack.enter_context(trainer) for trainer in made]
        episodes: Any = trainers[0]._algorithm.env_runner.sample()
        pair = [BARE["ppo"](trainer) for trainer in trainers]

        def update(cpus: int) -> float:
            with torch_threads(cpus):
                began = time.perf_counter()
                pair[cpus - 1].learn(episodes)
                return time.perf_counter() - began

        update(1), update(2)
        yield speed_up([(update(1), update(2), free_cpus()) for _ in range(THREAD_ROUNDS)])


def speed_up(rounds: list[tuple[float, float, float]]) -> Figure:
    """The figure of seconds on one thread and on two, and the CPUs that were free then; judged on free rounds alone."""
    free = [each for each in rounds if each[2] >= FREE]
    ratio = statistics.median(one / two for one, two, _ in free or rounds)
    detail = f"{len(free)} of {len(rounds)} rounds had {FREE} CPUs to themselves"
    name = f"two threads against one, PPO learner, dtde, N={LARGE}"
    return Figure(name, ratio, 1.7, "times as fast", detail, at_least=True, judged=bool(free))


def free_cpus(count: int = 2) -> float:
    """CPU seconds a second that so many busy threads get now."""
    block = bytes(2**26)  # hashing it takes some 0.1 s without the interpreter
    busy = [threading.Thread(target=hashlib.sha256, args=(block,)) for _ in range(count)]
    wall, cpu = time.perf_counter(), time.process_time()
    for thread in busy:
        thread.start()
    for thread in busy:
        thread.join()
    return (time.process_time() - cpu) / (time.perf_counter() - wall)


def floors() -> Iterator[Figure]:
    """`clear`, and a step of one community, against a loop in plain Python."""
    for what, case, params, limit in FLOORS:
        point = Point(replace(case, references={"additions": additions}), params)
        taken = cpu_in_turns(point, FLOOR_ROUNDS, FLOOR_BLOCK)
        name = f"{what}, {point.size:.0f} {case.size}, against 1,000 additions in Python"
        yield against("additions", name, taken, limit)


def additions(_prepared: Any, _turn: int) -> None:
    """What the interpreter's speed is measured by."""
    total = 0
    for number in range(1000):
        total += number


LEARNER_GOALS = {"learner": Goal(learner, 300), "threads": Goal(threads, 100), "floors": Goal(floors, 10)}
