"""Train cells (algorithm x mode x agents x seed), measure them on days not seen in training, and print tables.

A finished cell is a line of the file and is not run again with equal settings; one that was cut off goes on from its
last evaluation. Options beside --preset replace those of the preset.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

from benches.campaign import tables
from benches.campaign.cell import Cell, References, Training, key_of, measure_each, settings
from benches.campaign.changes import CHANGES, TODAY
from benches.measure import machine
from benches.terminal import show
from benches.terminal.arguments import count, counts, names
from benches.terminal.text import one_line
from market.rl.hyperparameters import RLAlgorithm
from market.rl.modes import TrainingMode

PRESETS: dict[str, dict[str, Any]] = {
    "issue": {"agents": (5, 20), "seeds": (0, 1, 2), "iterations": 200, "every": 5},
    "campaign": {"agents": (5, 10, 20, 50, 100), "seeds": (0, 1, 2, 3, 4), "iterations": 500},
    "changes": {"algorithms": ("ppo",), "modes": ("dtde", "ctde"), "agents": (10,), "change": tuple(CHANGES)},
}
"""Options of a usual campaign, by name."""
TOGETHER = 6
"""Cells that one process measures, so that each does not wait for torch and Ray to load."""
INTERRUPTED = 130
"""Exit status after Ctrl-C."""
Line = dict[str, Any]


def several(known: Sequence[str], text: str) -> tuple[str, ...]:
    """Names that are among those known; all of them for "all"."""
    return tuple(known) if text == "all" else names(known, text)


def asked(arguments: list[str] | None) -> argparse.Namespace:
    """The options: those given, else the preset's, else the defaults."""
    parser = argparse.ArgumentParser("python -m benches.campaign", description=(__doc__ or "").splitlines()[0])
    option = partial(parser.add_argument, metavar="X,X")
    algorithms, modes = [each.value for each in RLAlgorithm], [each.value for each in TrainingMode]
    parser.add_argument("--preset", choices=PRESETS)
    option("--algorithms", type=partial(several, algorithms), default=tuple(algorithms), help=", ".join(algorithms))
    option("--modes", type=partial(several, modes), default=tuple(modes), help=", ".join(modes))
    option("--agents", type=counts, default=(5, 20))
    option("--seeds", type=partial(counts, least=0), default=(0, 1, 2), help="of community and training")
    option("--change", type=partial(several, list(CHANGES)), default=(TODAY,), help=f"all, or: {', '.join(CHANGES)}")
    option("--iterations", type=count, default=200, metavar="X")
    option("--every", type=count, default=10, metavar="X", help="iterations between evaluations")
    option("--episodes", type=count, default=10, metavar="X", help="episodes of an evaluation")
    option("--processes", type=count, default=2, metavar="X", help="cells at a time; each computes on one thread")
    option("--file", type=Path, default=Path("results", "campaign.jsonl"), metavar="PATH")
    parser.add_argument("--any-code", action="store_true", help="take over cells that other sources of market measured")
    parser.add_argument("--tables", action="store_true", help="print the tables of the file and train nothing")
    parser.set_defaults(**PRESETS.get(parser.parse_known_args(arguments)[0].preset, {}))
    given = parser.parse_args(arguments)
    if given.file.is_dir():
        parser.error(f"--file: got the folder {str(given.file)!r}; allowed: a file")
    return given


def cells_of(given: argparse.Namespace) -> list[Cell]:
    """References first; then one seed after the other, so that early tables hold every combination."""
    found: list[Cell] = [References(n, seed, given.episodes) for n, seed in product(given.agents, given.seeds)]
    axes = product(given.seeds, given.agents, given.change, given.algorithms, given.modes)
    for seed, agents, change, algorithm, mode in axes:
        found.append(Training(algorithm, mode, agents, seed, given.iterations, given.every, change, given.episodes))
    return found


def read(path: Path) -> tuple[list[Line], int]:
    """The lines of a campaign's file, and how many more are damaged or cut short."""
    found, damaged = [], 0
    for text in path.read_bytes().splitlines() if path.exists() else ():
        try:
            line = json.loads(text)
            found.append({"settings": dict(line["settings"]), "result": dict(line["result"])})
        except (ValueError, TypeError, KeyError):
            damaged += 1
    return found, damaged


def apart(cells: Sequence[Cell], file: Path) -> bool:
    """`measure` of cells in a process of their own."""
    command = [sys.executable, "-m", "benches.campaign.cell", str(file.absolute())]
    command += [json.dumps(cell._asdict()) for cell in cells]
    status = subprocess.run(command, stdout=subprocess.DEVNULL, cwd=machine.ROOT, check=False).returncode
    return status == 0


def run(
    wanted: Sequence[Cell], file: Path, processes: int, tell: Callable[[str], None], *, any_code: bool = False
) -> bool:
    """Measure the cells that are not in the file yet; whether all went well."""
    known = {key_of(line["settings"], any_code=any_code) for line in read(file)[0]}
    left = [cell for cell in wanted if key_of(settings(cell), any_code=any_code) not in known]
    tell(one_line(f"{len(wanted)} cells, {len(wanted) - len(left)} of them in {file}"))
    file.parent.mkdir(parents=True, exist_ok=True)
    began, well, done = time.monotonic(), True, 0
    size = 1 if processes == 1 else max(1, min(TOGETHER, len(left) // processes))
    batches = [left[first : first + size] for first in range(0, len(left), size)]
    with ThreadPoolExecutor(processes) as pool:
        each = partial(measure_each if processes == 1 else apart, file=file)
        try:
            for batch, went in zip(batches, (map if processes == 1 else pool.map)(each, batches), strict=True):
                well &= went
                done += len(batch)
                about = (time.monotonic() - began) / done * (len(left) - done)
                tell(f"{done} of {len(left)}, about {show.clock(about)} left")
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # after Ctrl-C, which ends the processes, begin no others
    return well


def main(arguments: list[str] | None = None) -> int:
    """Run what is asked for, then print the tables; 0 when every cell is there."""
    given, status = asked(arguments), 0
    tell = partial(print, file=sys.stderr, flush=True)
    if not given.tables:
        try:
            status = int(not run(cells_of(given), given.file, given.processes, tell, any_code=given.any_code))
        except KeyboardInterrupt:
            status = INTERRUPTED
            tell("interrupted; the same command goes on from here")
        except (OSError, ValueError) as error:
            tell(one_line(str(error)))
            status = 2
    lines, damaged = read(given.file)
    if damaged:
        tell(f"{given.file}: {damaged} lines are damaged or cut short and were skipped")
    print(tables.of(lines))
    return status
