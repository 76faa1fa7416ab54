"""One cell of a campaign: a training whose position is measured on the way, or the references that it is held against.

Position of an episode: 0 is the DSO alone, 1 the cooperative optimum. `python -m benches.campaign.cell FILE CELL ...`
measures the cells that are given as JSON, and adds a line of each to the file.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any, NamedTuple

from benches.campaign.changes import TODAY, changed
from benches.measure import machine
from benches.measure.records import plain
from benches.measure.runs import append_line
from benches.terminal.text import named, one_line
from benches.workloads.references import evaluated
from market.community.scenario import Scenario
from market.evaluation.optimum import attainable
from market.evaluation.policies import POLICIES, play
from market.rl.results import mean_of_numbers
from market.support.files import write_whole
from market.support.kernels import digest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from market import RLTrainer
    from market.support.arrays import Floats

Result = dict[str, Any]


class References(NamedTuple):
    """Every policy that does not learn, on the held-out episodes of a community. seed: of the community."""

    agents: int
    seed: int
    episodes: int


class Training(NamedTuple):
    """A training. seed: of community and training. every: iterations between evaluations, on `episodes` each."""

    algorithm: str
    mode: str
    agents: int
    seed: int
    iterations: int
    every: int
    change: str = TODAY
    episodes: int = 10


Cell = Training | References


@functools.cache
def code() -> str:
    """A digest of all sources of `market`."""
    return digest(mark=b"")


def settings(cell: Cell) -> dict[str, Any]:
    """All that a result follows from, in JSON's types."""
    found = {**cell._asdict(), "code": code()}
    if isinstance(cell, Training):
        hyperparameters, arguments = changed(cell.algorithm, cell.change)
        found |= {"hyperparameters": dataclasses.asdict(hyperparameters), "trainer": arguments}
    return dict(plain(found))


def key_of(settings: dict[str, Any], *, any_code: bool = False) -> str:
    """A digest of the settings that a cell is known by. any_code: whatever `market` was then."""
    kept = {name: value for name, value in settings.items() if not (any_code and name == "code")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def measure(cell: Cell, file: Path) -> bool:
    """Measure a cell and add its line to the file, or say what went wrong; whether all went well."""
    found, said = settings(cell), " ".join(f"{name}={value}" for name, value in cell._asdict().items())
    kept = file.with_name(file.name + ".parts") / key_of(found)
    try:
        result = trained(cell, kept) if isinstance(cell, Training) else references(cell)
        append_line(file, {"settings": found, "commit": machine.commit(), "result": result})
    except Exception as error:  # noqa: BLE001 - whatever a cell raises, the others go on
        print(one_line(f"FAILED {said}: {named(error)}"), file=sys.stderr, flush=True)
        return False
    print(f"done {said}", file=sys.stderr, flush=True)
    return True


def measure_each(cells: Sequence[Cell], file: Path) -> bool:
    """`measure` of all of them; one that fails stops no other."""
    went = [measure(cell, file) for cell in cells]
    return all(went)


def references(cell: References) -> Result:
    """Mean position of every row of POLICIES."""
    params, start = evaluated(Scenario.study(cell.agents, cell.seed).unseen, cell.seed, cell.episodes)
    gap, found = attainable(params, start), {}
    for name, policy in POLICIES.items():
        history = play(params, start.episode, policy)[1]
        found[name] = mean_of_numbers(history.saving.sum((0, 2)) / gap)
    return {"positions": found}


def trained(cell: Training, kept: Path) -> Result:
    """Evaluations in order, each with the losses of its iteration; median seconds of an iteration, wall and CPU."""
    from market import RLTrainer

    hyperparameters, arguments = changed(cell.algorithm, cell.change)
    scenario = Scenario.study(cell.agents, cell.seed)
    gaps = [attainable(*evaluated(days, cell.seed, cell.episodes)) for days in (scenario.unseen, scenario)]
    if kept.exists():
        trainer, done = _restored(kept)
    else:
        done = {"evaluations": [], "seconds": [], "cpu_seconds": []}
        own: dict[str, Any] = {"seed": cell.seed, "hyperparameters": hyperparameters, **arguments}
        trainer = RLTrainer(scenario, cell.algorithm, cell.mode, cell.iterations, **own)
    with trainer:
        for iteration in range(len(done["seconds"]) + 1, cell.iterations + 1):
            began = time.process_time()
            record = trainer.train_iteration()
            done["cpu_seconds"].append(time.process_time() - began)
            done["seconds"].append(record.total_seconds)
            if iteration % cell.every == 0 or iteration == cell.iterations:
                facts = {"iteration": iteration, "losses": dict(record.losses)}
                done["evaluations"].append(plain({**facts, **_evaluated(trainer, cell.episodes, gaps)}))
                _keep(trainer, done, kept)
    kept.unlink(missing_ok=True)
    return done | {name: median(done[name]) for name in ("seconds", "cpu_seconds")}


def _evaluated(trainer: RLTrainer, episodes: int, gaps: list[Floats]) -> dict[str, float]:
    """Positions on held-out days and on those of training; on the former also who is worse off."""
    held_out, training = (trainer.evaluate(episodes, scenario).kpis for scenario in (None, trainer.scenario))
    return {
        "position": mean_of_numbers(held_out["cost_saving"] / gaps[0]),
        "training_position": mean_of_numbers(training["cost_saving"] / gaps[1]),
        "share_worse_off": mean_of_numbers(held_out["share_worse_off"]),
    }


def _keep(trainer: RLTrainer, done: Result, kept: Path) -> None:
    """Write how far a training has come and its checkpoint to one file."""
    with tempfile.TemporaryDirectory() as folder:
        trainer.save(checkpoint := Path(folder, "checkpoint"))
        write_whole(kept, json.dumps(done).encode() + b"\n" + checkpoint.read_bytes())


def _restored(kept: Path) -> tuple[RLTrainer, Result]:
    """What `_keep` has written."""
    from market import RLTrainer

    done, _, checkpoint = kept.read_bytes().partition(b"\n")
    with tempfile.TemporaryDirectory() as folder:
        write_whole(path := Path(folder, "checkpoint"), checkpoint)
        return RLTrainer.restore(path), json.loads(done)


if __name__ == "__main__":  # its parent has pinned the threads
    asked = [json.loads(text) for text in sys.argv[2:]]
    with contextlib.suppress(KeyboardInterrupt):  # the parent says so
        cells = [(Training if "algorithm" in each else References)(**each) for each in asked]
        sys.exit(not measure_each(cells, Path(sys.argv[1])))
    sys.exit(1)
