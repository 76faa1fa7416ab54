"""What a figure depends on besides the code: machine, versions, commit, load and memory. From /proc: Linux alone."""

from __future__ import annotations

import functools
import importlib.metadata
import os
import platform
import resource
import signal
import subprocess
from pathlib import Path

from benches.terminal.text import one_line

Facts = dict[str, str | int | float | bool | None]

PACKAGES = ("numpy", "numba", "scipy", "pandas", "networkx", "gymnasium", "torch", "ray", "pytest", "pytest-benchmark")
ROOT = Path(__file__).resolve().parents[2]


def _proc(file: str, key: str) -> str:
    """Value of the first `key: value` line of a /proc file; empty where there is none."""
    lines = Path("/proc", file).read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith(key)), "")


def _kib(file: str, key: str) -> int:
    return int(_proc(file, key).split()[0])


@functools.cache
def machine() -> Facts:
    """The computer: processor, usable cores, memory (bytes), system."""
    return {
        "cpu": _proc("cpuinfo", "model name") or platform.processor() or "unknown",
        "cores": os.cpu_count(),
        "cores_usable": len(os.sched_getaffinity(0)),
        "memory_bytes": _kib("meminfo", "MemTotal") * 1024,
        "system": platform.platform(),
        "host": platform.node(),
    }


@functools.cache
def versions() -> Facts:
    """Version of Python and of each package that can move a figure; None where it is not installed."""
    found: Facts = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = None
    return found


def git(*arguments: str, folder: Path = ROOT) -> bytes | None:
    """What git prints in a folder; None where it fails."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, timeout=120, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None


@functools.cache
def commit() -> str | None:
    """Git commit of the code; None outside a repository and before the first commit."""
    found = git("rev-parse", "--verify", "--quiet", "HEAD")
    return None if found is None else found.decode().strip()


@functools.cache
def dirty() -> bool | None:
    """Whether tracked files differ from the commit; None where there is no commit."""
    changes = git("status", "--porcelain", "--untracked-files=no") if commit() else None
    return None if changes is None else bool(changes.strip())


def ending(status: int, errors: bytes = b"") -> str:
    """How a process ended, from its return code as `subprocess` gives it, and the last line of its standard error."""
    last = one_line((errors.decode("utf-8", errors="replace").strip().splitlines() or [""])[-1], 400)
    how = f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"
    how += ", which usually means out of memory" if status == -signal.SIGKILL else ""
    return f"{how}: {last}" if last else how


def load_average() -> list[float]:
    """Runnable processes over the last 1, 5 and 15 minutes."""
    return [round(value, 2) for value in os.getloadavg()]


def reset_peak_memory() -> bool:
    """Start the process's peak memory afresh (Linux); False where the peak can only grow."""
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")
    except OSError:
        return False
    return True


def peak_memory() -> int:
    """Highest resident memory of this process since `reset_peak_memory`, or else since its start, in bytes."""
    peak = _proc("self/status", "VmHWM")  # sandboxes may lack it
    return (int(peak.split()[0]) if peak else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss) * 1024


def resident_memory() -> int:
    """Resident memory of this process now, in bytes."""
    return _kib("self/status", "VmRSS") * 1024
