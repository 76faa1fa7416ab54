"""Command-line options of a benchmark run: what pytest is told, checked, as one frozen value."""

from __future__ import annotations

import dataclasses
import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benches.case import PROFILES, Case, Point, Value
from benches.workloads.inputs import SEED
from benches.workloads.training import PROFILES_AXIS
from market.support.files import write_whole

SAVED = "run.json"
TIMED_BY = (
    "benchmark_only",
    "benchmark_enable",
    "benchmark_json",
    "benchmark_save",
    "benchmark_autosave",
    "benchmark_compare",
    "benchmark_histogram",
)
"""Options of pytest-benchmark that ask for timing; without one of them each benchmark runs once, untimed."""


def add(parser: pytest.Parser) -> None:
    """Declare the options."""
    group = parser.getgroup("market benchmarks")
    group.addoption("--profile", metavar="NAME", help="quick (default), study (the 54 trainings) or full (to N = 1000)")
    group.addoption("--populations", metavar="N,N", help="agent counts, for every case that has agents on an axis")
    group.addoption("--modes", metavar="NAME,NAME", help="training modes: ctce, ctde, dtde")
    group.addoption("--algorithms", metavar="NAME,NAME", help="algorithms: ppo, appo, sac")
    group.addoption("--iterations", metavar="N", help="training iterations of each training case")
    group.addoption("--case", metavar="TEXT,TEXT", help="only cases whose name contains one of these")
    group.addoption("--profiles", metavar="NAME,NAME", help="of the trained populations: synthetic, measured")
    group.addoption("--repeat", metavar="N", help="every training and reference with N seeds, from the study's on")
    group.addoption(
        "--isolate", action="store_true", default=None, help="measure in other processes, trainings in one each"
    )
    group.addoption("--report", choices=("yes", "no"), default="yes", help="write tables, figures and page at the end")
    group.addoption(
        "--ray-address", metavar="HOST:PORT", help="measure on the nodes of this Ray cluster, a cell on each"
    )
    group.addoption(
        "--results",
        metavar="DIR",
        default="results",
        help="where runs are kept (default: results); with =, not a space",
    )
    group.addoption(
        "--resume",
        metavar="RUN",
        nargs="?",
        const="latest",
        help="go on with a run (default: the latest)",
    )


@dataclass(frozen=True)
class Options:
    """What to run. `selection` replaces the values of parameter axes; `cases` are parts of case names, () is all.

    isolate: cells in other processes. ray_address: of a cluster whose nodes measure; not kept with a run.
    """

    profile: str = "quick"
    selection: Mapping[str, tuple[Value, ...]] = dataclasses.field(default_factory=dict)
    cases: tuple[str, ...] = ()
    isolate: bool = False
    ray_address: str | None = None

    def points(self, table: Mapping[str, Case], *, timed: bool = True) -> list[Point]:
        """The cells to run, in the table's order; untimed only the smallest, with one iteration."""
        chosen = [case for name, case in table.items() if not self.cases or any(part in name for part in self.cases)]
        if timed:
            return [point for case in chosen for point in case.points(self.profile, self.selection)]
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
            return cls(raw["profile"], selection, tuple(raw["cases"]), raw.get("isolate", False))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(
                f"got a damaged {folder / SAVED} ({type(error).__name__}: {error}); mend it, or remove it and give the "
                "options of the run again"
            ) from None


def is_timed(config: pytest.Config) -> bool:
    """Whether this run takes times."""
    if config.getoption("benchmark_skip") and not config.getoption("benchmark_only"):
        return False
    return any(config.getoption(name, None) for name in TIMED_BY)


def read(config: pytest.Config, table: Mapping[str, Case], earlier: Options | None = None) -> Options:
    """The options of this run, checked; what is not given is as in the `earlier` run that is resumed."""
    options = earlier or Options()
    given: dict[str, str | None] = {
        name: config.getoption(name)
        for name in ("profile", "populations", "modes", "algorithms", "iterations", "profiles", "repeat", "case")
    }
    for name in ("profile", "iterations", "repeat", "isolate", "ray_address", "resume"):
        if config.getoption(name) is not None and not is_timed(config):
            option = name.replace("_", "-")
            raise pytest.UsageError(f"--{option}: only for timed runs; add --benchmark-only")
    selection = dict(options.selection)
    if given["populations"] is not None:
        selection["agents"] = _counts("populations", given["populations"])
    if given["iterations"] is not None:
        selection["iterations"] = _counts("iterations", given["iterations"])
    if given["repeat"] is not None:
        (count,) = _counts("repeat", given["repeat"])
        selection["seed"] = tuple(range(SEED, SEED + count))
    if given["modes"] is not None:
        selection["mode"] = _names("modes", given["modes"], _members("TrainingMode"))
    if given["algorithms"] is not None:
        selection["algorithm"] = _names("algorithms", given["algorithms"], _members("RLAlgorithm"))
    if given["profiles"] is not None:
        from market.community.scenario import PROFILES as SOURCES

        selection[PROFILES_AXIS] = _names("profiles", given["profiles"], SOURCES)
    profile, cases = options.profile, options.cases
    if given["profile"] is not None:
        (profile,) = _names("profile", given["profile"], PROFILES)
    if given["case"] is not None:
        cases = _case_parts(given["case"], table)
    address = config.getoption("ray_address")
    isolate = bool(config.getoption("isolate")) or options.isolate or address is not None
    return Options(profile, selection, cases, isolate, address)


def _members(enum: str) -> list[str]:
    import market.config

    return [member.value for member in getattr(market.config, enum)]


def _refuse(option: str, got: str, allowed: Iterable[str]) -> pytest.UsageError:
    words = list(allowed)
    close = difflib.get_close_matches(got.lower(), words, n=1, cutoff=0.4)
    hint = f"; did you mean {close[0]}?" if close else ""
    return pytest.UsageError(f"--{option}: got {got!r}; allowed: {', '.join(words)}{hint}")


def _parts(option: str, text: str) -> list[str]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if not parts:
        raise pytest.UsageError(f"--{option}: got {text!r}; allowed: values with commas between them")
    return list(dict.fromkeys(parts))


def _names(option: str, text: str, allowed: Iterable[str]) -> tuple[str, ...]:
    words = list(allowed)
    for part in _parts(option, text):
        if part.lower() not in words:
            raise _refuse(option, part, words)
    return tuple(part.lower() for part in _parts(option, text))


def _counts(option: str, text: str) -> tuple[int, ...]:
    parts = _parts(option, text)
    if option in ("iterations", "repeat") and len(parts) > 1:
        raise pytest.UsageError(f"--{option}: got {text!r}; allowed: one whole number >= 1")
    for part in parts:
        if not part.isdecimal() or int(part) < 1:
            raise pytest.UsageError(f"--{option}: got {part!r}; allowed: whole numbers >= 1, for example 1,10,100")
    return tuple(sorted({int(part) for part in parts}))


def _case_parts(text: str, table: Mapping[str, Any]) -> tuple[str, ...]:
    parts = _parts("case", text)
    for part in parts:
        if not any(part in name for name in table):
            raise _refuse("case", part, table)
    return tuple(parts)
