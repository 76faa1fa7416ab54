"""What the gate compares: two trees, and the cells that mean the same in both tables; others are named, and no error.

A tree is a commit, checked out beside the other one, or a folder as it is.
"""

from __future__ import annotations

import functools
import hashlib
import io
import json
import tarfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benches.case import Params, name_of
from benches.gate import Stopped
from benches.measure import machine

TABLE = Path("benches", "cases.py")
"""What makes a folder a checkout."""
CODE = ("benches", "market")
"""The packages whose Python files are what is measured."""
WALL_SIZES = (10, 100)
"""Sizes of cases on the wall clock (trainings) that are measured; all sizes would take an hour."""
LARGEST = 100_000
THREADS = "threads"
"""The axis that says how many threads a cell has; one without it has one."""
MOST = 40
"""Cells of a plan, unless another number is named."""
ALL_SIZES = ("clear/orders", "step/agents")
"""Cases whose smallest, middle and largest size come first: what users call, and what a training does most."""
MIN_ROUNDS = 3
"""A case that is made for fewer rounds (a whole training) is left to the benchmarks."""


@dataclass(frozen=True)
class Tree:
    """A checkout. name: as the user gave it. commit: its full hash; None for a folder taken as it is."""

    name: str
    folder: Path
    commit: str | None

    @property
    def label(self) -> str:
        """The name, and the short hash unless it is the name."""
        short = (self.commit or "")[:9]
        return f"{self.name} ({short})" if short and not self.name.startswith(short[:7]) else self.name

    @functools.cached_property
    def digest(self) -> str:
        """Of the names and texts of the Python files of CODE: equal for trees that are the same code."""
        found = hashlib.sha256()
        for file in sorted(file for package in CODE for file in (self.folder / package).rglob("*.py")):
            for part in (str(file.relative_to(self.folder)).encode(errors="surrogateescape"), file.read_bytes()):
                found.update(len(part).to_bytes(8, "big") + part)
        return found.hexdigest()


def check_out(name: str, place: Path, repository: Path) -> Tree:
    """The tree called `name`: a folder with a table, or a revision of `repository`, unpacked into `place`.

    `git archive` and not `git worktree`: a gate that is killed leaves nothing in the repository. Raises Stopped.
    """
    if name and (Path(name) / TABLE).is_file():
        return Tree(name, Path(name).resolve(), None)
    asked = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{name}^{{commit}}")
    commit = machine.git(*asked, folder=repository)
    if commit is None:
        raise Stopped(
            f"got {name!r}; allowed: a commit of {repository} (in a shallow clone: git fetch --unshallow), "
            f"or a folder with {TABLE}"
        )
    hash_ = commit.decode().strip()
    packed = machine.git("archive", "--format=tar", hash_, folder=repository)
    if packed is None:
        raise Stopped(f"{name}: git archive {hash_[:9]} failed in {repository}")
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extraction_filter = getattr(tarfile, "data_filter", lambda member, _: member)  # new in Python 3.11.4
        archive.extractall(place)
    if not (place / TABLE).is_file():
        raise Stopped(f"{name}: commit {hash_[:9]} has no {TABLE}; allowed: commits that have a table of cases")
    return Tree(name, place, hash_)


@dataclass(frozen=True)
class Cell:
    """A row of a table with its parameters, as a worker lists it."""

    case: str
    version: str
    params: Params
    unit: str
    size: float
    clock: str
    rounds: int

    @property
    def key(self) -> str:
        """Equal for cells that can be compared, but for their version."""
        return json.dumps([self.case, sorted(self.params.items())])

    @property
    def threaded(self) -> bool:
        """Whether it has more than one thread, so that what its calls do depends on how they are scheduled."""
        return self.params.get(THREADS, 1) != 1

    @property
    def series(self) -> str:
        """The case and all parameters but the size."""
        return name_of(self.case, self.params, (self.unit,), words=True)

    @property
    def label(self) -> str:
        """The series and the size."""
        return f"{self.series} {self.unit}={self.params[self.unit]}"


PROBE = Cell("probe", "1", {"items": 4000}, "items", 4000.0, "cpu", 60)
"""The cell of the gate's own code, by which it knows how noisy the machine is."""


@dataclass(frozen=True)
class Plan:
    """Cells to measure, and labels of those that one table lacks or whose version changed."""

    cells: list[Cell]
    new: list[str]
    removed: list[str]
    changed: list[str]


def wanted(parts: Sequence[str] = ()) -> Callable[[Cell], bool]:
    """Which cells are measured: of cases whose name contains one of `parts`, or of all, and not too long."""

    def want(cell: Cell) -> bool:
        if parts and not any(part in cell.case for part in parts):
            return False
        if cell.clock == "none":
            return True
        if cell.rounds < MIN_ROUNDS or cell.size > LARGEST:
            return False
        return cell.clock == "cpu" or cell.size in WALL_SIZES

    return want


def match(base: Sequence[Cell], head: Sequence[Cell], want: Callable[[Cell], bool]) -> Plan:
    """Join two tables by case and parameters."""
    ours = {cell.key: cell for cell in base if want(cell)}
    theirs = {cell.key: cell for cell in head if want(cell)}
    both = [(ours[key], cell) for key, cell in theirs.items() if key in ours]
    return Plan(
        cells=[cell for old, cell in both if cell.version == old.version],
        new=_named([cell for key, cell in theirs.items() if key not in ours], base),
        removed=_named([cell for key, cell in ours.items() if key not in theirs], head),
        changed=sorted({f"{c.case} (version {o.version} to {c.version})" for o, c in both if c.version != o.version}),
    )


def chosen(cells: Sequence[Cell], most: int = MOST) -> list[Cell]:
    """At most so many of the cells: one of every series, then the smallest, middle and largest of each, then the rest.

    The series of a group take their middle, largest and smallest size in turn, trainings their smallest, which takes
    long enough.
    """
    series: dict[str, list[Cell]] = {}
    for cell in sorted(cells, key=lambda cell: cell.size):
        series.setdefault(cell.series, []).append(cell)
    ranks: dict[str, int] = {}
    for number, name in enumerate(dict.fromkeys(cell.series for cell in cells)):
        members = series[name]
        sizes = [members[len(members) // 2], members[-1], members[0]]
        first = members[0] if members[0].clock == "wall" else sizes[number % len(sizes)]
        early = 1 if first.case in ALL_SIZES else 2
        ranks |= {cell.key: 0 if cell is first else early if cell in sizes else 3 for cell in members}
    kept = {cell.key for cell in sorted(cells, key=lambda cell: ranks[cell.key])[:most]}
    return [cell for cell in cells if cell.key in kept]


def _named(cells: Sequence[Cell], other: Sequence[Cell]) -> list[str]:
    """A name per case that the other table lacks altogether, else per cell."""
    known = {cell.case for cell in other}
    return list(dict.fromkeys(cell.label if cell.case in known else cell.case for cell in cells))
