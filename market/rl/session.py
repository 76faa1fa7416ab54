"""Ray, only where it is needed: training in-process runs without, actors share one that stops with its last user."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray

from market.rl.rllib import QUIET, forget_token, guarded

PATIENCE = 10.0
"""Seconds until an address counts as unreachable: Ray itself would go on trying for minutes."""
_OBJECT_STORE_BYTES = 512 * 2**20

_users = 0
_ours = False


def check_address(address: str) -> None:
    """ConnectionError or ValueError in one line unless something listens at `address`; "auto" is for Ray to find."""
    if address in ("auto", "local"):
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise ValueError(f"ray_address: got {address!r}; allowed: auto, host:port or ray://host:port")
    try:
        socket.create_connection((host.strip("[]"), int(port)), PATIENCE).close()
    except (OSError, OverflowError) as error:
        raise ConnectionError(f"ray_address: got {address!r}; allowed: that of a running cluster ({error})") from None


@contextmanager
def ray_session(address: str | None = None, cpus: int = 1, packages: Sequence[Path] = ()) -> Iterator[float]:
    """A running Ray inside; yields the seconds that starting (or reaching) it took.

    An initialised Ray is used as it is and left running. Otherwise Ray connects to the cluster at `address`, which
    keeps its own authentication, or starts on this machine, for this process alone (see .github/SECURITY.md); the last
    session to end stops it. Open one around several trainers to start Ray once for all.

    address: of a running cluster; None starts a local Ray.
    cpus: logical CPUs that the local Ray has at least.
    packages: folders of Python packages that travel to the nodes of the cluster.
    """
    global _users, _ours
    start = time.perf_counter()
    if not ray.is_initialized():
        os.environ.update({key: value for key, value in QUIET.items() if key not in os.environ})
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        forget_token()
        if address is not None:
            check_address(address)
            travelling = {"runtime_env": {"py_modules": [str(path) for path in packages]}} if packages else {}
            ray.init(address=address, **travelling, **quiet)
        else:  # "local": never attach to a cluster that happens to run on this machine
            own = {"num_cpus": max(cpus, os.cpu_count() or 1), "object_store_memory": _OBJECT_STORE_BYTES}
            with guarded():
                ray.init(address="local", include_dashboard=False, **own, **quiet)
        _ours = True
    elif address not in (None, "auto", running := ray.get_runtime_context().gcs_address):
        raise ValueError(f"ray_address: got {address!r}; allowed: {running!r}, the Ray that this process already uses")
    _users += 1
    try:
        available = int(ray.cluster_resources().get("CPU", 0))
        if cpus > available:
            raise ValueError(
                f"cpus: got {cpus} for all env runners and learners; allowed: 1 to {available} in the running Ray"
            )
        yield time.perf_counter() - start
    finally:
        _users -= 1
        if _users == 0 and _ours:
            _ours = False
            ray.shutdown()
