"""Where compiled kernels are kept: a folder for each state of their sources.

numba keeps a kernel for as long as its own file is unchanged. One that calls a kernel of another file then goes on
running the old code of that file, and a benchmark of an edit would time the code before it. So the folder's name
is a digest of all files with kernels; `make clean` removes the folders.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numba.core.config

PACKAGE = Path(__file__).parents[1]
config: Any = numba.core.config  # has its names from the environment, at run time


def digest(package: Path = PACKAGE) -> str:
    """Sixteen hex digits that change with any file of the package that holds a kernel."""
    found = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        text = path.read_bytes()
        if b"@njit" in text:
            found.update(path.relative_to(package).as_posix().encode() + b"\0" + text + b"\0")
    return found.hexdigest()[:16]


@contextmanager
def kernel_cache() -> Iterator[None]:
    """Kernels that are defined inside are kept in that folder, unless NUMBA_CACHE_DIR names another place."""
    if config.CACHE_DIR:
        yield
        return
    folder = PACKAGE / "__pycache__" / f"kernels-{digest()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:  # an installation that cannot be written to: numba has a place of its own for those
        yield
        return
    if not os.access(folder, os.W_OK):
        yield
        return
    config.CACHE_DIR = str(folder)
    try:
        yield
    finally:
        config.CACHE_DIR = ""
