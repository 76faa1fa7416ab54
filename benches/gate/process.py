"""The near side of a worker: start it, ask it, give up on it after a time, and leave no process behind."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from benches.measure import machine, threads

WORKER = Path(__file__).with_name("worker.py")
START_LIMIT = 120.0
"""Seconds within which a worker must have loaded its table."""


class Lost(Exception):
    """A worker that gives no more answers: it died, or took too long and was killed. The text says which."""


class Refused(Exception):
    """A case that did not work; the worker goes on. `unsupported`: it is not built yet."""

    def __init__(self, text: str, *, unsupported: bool = False) -> None:
        super().__init__(text)
        self.unsupported = unsupported


class Idle(Exception):
    """A worker whose turn never came: the other one of the pair is to blame."""


class Worker(contextlib.AbstractContextManager["Worker"]):
    """One process over one checkout, in a process group of its own, which ends with the `with` block.

    turns: the file descriptors by which it waits for its turn and gives the turn to the other worker of the pair.
    start_limit: seconds within which it must have loaded its table.
    """

    def __init__(self, checkout: Path, turns: tuple[int, int], start_limit: float = START_LIMIT) -> None:
        self.checkout, self.start_limit = checkout, start_limit
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `stop`
        self._process = subprocess.Popen(
            [sys.executable, "-P", str(WORKER), *map(str, turns)],
            pass_fds=turns,
            cwd=checkout,
            env=environment(checkout),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            start_new_session=True,
        )
        self._rest = b""
        self._ready = self._stopped = False
        self._broken: Exception | None = None

    def __exit__(self, *error: object) -> None:
        """End the process and everything it started."""
        self.stop()

    def send(self, request: Mapping[str, Any]) -> None:
        """Send a request to the worker, which may still be loading."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # `receive` says why
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()

    def load(self) -> None:
        """Wait until the table is loaded; `receive` raises what went wrong."""
        if not self._ready:
            self._ready = True
            try:
                self._parsed(self.start_limit)
            except (Lost, Refused) as error:
                self._broken = error

    def receive(self, limit: float, left: float | None = None) -> dict[str, Any]:
        """The answer to the oldest request. Raises Lost after `limit` seconds or at the process's end, or Refused.

        left: what is left of the limit, where a part has passed.
        """
        self.load()
        if self._broken is not None:
            raise self._broken
        return self._parsed(limit, left)

    def _parsed(self, limit: float, left: float | None = None) -> dict[str, Any]:
        line = self._line(time.monotonic() + (limit if left is None else left), limit)
        try:
            found = json.loads(line)
        except ValueError:
            self.stop()
            raise Lost(f"unreadable answer: {line[:60]!r}") from None
        if "idle" in found:
            raise Idle(found["idle"])
        if "error" in found:
            raise Refused(found["error"])
        if "unsupported" in found:
            raise Refused(found["unsupported"], unsupported=True)
        return dict(found)

    def _line(self, deadline: float, limit: float) -> bytes:
        assert self._process.stdout is not None
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while b"\n" not in self._rest:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    self.stop()
                    raise Lost(f"no answer within {limit:.0f} s; killed")
                chunk = os.read(self._process.stdout.fileno(), 1 << 16)
                if not chunk:
                    self._errors.seek(0)
                    raise Lost(last_words(self._process.wait(), self._errors.read()))
                self._rest += chunk
        line, self._rest = self._rest.split(b"\n", 1)
        return line

    def stop(self) -> None:
        """End the process and its group, whatever state they are in."""
        if self._stopped:
            return
        self._stopped = True
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(1.0)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._errors.close()


def last_words(status: int, errors: bytes) -> str:
    """Why a process ended: its exit status and the last line that it wrote to standard error."""
    lines = errors.decode("utf-8", errors="replace").strip().splitlines()
    return machine.ending(status) + (f": {lines[-1].strip()}" if lines else "")


def environment(checkout: Path) -> dict[str, str]:
    """What both sides are given alike: one thread, one order of sets, no reports to outside, the checkout's code."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    return {
        **kept,
        **threads.pin(),
        "PYTHONPATH": str(checkout),
        "PYTHONHASHSEED": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
        "MPLBACKEND": "Agg",
    }
