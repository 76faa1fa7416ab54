"""One thread for every numeric library: two threads on a loaded machine can be ten times slower than one.

`pin` must run before numpy is imported, for BLAS reads the environment once: only where a process begins (conftest.py,
`__main__`). What was asked for and what the libraries report is stored with every record.
"""

from __future__ import annotations

import os
import sys

LIBRARIES = ("OMP", "OPENBLAS", "MKL", "BLIS", "NUMEXPR", "NUMBA")
VARIABLES = (*(f"{library}_NUM_THREADS" for library in LIBRARIES), "VECLIB_MAXIMUM_THREADS")


def pin(threads: int = 1) -> dict[str, str]:
    """Ask for `threads` threads wherever the user asked for nothing; returns what now holds, by variable."""
    for name in VARIABLES:
        os.environ.setdefault(name, str(threads))
    return {name: os.environ[name] for name in VARIABLES}


def observed() -> dict[str, str | int | None]:
    """Thread settings: the environment, and what the libraries loaded so far say of themselves."""
    found: dict[str, str | int | None] = {name: os.environ.get(name) for name in VARIABLES}
    found["PYTHONHASHSEED"] = os.environ.get("PYTHONHASHSEED")
    if "torch" in sys.modules:
        found["torch"] = sys.modules["torch"].get_num_threads()
        found["torch_interop"] = sys.modules["torch"].get_num_interop_threads()
    if "numba" in sys.modules:
        found["numba"] = sys.modules["numba"].get_num_threads()
    return found
