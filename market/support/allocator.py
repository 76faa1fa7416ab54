"""Keep freed memory in the process: a setting of glibc."""

from __future__ import annotations

import ctypes
import os
import sys

M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
LARGEST_KEPT, MOST_KEPT = 32 * 2**20, 256 * 2**20
"""Bytes: freed blocks up to the first are kept, up to the second in total."""


def keep_freed_memory() -> bool:
    """Ask glibc to keep up to 256 MB of freed memory, for the whole process; returns whether it agreed.

    By default glibc returns large arrays to the system as soon as they are freed, and the next call has to fault their
    pages in again: more than half of the time of clearing 100,000 orders. `MarketVectorEnv` and `RLTrainer` call this
    when they are built; call it yourself before you clear large books or step `market.simulation`. Settings of the user
    (MALLOC_... in the environment) win.
    """
    if sys.platform != "linux" or any(name.startswith("MALLOC_") for name in os.environ):
        return False
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return bool(mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT)) and bool(mallopt(M_TRIM_THRESHOLD, MOST_KEPT))
