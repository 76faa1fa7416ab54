"""Compiled kernels are kept by the state of all their sources, so that an edit is never timed or tested as it was."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import market.support.kernels
from market.clearing import batch, matching
from market.grid import network, power_flow
from market.support import rng

TOLD_OTHERWISE = os.environ.get("NUMBA_DISABLE_JIT") == "1" or "NUMBA_CACHE_DIR" in os.environ


@pytest.mark.skipif(TOLD_OTHERWISE, reason="numba was told otherwise")
def test_every_kernel_is_kept_in_the_folder_of_this_state():
    for module in (rng, matching, batch, power_flow):
        kernels = [thing for thing in vars(module).values() if hasattr(thing, "py_func")]
        assert kernels
        for kernel in kernels:
            assert f"kernels-{market.support.kernels.digest()}" in kernel._cache.cache_path
    assert not market.support.kernels.config.CACHE_DIR  # other packages keep theirs where they did


def test_an_edit_to_any_kernel_makes_another_state(tmp_path: Path):
    for path in market.support.kernels.PACKAGE.rglob("*.py"):
        copy = tmp_path / path.relative_to(market.support.kernels.PACKAGE)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    before = market.support.kernels.digest(tmp_path)
    assert before == market.support.kernels.digest()
    plain = tmp_path / Path(network.__file__).relative_to(market.support.kernels.PACKAGE)
    plain.write_text(plain.read_text() + "# no kernel here\n")
    assert market.support.kernels.digest(tmp_path) == before
    kernel = tmp_path / "clearing" / "trade_reduction.py"
    kernel.write_text(kernel.read_text() + "# edited\n")
    edited = market.support.kernels.digest(tmp_path)
    assert edited != before
    kernel.rename(tmp_path / "grid" / kernel.name)
    assert market.support.kernels.digest(tmp_path) not in (before, edited)


@pytest.mark.skipif(TOLD_OTHERWISE, reason="numba was told otherwise")
def test_the_place_that_the_user_names_is_kept(tmp_path: Path):
    code = "import market; import market.support.rng; print(market.support.rng._uniform._cache.cache_path)"
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}
    printed = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert printed.stdout.startswith(str(tmp_path))


@pytest.mark.skipif(TOLD_OTHERWISE, reason="numba was told otherwise")
def test_an_edit_of_a_kernel_recompiles_the_kernels_of_other_files_that_call_it(tmp_path: Path):
    (tmp_path / "market" / "support").mkdir(parents=True)
    for name in ("__init__", "support/__init__", "support/kernels", "support/user", "support/used"):
        (tmp_path / "market" / f"{name}.py").touch()
    shutil.copy(market.support.kernels.__file__, tmp_path / "market" / "support" / "kernels.py")
    used, user = (tmp_path / "market" / "support" / f"{name}.py" for name in ("used", "user"))
    head = "from market.support.kernels import kernel\n"
    user.write_text(f"{head}from market.support.used import add\n\n@kernel\ndef twice(x):\n    return add(add(x))\n")

    def run(step: int) -> tuple[str, str]:
        used.write_text(f"{head}\n@kernel\ndef add(x):\n    return x + {step}\n")
        code = "from market.support.user import twice; print(twice(1), sum(twice.stats.cache_hits.values()))"
        environment = os.environ | {"PYTHONPATH": str(tmp_path)}
        command = [sys.executable, "-P", "-c", code]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
        number, hits = done.stdout.split()
        return number, hits

    assert run(1) == ("3", "0")
    assert run(1) == ("3", "1"), "an unchanged kernel is loaded"
    assert run(10) == ("21", "0"), "its own file is as before, and it is compiled anew all the same"
