"""Durable records: one JSON line per finished or failed cell, on disk before the next cell starts.

`results/<timestamp>-<commit>/cases.jsonl` is the truth about a run; tables and figures are made from it alone. A line
cut short by a kill is kept, reported and skipped. A cell that was taken again counts by its last line.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import fcntl
import json
import os
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Literal, get_args, get_type_hints

from benches import machine, threads, valid
from benches.case import Params, Point
from benches.json_types import LARGEST, fits, load
from benches.machine import Facts
from benches.measure import Measurement
from benches.text import one_line, told

SCHEMA = 1
LATEST = "latest"
FILE = "cases.jsonl"
FIFTHS = 5
Status = Literal["ok", "failed", "unsupported"]


@dataclass(frozen=True)
class Record:
    """One line of `cases.jsonl`. Lists hold one value per round; times in seconds a call, memory in bytes.

    calls: how many calls a round had; reference_calls: the same of each reference.
    """

    key: str
    case: str
    version: str
    params: Params
    size: float
    unit: str
    clock: str
    budget: float
    status: Status
    error: str | None = None
    rounds: int = 0
    seconds: list[float] = field(default_factory=list)
    cpu_seconds: list[float] = field(default_factory=list)
    calls: int = 1
    references: dict[str, list[float]] = field(default_factory=dict)
    reference_calls: dict[str, int] = field(default_factory=dict)
    min: float | None = None
    median: float | None = None
    cpu_median: float | None = None
    rates: dict[str, float] = field(default_factory=dict)
    phases: dict[str, list[float]] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    setup_seconds: float | None = None
    warmup_seconds: float | None = None
    elapsed: float = 0.0
    load_before: list[float] = field(default_factory=list)
    load_after: list[float] = field(default_factory=list)
    memory_before: int | None = None
    peak_memory: int | None = None
    peak_is_own: bool = False
    seeds: dict[str, int | str | None] = field(default_factory=dict)
    threads: dict[str, str | int | None] = field(default_factory=dict)
    machine: Facts = field(default_factory=dict)
    versions: Facts = field(default_factory=dict)
    commit: str | None = None
    dirty: bool | None = None
    profile: str = ""
    process: int = 0
    isolated: bool = False
    """Whether the cell had a process to itself, so that its peak memory is its own."""
    timestamp: str = ""
    schema: int = SCHEMA

    @property
    def series(self) -> str:
        """The case and every parameter but the size and the seed: the cells that one curve joins."""
        rest = [
            value if isinstance(value, str) else f"{axis}={value}"
            for axis, value in self.params.items()
            if axis not in (self.unit, "seed")
        ]
        return " ".join([self.case, *rest])

    @property
    def seed(self) -> int:
        """Of the cell's random inputs."""
        return int(self.params.get("seed", self.seeds.get("case") or 0))

    @property
    def where(self) -> str:
        """The case with all its parameters: `train/whole seed=42 mode=ctde algorithm=ppo ...`."""
        return " ".join([self.case, *(f"{axis}={value}" for axis, value in self.params.items())])

    @property
    def ratios(self) -> dict[str, float]:
        """How many times as long as each reference the call took: median over the rounds that have both."""
        return {
            name: statistics.median(mine / its for mine, its in zip(self.seconds, taken, strict=False))
            for name, taken in self.references.items()
            if taken and self.seconds
        }

    @property
    def decisive(self) -> list[float]:
        """Seconds per round on the clock that decides for this case.

        Of a whole training, whose one round is many iterations: FIFTHS estimates of all iterations, without the
        evaluation; each takes every fifth iteration, so that none has only early or only late ones.
        """
        iterations = self.facts.get("iteration_seconds") or ()
        if len(iterations) >= 2 * FIFTHS:
            parts = [iterations[first::FIFTHS] for first in range(FIFTHS)]
            return [statistics.fmean(part) * len(iterations) for part in parts]
        if iterations and self.rounds == 1:
            return [sum(iterations)]
        return self.cpu_seconds if self.clock == "cpu" else self.seconds


def record_of(point: Point, seen: Measurement, *, status: Status, error: str | None, profile: str) -> Record:
    """The record of a cell as measured, with everything that its figures depend on."""
    case = point.case
    median = statistics.median(seen.seconds) if seen.seconds else None
    measured = dataclasses.asdict(seen)
    alone = not measured.pop("shared")
    return Record(
        key=point.key,
        case=case.name,
        version=case.version,
        params=point.params,
        size=point.size,
        unit=case.size,
        clock=case.clock,
        budget=case.budget,
        status=status,
        error=error,
        rounds=len(seen.seconds),
        min=min(seen.seconds, default=None),
        median=median,
        cpu_median=statistics.median(seen.cpu_seconds) if seen.cpu_seconds else None,
        rates={name: amount / median for name, amount in case.work(point.params).items()} if median else {},
        seeds={"case": point.seed, "PYTHONHASHSEED": os.environ.get("PYTHONHASHSEED")},
        threads=threads.observed(),
        machine=machine.machine(),
        versions=machine.versions(),
        commit=machine.commit(),
        dirty=machine.dirty(),
        profile=profile,
        isolated=alone and seen.process != os.getpid(),
        timestamp=dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        **measured,
    )


def plain(value: Any) -> Any:
    """`value` in JSON's own types: numpy scalars and arrays unwrapped, numbers that `load` refuses as null."""
    if isinstance(value, Mapping):
        return {told(key): plain(item) for key, item in value.items()}
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, int | float):
        return value if abs(value) < LARGEST else None
    return value if isinstance(value, str | None) else told(value)


