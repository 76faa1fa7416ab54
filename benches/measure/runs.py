"""A run on disk: a folder with a line of JSON for each finished or failed cell, on disk before the next cell starts.

`results/<timestamp>-<commit>/cases.jsonl` is the truth about a run; tables and figures are made from it alone. A
damaged line is kept, reported and skipped. A cell that was taken again counts by its last line.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import fcntl
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from benches.measure import machine, valid
from benches.measure.records import Record, plain
from benches.terminal.text import one_line, told
from market.support.files import write_whole

LATEST = "latest"
FILE = "cases.jsonl"


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
        stamp = dt.datetime.now().strftime("%Y%m%d-%H%M%S")
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
        """Write one line and wait until it is on disk; raises OSError, as `append_line`."""
        append_line(self.file, dataclasses.asdict(record))

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
        write_whole(self.file, before.read())
        self.release()
        self.claim()
        return True

    def read(self) -> tuple[list[Record], list[str]]:
        """The last record of every cell, in order of first appearance, and a sentence per line that is unreadable."""
        found: dict[str, Record] = {}
        problems = []
        for number, line in enumerate(self.file.read_bytes().split(b"\n"), start=1):
            if not line.strip():
                continue
            try:
                record = valid.parse(line)
            except (ValueError, TypeError, RecursionError) as error:
                why = one_line(told(error), 200)
                problems.append(f"{self.file}: line {number} is damaged or cut short and was skipped ({why})")
            else:
                found[record.key] = record
        return list(found.values()), problems

    def finished(self) -> set[str]:
        """Keys of the cells that need not be taken again."""
        return {record.key for record in self.read()[0] if record.status == "ok" and not record.missing}


def append_line(path: Path, value: object) -> None:
    """Add a line of JSON to a file and wait until it is on disk. A fragment left by a kill is first closed with a line
    end.

    Raises OSError, as on a full disk; what was there before is then all that is there.
    """
    text = json.dumps(plain(value), separators=(",", ":"), allow_nan=False) + "\n"
    with path.open("a+b", buffering=0) as file:
        length = file.seek(0, os.SEEK_END)
        file.seek(max(0, length - 1))
        left = memoryview((("" if file.read(1) in (b"", b"\n") else "\n") + text).encode())
        try:
            while left:
                left = left[file.write(left) :]
            os.fsync(file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                file.truncate(length)
            raise


def failures(records: Iterable[Record]) -> list[Record]:
    """Cells that should have worked and did not."""
    return [record for record in records if record.status == "failed"]
