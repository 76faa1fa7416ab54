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
from ray.rllib.algorithms.impala import impala
from ray.rllib.core.learner import training_data
from ray.rllib.env import env_runner_group

QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "RAY_prestart_worker_first_driver": "0",
    "RAY_enable_worker_prestart": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_DEDUP_LOGS": "0",
}
"""A small, private, offline Ray."""

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

    An initialised Ray is used as it is and left running. Otherwise Ray connects to the cluster at `address`, or starts
    a local one with at least `cpus` logical CPUs; whoever leaves last stops it. Open a session around several trainers
    to start Ray once for all of them. packages: folders of Python packages that travel to the nodes of the cluster.
    """
    global _users, _ours
    start = time.perf_counter()
    if not ray.is_initialized():
        os.environ.update({key: value for key, value in QUIET.items() if key not in os.environ})
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        if address is not None:
            check_address(address)
            travelling = {"runtime_env": {"py_modules": [str(path) for path in packages]}} if packages else {}
            ray.init(address=address, **travelling, **quiet)
        else:  # "local": never attach to a cluster that happens to run on this machine
            ray.init(
                address="local",
                num_cpus=max(cpus, os.cpu_count() or 1),
                include_dashboard=False,
                object_store_memory=_OBJECT_STORE_BYTES,
                **quiet,
            )
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


class _WithoutObjectStore:
    """The module `ray` as parts of RLlib see it when no Ray runs: an object put into the store is the object itself."""

    def __getattr__(self, name: str) -> Any:
        return getattr(ray, name)

    @staticmethod
    def put(value: Any) -> Any:
        return value

    @staticmethod
    def get(value: Any) -> Any:
        return value


_STORING = (env_runner_group, impala, training_data)
"""RLlib's modules that put objects into the store even where no actor takes them out."""


@contextmanager
def without_object_store() -> Iterator[None]:
    """Let RLlib work in-process without Ray.

    RLlib 2.60 needs Ray there for one thing only: `EnvRunnerGroup` puts its config and each new version of the weights
    into the object store, for actors that do not exist, and IMPALA's and APPO's episodes go to a local learner that
    way. Starting Ray for that costs seconds and processes. Does nothing where Ray runs.
    """
    if ray.is_initialized():
        yield
        return
    for module in _STORING:
        module.ray = _WithoutObjectStore()
    try:
        yield
    finally:
        for module in _STORING:
            module.ray = ray