class Run:
    """A folder of records: append to it, read it back."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / FILE
        self._claimed: IO[bytes] | None = None

    @classmethod
    def create(cls, results: Path) -> Run:
        """A new folder under `results`, named by time and commit, which `results/latest` then points at."""
        head = machine.commit()
        stamp = dt.datetime.now().astimezone().strftime("%Y%m%d-%H%M%S")
        name = f"{stamp}-{head[:7] if head else 'nocommit'}"
        results.mkdir(parents=True, exist_ok=True)
        for suffix in ("", *(f"-{n}" for n in range(2, 100))):
            with contextlib.suppress(FileExistsError):
                (results / (name + suffix)).mkdir()
                run = cls(results / (name + suffix))
                run.file.touch()
                run.point_latest()
                return run
        raise FileExistsError(f"{results / name}: 100 runs started within one second")

    @classmethod
    def find(cls, results: Path, name: str = LATEST) -> Run:
        """An earlier run: a folder name under `results`, a path, or "latest"."""
        for folder in (results / name, Path(name)):
            if (folder / FILE).is_file():
                return cls(folder.resolve())
        known = sorted((path.parent.name for path in results.glob(f"*/{FILE}")), reverse=True)
        raise FileNotFoundError(f"run: got {name!r}; allowed: a folder with {FILE}; here: {', '.join(known) or 'none'}")

    def point_latest(self) -> bool:
        """Let `latest` beside this folder name it, in one step, so that there is always one; False if it is no link."""
        link = self.folder.parent / LATEST
        if link.exists() and not link.is_symlink():
            return False
        fresh = self.folder.parent / f".{LATEST}-{os.getpid()}"
        fresh.unlink(missing_ok=True)
        fresh.symlink_to(self.folder.name)
        fresh.replace(link)
        return True

    def append(self, record: Record) -> None:
        """Write one line and wait until it is on disk. A fragment left by a kill is first closed with a line end.

        Raises OSError, as on a full disk; what was there before is then all that is there.
        """
        text = json.dumps(plain(dataclasses.asdict(record)), separators=(",", ":"), allow_nan=False) + "\n"
        with self.file.open("ab", buffering=0) as file:
            length = file.tell()
            left = memoryview((("\n" if length and not self._ends_line(length) else "") + text).encode())
            try:
                while left:
                    left = left[file.write(left) :]
                os.fsync(file.fileno())
            except OSError:
                with contextlib.suppress(OSError):
                    file.truncate(length)
                raise

    def claim(self) -> None:
        """Keep other processes from writing to this run until `release`, or until this process ends.

        Raises BlockingIOError when another process has claimed it. Some network file systems know no claims: there it
        is up to the user.
        """
        file = self.file.open("a+b")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.close()
            raise BlockingIOError(
                f"{self.folder} is being written by another process; allowed: when that one has ended, or a run of its "
                "own, without --resume"
            ) from None
        except OSError:
            pass  # the file system knows no claims
        self._claimed = file

    def release(self) -> None:
        """Give up the claim."""
        if self._claimed is not None:
            self._claimed.close()
            self._claimed = None

    def restore(self) -> bool:
        """Write a claimed file again that was removed meanwhile; whether it was. Its content lives on in the claim."""
        before = self._claimed
        if before is None or (self.file.exists() and os.path.samestat(os.fstat(before.fileno()), self.file.stat())):
            return False
        before.seek(0)
        self.folder.mkdir(parents=True, exist_ok=True)
        fresh = self.folder / f".{FILE}-{os.getpid()}"
        fresh.write_bytes(before.read())
        fresh.replace(self.file)
        self.release()
        self.claim()
        return True

    def _ends_line(self, length: int) -> bool:
        with self.file.open("rb") as file:
            file.seek(length - 1)
            return file.read(1) == b"\n"

    def read(self) -> tuple[list[Record], list[str]]:
        """The last record of every cell, in order of first appearance, and a sentence per line that is unreadable."""
        found: dict[str, Record] = {}
        problems = []
        for number, line in enumerate(self.file.read_bytes().split(b"\n"), start=1):
            if not line.strip():
                continue
            try:
                record = _parse(line)
            except (ValueError, TypeError, RecursionError) as error:
                why = one_line(told(error), 200)
                problems.append(f"{self.file}: line {number} is damaged or cut short and was skipped ({why})")
            else:
                found[record.key] = record
        return list(found.values()), problems

    def finished(self) -> set[str]:
        """Keys of the cells that need not be taken again."""
        return {record.key for record in self.read()[0] if record.status == "ok"}


_HINTS = get_type_hints(Record)


def _parse(line: bytes) -> Record:
    raw = load(line)
    if not isinstance(raw, dict) or raw.get("schema") != SCHEMA:
        raise ValueError(f"schema: got {raw.get('schema') if isinstance(raw, dict) else raw!r}; allowed: {SCHEMA}")
    known = {name: value for name, value in raw.items() if name in _HINTS}
    for name, value in known.items():
        if not fits(value, _HINTS[name]):
            allowed = ", ".join(get_args(Status)) if name == "status" else str(Record.__annotations__[name])
            raise ValueError(f"{name}: got {value!r:.60}; allowed: {allowed}")
    record = Record(**known)
    valid.check(record)
    return record


def failures(records: Iterable[Record]) -> list[Record]:
    """Cells that should have worked and did not."""
    return [record for record in records if record.status == "failed"]
