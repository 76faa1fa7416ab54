"""Run work on slices of a batch in a thread pool; the work must release the GIL."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache


def in_parts(work: Callable[[slice], None], markets: int, threads: int) -> list[slice]:
    """Call `work` with consecutive slices of range(markets), as many as `threads` and of like size, one thread each.

    The caller does the first; an error in any is raised when all have ended. Returns the slices.
    """
    count = min(threads, markets)
    if count <= 1:
        part = slice(0, markets)
        work(part)
        return [part]
    parts = [slice(markets * k // count, markets * (k + 1) // count) for k in range(count)]
    pool = _pool(threads - 1, os.getpid())
    others = [pool.submit(work, part) for part in parts[1:]]
    try:
        work(parts[0])
    finally:
        errors = [other.exception() for other in others]
    for error in errors:
        if error is not None:
            raise error
    return parts


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """A pool to keep: starting a thread takes as long as clearing 100 markets. Threads do not survive a fork."""
    return ThreadPoolExecutor(threads, thread_name_prefix="market")
