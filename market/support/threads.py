"""Work on the markets of a batch, shared out over threads. What is shared out must let go of the interpreter."""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache


def in_parts(work: Callable[[slice], None], markets: int, threads: int) -> None:
    """Calls `work` with consecutive slices of range(markets), as many as `threads` and of like size, one thread each.

    The first is done by the caller; an error in any is raised when all have ended.
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
    """Kept: to start a thread takes as long as to clear 100 markets. Of one process: threads do not survive a fork."""
    return ThreadPoolExecutor(threads, thread_name_prefix="market")
