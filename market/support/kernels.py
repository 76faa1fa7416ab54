"""The decorator of compiled functions, and where numba caches them: one folder for each state of their sources.

numba checks only a kernel's own file, so it would go on running old code of the kernels that this one calls in other
files. The folder's name is therefore a digest of all files with kernels; `make clean` removes the folders. They stand
in the package, or in the user's cache where that cannot be written. A cache never keeps a kernel from running: what is
damaged is compiled and written anew, and where nothing can be written, each process compiles what it calls.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import math
import os
import pickle
import sys
import time
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba.core.config
from numba.core.caching import CompileResultCacheImpl, FunctionCache
from numba.core.serialize import dumps
from numba.misc.appdirs import AppDirs

PACKAGE = Path(__file__).parents[1]
MARK = b"@kernel"
"""Files with kernels contain this."""
PAUSE = 3.0
"""Seconds between two lines about compiling."""
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}
"""Of every kernel: what is divided by zero is inf or nan, as in numpy; without a wrapper for callers written in C."""
_told = -math.inf
config: Any = numba.core.config  # takes its names from the environment at run time


def kernel(function: Callable[..., Any] | None = None, **options: Any) -> Any:
    """Compile a function of arrays and numbers on its first call; it releases the GIL while it runs.

    options: of `numba.njit`, besides `cache` and OPTIONS.
    """
    if function is None:
        return functools.partial(kernel, **options)
    compiled = numba.njit(**OPTIONS | options)(function)
    named = config.CACHE_DIR  # NUMBA_CACHE_DIR wins; other packages keep their own place
    config.CACHE_DIR = named or _folder()
    try:
        if config.CACHE_DIR and not config.DISABLE_JIT:
            compiled._cache = _Cache(function)
    except RuntimeError:  # numba found no folder that it can write
        _warn()
    finally:
        config.CACHE_DIR = named
    return compiled


class _Checked(CompileResultCacheImpl):
    """Compiled code with a checksum: numba would run any bytes."""

    def reduce(self, data: Any) -> tuple[int, bytes]:
        written = dumps(super().reduce(data))
        return zlib.crc32(written), written

    def rebuild(self, target_context: Any, reduced_data: tuple[int, bytes]) -> Any:
        checksum, written = reduced_data
        if zlib.crc32(written) != checksum:
            raise ValueError("the checksum of a cached kernel is not that of its code")
        return super().rebuild(target_context, pickle.loads(written))


class _Cache(FunctionCache):
    """numba's cache of one kernel, without its errors."""

    _impl_class = _Checked

    def load_overload(self, sig: Any, target_context: Any) -> Any:
        found = None
        try:
            found = super().load_overload(sig, target_context)
        except Exception:  # noqa: BLE001 - a damaged pickle raises whatever it likes
            self._write(self.flush)
        if found is None:
            _tell()
        return found

    def save_overload(self, sig: Any, data: Any) -> None:
        self._write(functools.partial(super().save_overload, sig, data))

    def _write(self, work: Callable[[], None]) -> None:
        try:
            work()
        except OSError:
            self.disable()
            _warn()


def _tell() -> None:
    """That kernels are being compiled, at once and then every few seconds, so that nobody waits in silence."""
    global _told
    if time.monotonic() - _told > PAUSE:
        _told = time.monotonic()
        with contextlib.suppress(OSError):  # the disk that standard error goes to may be full, too
            print("market: compiling kernels, once for each version and machine", file=sys.stderr, flush=True)


@functools.cache
def _warn() -> None:
    """Once for all kernels."""
    warnings.warn(
        "kernels: got no folder that can be written, or no space in it, so each process compiles the kernels that it "
        "calls; allowed: NUMBA_CACHE_DIR=a folder to keep them in",
        RuntimeWarning,
        stacklevel=2,
    )


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
    """The cache folder of this state: in the package, else in the user's cache; empty where neither can be written."""
    for place in (PACKAGE / "__pycache__", Path(AppDirs("lem-scalability", False).user_cache_dir)):
        folder = place / f"kernels-{digest()}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return str(folder)
    _warn()
    return ""
