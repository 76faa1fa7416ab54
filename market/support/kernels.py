"""The decorator of compiled functions, and where numba caches them: one folder for each state of their sources.

numba checks only a kernel's own file, so it would go on running old code of the kernels that this one calls in other
files. The folder's name is therefore a digest of all files with kernels; `make clean` removes the folders.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba.core.config

PACKAGE = Path(__file__).parents[1]
MARK = b"@kernel"
"""Files with kernels contain this."""
config: Any = numba.core.config  # takes its names from the environment at run time


def kernel(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a function of arrays and numbers on its first call; it releases the GIL while it runs.

    options: of `numba.njit`, besides `cache` and `nogil`.
    """
    if function is None:
        return functools.partial(kernel, **options)
    named = config.CACHE_DIR  # NUMBA_CACHE_DIR wins; other packages keep their own place
    config.CACHE_DIR = named or _folder()
    try:
        return numba.njit(cache=True, nogil=True, **options)(function)
    finally:
        config.CACHE_DIR = named


def digest(package: Path = PACKAGE, mark: bytes = MARK) -> str:
    """Sixteen hex digits that change with any file of the package that contains `mark`, as those with kernels do."""
    found = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        text = path.read_bytes()
        if mark in text:
            found.update(path.relative_to(package).as_posix().encode() + b"\0" + text + b"\0")
    return found.hexdigest()[:16]


@functools.cache
def _folder() -> str:
    """The cache folder of this state; empty, which leaves the choice to numba, where nothing can be written."""
    folder = PACKAGE / "__pycache__" / f"kernels-{digest()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return ""
    return str(folder) if os.access(folder, os.W_OK) else ""
