"""Command-line options of a benchmark run, checked, as one frozen value."""

from __future__ import annotations

import argparse
import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benches.case import PROFILES, Case, Point, Value
from benches.terminal.arguments import count, counts, name, names, positive
from benches.workloads.inputs import SEED
from benches.workloads.training import PROFILES_AXIS
from market.support.files import write_whole

SAVED = "run.json"
TIMED_BY = tuple(f"benchmark_{name}" for name in ("only", "enable", "json", "save", "autosave", "compare", "histogram"))
"""Options of pytest-benchmark that ask for timing; without one of them each benchmark runs once, untimed."""
AXES = {
    "populations": "agents",
    "iterations": "iterations",
    "modes": "mode",
    "algorithms": "algorithm",
    "profiles": PROFILES_AXIS,
    "repeat": "seed",
}
"""Option -> the axis whose values it replaces."""
FEWEST = 3
"""Processes of a series in the quick profile: the fewest that an interval is taken from."""
LONG = "hour"
"""Grids of a study that has an hour or more."""
HOURS = {"study": 0.5}
"""Time of a run by profile, where none is given."""


def add(parser: pytest.Parser) -> None:
    """Declare the options."""
    option = parser.getgroup("market benchmarks").addoption
    for long, metavar, text in (
        ("profile", "NAME", "quick (default), study (laws, then trainings with seeds) or full (to N = 1000)"),
        ("populations", "N,N", "agent counts, for every case that has agents on an axis"),
        ("modes", "NAME,NAME", "training modes: ctce, ctde, dtde"),
        ("algorithms", "NAME,NAME", "algorithms: ppo, appo, sac"),
        ("iterations", "N", "training iterations of each training case"),
        ("case", "TEXT,TEXT", "only cases whose name contains one of these"),
        ("profiles", "NAME,NAME", "of the trained populations: synthetic, measured"),
        ("repeat", "N", "every training and reference with N seeds, from the study's on"),
        ("hours", "H", "time that the run may take (study: 0.5); from 1 on the study has more sizes and seeds"),
        ("ray-address", "HOST:PORT", "measure on the nodes of this Ray cluster, a cell on each"),
    ):
        option(f"--{long}", metavar=metavar, help=text)
    option("--isolate", action="store_true", default=None, help="measure in other processes, trainings in one each")
    option("--report", choices=("yes", "no"), default="yes", help="write tables, figures and page at the end")
    results = "where runs are kept (default: results); with =, not a space"
    option("--results", metavar="DIR", default="results", help=results)
    option("--resume", metavar="RUN", nargs="?", const="latest", help="go on with a run (default: the latest)")


@dataclass(frozen=True)
class Options:
    """What to run. `selection` replaces the values of parameter axes; `cases` are parts of case names, () is all.

    isolate: cells in other processes. ray_address: of a cluster whose nodes measure; not kept with a run.
    hours: that the run may take; None for as long as its cells need.
    """

    profile: str = "quick"
    selection: Mapping[str, tuple[Value, ...]] = dataclasses.field(default_factory=dict)
    cases: tuple[str, ...] = ()
    isolate: bool = False
    ray_address: str | None = None
    hours: float | None = None

    def grid_of(self, case: Case) -> str:
        """Whose grid a case has: that of LONG, if there is one, where there is the time."""
        long = self.profile == "study" and (self.hours or 0.0) >= 1 and LONG in case.grids
        return LONG if long else self.profile

    def points(self, table: Mapping[str, Case], *, timed: bool = True) -> list[Point]:
        """The cells to run, in the table's order; untimed only the smallest, with one iteration."""
        chosen = [case for name, case in table.items() if not self.cases or any(part in name for part in self.cases)]
        if self.profile == "quick":
            chosen = [replace(case, processes=min(case.processes, FEWEST)) for case in chosen]
        if timed:
            return [point for case in chosen for point in case.points(self.grid_of(case), self.selection)]
        once = {**self.selection, "iterations": (1,)}
        return [point for case in chosen for point in case.smallest(self.profile, once)]

    def save(self, folder: Path) -> None:
        """Keep the options beside the records, so that a resumed run needs none."""
        text = json.dumps(dataclasses.asdict(self) | {"ray_address": None}, indent=2)
        write_whole(folder / SAVED, text + "\n")

    @classmethod
    def saved(cls, folder: Path) -> Options:
        """The options that a run was started with; the defaults when it kept none."""
        if not (folder / SAVED).is_file():
            return cls()
        try:
            raw = json.loads((folder / SAVED).read_text(encoding="utf-8"))
            selection = {axis: tuple(values) for axis, values in raw["selection"].items()}
            cases = tuple(raw["cases"])
            return cls(raw["profile"], selection, cases, raw.get("isolate", False), hours=raw.get("hours"))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"got a damaged {folder / SAVED} ({type(error).__name__}: {error}); fix it, or remove it and give the "
                "options of the run again"
            ) from None


def is_timed(config: pytest.Config) -> bool:
    """Whether this run takes times."""
    if config.getoption("benchmark_skip") and not config.getoption("benchmark_only"):
        return False
    return any(config.getoption(name, None) for name in TIMED_BY)


def read(config: pytest.Config, table: Mapping[str, Case], earlier: Options | None = None) -> Options:
    """The options of this run, checked; what is not given is as in the `earlier` run that is resumed."""
    from market.community.bank import PROFILES as SOURCES
    from market.rl.hyperparameters import RLAlgorithm
    from market.rl.modes import TrainingMode

    options = earlier or Options()
    for option in ("profile", "iterations", "repeat", "isolate", "ray_address", "hours", "resume"):
        if config.getoption(option) is not None and not is_timed(config):
            raise pytest.UsageError(f"--{option.replace('_', '-')}: only for timed runs; add --benchmark-only")
    kinds: dict[str, Callable[[str], Any]] = {
        "populations": lambda text: tuple(sorted(counts(text))),
        "iterations": lambda text: (count(text),),
        "modes": partial(names, TrainingMode),
        "algorithms": partial(names, RLAlgorithm),
        "profiles": partial(names, SOURCES),
        "repeat": lambda text: tuple(range(SEED, SEED + count(text))),
        "profile": partial(name, PROFILES),
        "case": partial(names, table, parts=True),
        "hours": positive,
    }
    given: dict[str, Any] = {}
    for option, kind in kinds.items():
        try:
            given |= {} if config.getoption(option) is None else {option: kind(config.getoption(option))}
        except argparse.ArgumentTypeError as error:
            raise pytest.UsageError(f"--{option}: {error}") from None
    selection = dict(options.selection) | {axis: given[option] for option, axis in AXES.items() if option in given}
    profile, address = given.get("profile", options.profile), config.getoption("ray_address")
    isolate = bool(config.getoption("isolate")) or options.isolate or address is not None
    hours = given.get("hours", options.hours if earlier else HOURS.get(profile))
    return Options(profile, selection, given.get("case", options.cases), isolate, address, hours)
