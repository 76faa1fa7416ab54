"""The trainings of one or more runs as cells of the study: mode x algorithm x population, each with its repetitions."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from benches.measure.records import Record
from benches.report.data.table import training_seconds
from benches.stats import scaling
from benches.stats.intervals import Interval, of_mean
from benches.workloads.training import ALGORITHMS

CASES = ("train/whole", "train/iteration")
"""What the study may be read from: the one with more populations, at a tie the first."""
KEYS = {"mode", "algorithm", "agents"}
"""Parameters that a training of the study has."""
ENOUGH = 3
"""Repetitions from which on an interval is taken over them, and not within them."""
TRAINING = 50
"""Iterations of a training of the study."""
Repetition = tuple[int, int, int]
"""Run, seed and process."""

Combination = tuple[str, str]
"""Mode and algorithm."""


def rank(algorithm: str) -> int:
    """Place of an algorithm in a list."""
    return ALGORITHMS.index(algorithm) if algorithm in ALGORITHMS else len(ALGORITHMS)


@dataclass(frozen=True)
class Cell:
    """One combination at one population; `records` hold one per repetition (run, seed). Times in seconds."""

    mode: str
    algorithm: str
    agents: int
    records: dict[tuple[int, int], Record]

    @property
    def combination(self) -> Combination:
        return self.mode, self.algorithm

    @cached_property
    def times(self) -> dict[Repetition, float]:
        """Time by repetition on the clock that decides: of all iterations, or the median of single ones."""
        return {
            (*key, process): training_seconds(record) or statistics.median(rounds)
            for key, record in self.records.items()
            for process, rounds in enumerate([record.decisive] if training_seconds(record) else record.by_process)
            if rounds
        }

    @property
    def wall(self) -> float:
        """Median wall seconds, whatever clock decides."""
        return statistics.median(seconds for record in self.records.values() for seconds in record.seconds)

    @cached_property
    def time(self) -> Interval:
        """Mean over the repetitions; with fewer than three the interval is that of what was seen within them."""
        over = of_mean(list(self.times.values()))
        if len(self.times) >= ENOUGH:
            return over
        within = of_mean([seconds for record in self.records.values() for seconds in record.decisive])
        half = (within.high - within.low) / 2
        return Interval(over.mid, over.mid - half, over.mid + half)

    @cached_property
    def phases(self) -> dict[str, float]:
        """Share of each phase in the time of all phases, by name, as the records name them."""
        total: Counter[str] = Counter()
        for record in self.records.values():
            total.update({name: sum(seconds) for name, seconds in record.phases.items()})
        everything = sum(total.values())
        return {name: seconds / everything for name, seconds in total.items()} if everything > 0 else {}

    @property
    def memory(self) -> float:
        """Highest peak memory of a repetition, bytes; NaN where none was seen."""
        return max((record.peak_memory for record in self.records.values() if record.peak_memory), default=math.nan)

    @property
    def isolated(self) -> bool:
        """Whether every repetition had a process to itself."""
        return all(record.isolated for record in self.records.values())

    def mean(self, figure: str) -> float:
        """Mean over the repetitions of a rate or a fact; NaN where none has it."""
        known = [record.rates.get(figure, record.facts.get(figure)) for record in self.records.values()]
        return statistics.fmean(value for value in known if value is not None) if any(known) else math.nan

    @property
    def load(self) -> float:
        """Highest one-minute load average before or after."""
        loads = [load[0] for r in self.records.values() for load in (r.load_before, r.load_after) if load]
        return max(loads, default=math.nan)


@dataclass(frozen=True)
class Study:
    """Finished training cells of one case. case: its name. iterations: of each training. unit: what is timed."""

    case: str
    iterations: int
    cells: dict[tuple[str, str, int], Cell]
    curves: Mapping[str, scaling.Scaling]
    """The fitted laws of all series of the records, by name."""

    memory: Mapping[Combination, Mapping[int, float]] = field(default_factory=dict)
    """Highest peak memory by population, bytes, of trainings that had a process to themselves."""

    @property
    def unit(self) -> str:
        """What the seconds are of."""
        return f"training of {self.iterations} iterations" if self.case == "train/whole" else "training iteration"

    @property
    def beside(self) -> bool:
        """Whether cells were measured at the same time as others, and only for want of better ones tell of time."""
        return any(record.beside for cell in self.cells.values() for record in cell.records.values())

    @property
    def trained(self) -> int:
        """Iterations of a whole training."""
        return self.iterations if self.case == "train/whole" else TRAINING

    @property
    def units(self) -> int:
        """How many of what was timed make a training."""
        return 1 if self.case == "train/whole" else TRAINING

    def seconds(self, player: str, agents: int, iterations: float) -> float:
        """Of so many iterations of a training (`ctde ppo`); NaN where it was not timed."""
        mode, algorithm = player.split()
        cell = self.cells.get((mode, algorithm, agents))
        return cell.time.mid * self.units * iterations / self.trained if cell else math.nan

    @cached_property
    def modes(self) -> list[str]:
        return sorted({cell.mode for cell in self.cells.values()})

    @cached_property
    def algorithms(self) -> list[str]:
        found = {cell.algorithm for cell in self.cells.values()}
        return sorted(found, key=rank)

    @cached_property
    def populations(self) -> list[int]:
        return sorted({cell.agents for cell in self.cells.values()})

    @cached_property
    def combinations(self) -> list[Combination]:
        return [(m, a) for m in self.modes for a in self.algorithms if self.of(m, a)]

    def of(self, mode: str, algorithm: str) -> list[Cell]:
        """The cells of a combination by population."""
        cells = [cell for cell in self.cells.values() if cell.combination == (mode, algorithm)]
        return sorted(cells, key=lambda cell: cell.agents)

    @cached_property
    def laws(self) -> dict[Combination, scaling.Scaling]:
        """The fitted law of each combination."""
        series = {c: next(iter(self.of(*c)[0].records.values())).series for c in self.combinations}
        return {combination: self.curves[name] for combination, name in series.items()}

    def law_up_to(self, most: float, combination: Combination) -> scaling.Scaling:
        """The law fitted to the populations up to `most`."""
        processes: dict[tuple[int, ...], dict[float, list[float]]] = {}
        for cell in self.of(*combination):
            for key, record in cell.records.items():
                for number, rounds in enumerate(record.by_process if cell.agents <= most else ()):
                    processes.setdefault((*key, number), {})[float(cell.agents)] = rounds
        return scaling.fit(list(processes.values()))


def study_of(runs: Sequence[Sequence[Record]], curves: Mapping[str, scaling.Scaling]) -> Study | None:
    """The study in these records, whose laws by series are `curves`; None without a finished training."""
    found = [study for case in CASES if (study := _study(case, runs, curves)) is not None]
    chosen = max(found, key=lambda study: (not study.beside, len(study.populations)), default=None)
    return chosen and replace(chosen, memory=_memory(found))


def _memory(studies: Sequence[Study]) -> dict[Combination, dict[int, float]]:
    found: dict[Combination, dict[int, float]] = {}
    for cell in (cell for study in studies for cell in study.cells.values() if cell.isolated):
        if not math.isnan(cell.memory):
            peaks = found.setdefault(cell.combination, {})
            peaks[cell.agents] = max(cell.memory, peaks.get(cell.agents, 0.0))
    return found


def _study(case: str, runs: Sequence[Sequence[Record]], curves: Mapping[str, scaling.Scaling]) -> Study | None:
    everything = ((number, record) for number, records in enumerate(runs) for record in records)
    found = [(number, r) for number, r in everything if r.case == case and r.status == "ok" and set(r.params) >= KEYS]
    if not found:
        return None
    iterations = [int(record.params.get("iterations", 1)) for _, record in found]
    usual = statistics.mode(iterations)
    cells: dict[tuple[str, str, int], Cell] = {}
    for (number, record), count in zip(found, iterations, strict=True):
        if count != usual:
            continue  # another amount of work is another study
        mode, algorithm, agents = str(record.params["mode"]), str(record.params["algorithm"]), int(record.size)
        cell = cells.setdefault((mode, algorithm, agents), Cell(mode, algorithm, agents, {}))
        cell.records[number, record.seed] = record
    return Study(case, usual, cells, curves)
