"""How kernels are compiled, and where they are kept: a folder for each state of their sources.

numba keeps a kernel for as long as its own file is unchanged. One that calls a kernel of another file then goes on
running the old code of that file, and a benchmark of an edit would time the code before it. So the folder's name
is a digest of all files with kernels; `make clean` removes the folders.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, overload

import numba.core.config

PACKAGE = Path(__file__).parents[1]
MARK = b"@kernel"
"""What a file with kernels holds."""
config: Any = numba.core.config  # has its names from the environment, at run time


@overload
def kernel(function: Callable[..., Any]) -> Any: ...
@overload
def kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]: ...
def kernel(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a function of arrays and numbers when it is first called; it lets go of the interpreter meanwhile.

    options: of `numba.njit`, besides `cache` and `nogil`.
    """
    if function is None:
        return functools.partial(kernel, **options)
    with _cached():
        return numba.njit(cache=True, nogil=True, **options)(function)


def digest(package: Path = PACKAGE) -> str:
    """Sixteen hex digits that change with any file of the package that holds a kernel."""
    found = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        text = path.read_bytes()
        if MARK in text:
            found.update(path.relative_to(package).as_posix().encode() + b"\0" + text + b"\0")
    return found.hexdigest()[:16]


@functools.cache
def _folder() -> Path | None:
    """Where this state's kernels are kept; None where nothing can be written: numba has a place of its own for that."""
    folder = PACKAGE / "__pycache__" / f"kernels-{digest()}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder if os.access(folder, os.W_OK) else None


@contextmanager
def _cached() -> Iterator[None]:
    """Kernels that are defined inside are kept in that folder, unless NUMBA_CACHE_DIR names another place."""
    if config.CACHE_DIR or _folder() is None:
        yield
        return
    config.CACHE_DIR = str(_folder())
    try:
        yield
    finally:
        config.CACHE_DIR = ""
