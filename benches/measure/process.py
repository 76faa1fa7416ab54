"""A process that answers requests by lines of JSON, and ends together with everything that it has started."""

from __future__ import annotations

import contextlib
import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from typing import IO, Any

from benches.measure import machine

POLL = 0.05
"""Seconds between two looks at whether a process that has not answered still lives."""
PATIENCE = 1.0
"""Seconds that a process which is no longer needed has to end by itself."""


class Lost(Exception):
    """The process has ended and gives no more answers; the text says how."""


class Process(contextlib.AbstractContextManager[Any]):
    """Python in a session of its own, which reads requests on its standard input and answers elsewhere: what it prints
    cannot spoil an answer.

    arguments: of Python; the last one besides is the file descriptor that it answers to.
    passed: other file descriptors that it needs.
    how: of subprocess.Popen.
    """

    def __init__(self, *arguments: str, passed: tuple[int, ...] = (), **how: Any) -> None:
        self._errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed in `stop`
        self._told, tell = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, *arguments, str(tell)],
            pass_fds=(tell, *passed),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=self._errors,
            start_new_session=True,
            **how,
        )
        os.close(tell)
        self._rest = self._last_words = b""

    def __exit__(self, *error: object) -> None:
        """End the process and everything it has started."""
        self.stop()

    def send(self, request: Any) -> None:
        """Send a request to the process, which may still be loading."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError, ValueError):  # it has ended: `answer` says so
            self._process.stdin.write(json.dumps(request).encode() + b"\n")
            self._process.stdin.flush()

    def answer(self, limit: float) -> Any:
        """What its next line says. Raises TimeoutError after `limit` seconds, and Lost where it ended instead."""
        end = time.monotonic() + limit
        while True:
            while b"\n" not in self._rest:
                # not until the end of the stream alone: a process that a cell has started may keep it open for an hour
                over = self._process.poll() is not None
                wait = 0.0 if over else max(0.0, min(POLL, end - time.monotonic()))
                if select.select([self._told], [], [], wait)[0]:
                    chunk = os.read(self._told, 1 << 16)
                    self._rest, over = self._rest + chunk, not chunk
                if over:
                    self.stop()
                    raise Lost(machine.ending(self._process.returncode, self._last_words))
                if time.monotonic() >= end:
                    raise TimeoutError
            line, self._rest = self._rest.split(b"\n", 1)
            with contextlib.suppress(ValueError):  # what was killed while it wrote leaves half a line
                return json.loads(line)

    def stop(self) -> None:
        """End the process and its session, whatever state they are in."""
        if self._errors.closed:
            return
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._errors.seek(0)
        self._last_words = self._errors.read()
        self._errors.close()
        os.close(self._told)
