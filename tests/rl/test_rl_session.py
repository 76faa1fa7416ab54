"""A local Ray that we start is for this process alone: a random token, and loopback."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest
import ray

from market.rl import ray_session
from market.rl.rllib import AUTHENTICATION, QUIET

LISTENS = "0A"
"""State of a socket in /proc/net/tcp."""
STRANGER = """
import logging, sys, ray
ray.init(address=sys.argv[1], logging_level=logging.CRITICAL, log_to_driver=False)
print(int(ray.cluster_resources()["CPU"]))
"""


def listening() -> set[tuple[str, str]]:
    """Address and port of every TCP socket of this machine that listens, as /proc writes them."""
    lines = [line.split() for kind in ("tcp", "tcp6") for line in Path(f"/proc/net/{kind}").read_text().splitlines()]
    return {tuple(line[1].split(":")) for line in lines if line[3] == LISTENS}  # type: ignore[misc]


def reached(address: str, **authentication: str) -> bool:
    """Whether another process gets into the Ray at `address`."""
    known = {name: value for name, value in os.environ.items() if name not in AUTHENTICATION}
    known |= QUIET | authentication | {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0"}  # else 127.0.0.1 is not looked for
    command = [sys.executable, "-c", STRANGER, address]
    done = subprocess.run(command, env=known, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode == 0) == done.stdout.strip().isdigit(), done.stderr
    return done.returncode == 0


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in AUTHENTICATION:
        monkeypatch.delenv(name, raising=False)


def holds(file: Path, text: str) -> bool:
    """Whether a file has the text in it; processes and their files may end meanwhile."""
    with contextlib.suppress(OSError):
        return file.is_file() and text.encode() in file.read_bytes()
    return False


@ray.remote
def token() -> str:
    return os.environ["RAY_AUTH_TOKEN"]


@pytest.mark.slow  # starts Ray twice, and processes that try to reach it
def test_a_local_ray_listens_on_loopback_and_wants_its_token() -> None:
    home, tokens = Path.home() / ".ray" / "auth_token", []
    before, kept = listening(), home.exists()
    for _ in range(2):
        with ray_session():
            assert not [name for name in AUTHENTICATION if name in os.environ], "only Ray's own processes know it"
            opened = listening() - before
            tokens.append(ray.get(token.remote()))
            address = ray.get_runtime_context().gcs_address
            session = Path(ray.get_runtime_context().get_session_name())
            told = [*Path("/tmp/ray", session).rglob("*"), *Path("/proc").glob("[0-9]*/cmdline")]
            assert len(told) > 20
            assert not [file for file in told if holds(file, tokens[-1])]
            assert address.startswith("127.0.0.1:")
            assert len(opened) >= 3
            assert {host for host, _ in opened} <= {"0100007F", "0000000000000000FFFF00000100007F"}, "loopback"
    with ray_session():
        address = ray.get_runtime_context().gcs_address
        right = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": ray.get(token.remote())}
        assert reached(address, **right)
        assert not reached(address, **right | {"RAY_AUTH_TOKEN": tokens[0]})
        assert not reached(address, RAY_AUTH_MODE="disabled")
    assert len({*tokens, right["RAY_AUTH_TOKEN"]}) == 3
    assert {len(each) for each in tokens} == {64}
    assert home.exists() == kept
