"""Run work on slices of a batch in a thread pool; the work must release the GIL."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache


def in_parts(work: Callable[[slice], None], markets: int, threads: int) -> None:
    """Call `work` with consecutive slices of range(markets), as many as `threads` and of like size, one thread each.

    The caller does the first; an error in any is raised when all have ended.
    """
    parts = min(threads, markets)
    if parts <= 1:
        work(slice(0, markets))
        return
    ends = [markets * part // parts for part in range(parts + 1)]
    pool = _pool(threads - 1, os.getpid())
    others = [pool.submit(work, slice(*ends[part : part + 2])) for part in range(1, parts)]
    try:
        work(slice(*ends[:2]))
    finally:
        errors = [other.exception() for other in others]
    for error in errors:
        if error is not None:
            raise error


@cache
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """A pool to keep: starting a thread takes as long as clearing 100 markets. Threads do not survive a fork."""
    return ThreadPoolExecutor(threads, thread_name_prefix="market")
