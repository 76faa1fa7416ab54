"""A Ray cluster of two nodes inside this machine."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from market.rl.rllib import QUIET, forget_token

TOKEN = 64 * "c"
"""That of the cluster."""
ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def two_nodes() -> Iterator[Cluster]:
    """A running cluster of two nodes with one CPU each; `.address` is where to reach it."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**QUIET, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN}.items():
            patch.setenv(name, value)
        forget_token()
        patch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), str(ROOT / "tests" / "helpers")]))
        node = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
        cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
        try:
            cluster.add_node(**node)
            yield cluster
        finally:
            cluster.shutdown()
