"""Compiled kernels are kept by the state of all their sources, so that an edit is never timed or tested as it was."""

from __future__ import annotations

import math
import os
import resource
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
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


# --- what happens to a cache


def triple(x):
    return 3 * x


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package of its own, whose kernels are cached below it, or below `home` where that cannot be."""
    kernels = market.support.kernels
    monkeypatch.setattr(kernels, "PACKAGE", tmp_path / "package")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    (tmp_path / "package").mkdir()
    yield tmp_path / "package"
    kernels._folder.cache_clear()
    kernels._warn.cache_clear()


def call(warned: int = 0) -> int:
    """Loads or compiles `triple` anew, as another process would, and returns how often it was found in the cache."""
    market.support.kernels._folder.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        compiled = market.support.kernels.kernel(triple)
        assert (compiled(7), compiled(0.5)) == (21, 1.5)
    assert [str(warning.message)[:7] for warning in caught] == ["kernels"] * warned
    return sum(compiled.stats.cache_hits.values())


def files(folder: Path, ending: str) -> list[Path]:
    return sorted(folder.rglob(f"*.{ending}"))


def flipped(written: bytes) -> bytes:
    """One bit of the middle: machine code, in a file of data."""
    return written[: len(written) // 2] + bytes([written[len(written) // 2] ^ 1]) + written[len(written) // 2 + 1 :]


DAMAGE = {
    "empty": lambda written: b"",
    "cut": lambda written: written[: len(written) // 2],
    "one byte less": lambda written: written[:-1],
    "garbage": lambda written: bytes(range(256)) * 20,
    "words": lambda written: b"no pickle\n",
    "another pickle": lambda written: b"\x80\x04N.",
    "a flipped bit": flipped,
}


@pytest.mark.skipif(TOLD_OTHERWISE, reason="numba was told otherwise")
@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_is_written_anew(package: Path, ending: str, damage: str):
    assert call() == 0
    assert call() == 2
    path = files(package, ending)[0]
    whole = path.read_bytes()
    path.write_bytes(DAMAGE[damage](whole))
    call()
    call()  # the first after the damage may have forgotten what it read before
    assert call() == 2
    shutil.rmtree(package / "__pycache__")
    assert call() == 0


@pytest.mark.skipif(TOLD_OTHERWISE, reason="numba was told otherwise")
def test_a_package_that_cannot_be_written_has_its_kernels_in_the_users_cache(package: Path):
    (package / "__pycache__").touch()  # a file: no folder can be made there, not even by root
    assert call() == 0
    assert call() == 2
    assert len(files(package.parent / "home", "nbc")) == 2


@pytest.mark.skipif(TOLD_OTHERWISE, reason="numba was told otherwise")
def test_where_nothing_can_be_written_kernels_run_with_one_warning(package: Path, monkeypatch: pytest.MonkeyPatch):
    (package / "__pycache__").touch()
    (package.parent / "home").touch()
    assert call(warned=1) == 0
    assert call() == 0
    market.support.kernels._warn.cache_clear()
    monkeypatch.setattr(market.support.kernels.config, "CACHE_LOCATOR_CLASSES", "UserProvidedCacheLocator")
    monkeypatch.setattr(market.support.kernels.config, "CACHE_DIR", str(package.parent / "home"))  # the user's choice
    assert call(warned=1) == 0


@pytest.mark.skipif(TOLD_OTHERWISE, reason="numba was told otherwise")
def test_compiling_is_told_and_running_what_was_kept_is_not(package: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.setattr(market.support.kernels, "_told", -math.inf)
    call()
    call()
    said = capsys.readouterr().err
    assert said == "market: compiling kernels, once for each version and machine\n", "not once for each kernel"


@pytest.mark.skipif(TOLD_OTHERWISE, reason="numba was told otherwise")
@pytest.mark.parametrize("room", [0, 300, 3000])
def test_on_a_full_disk_kernels_run_with_one_warning(package: Path, room: int):
    """room: bytes that a file may have: nothing, an index, or a part of the code."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        assert call(warned=1) == 0
        assert call() == 0
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    call()
    assert call() == 2, "once there is space again, they are kept"


@pytest.mark.slow  # compiles what `clear` calls
@pytest.mark.skipif(TOLD_OTHERWISE, reason="numba was told otherwise")
def test_a_market_without_a_cache(tmp_path: Path):
    code = (
        "from market import MarketConfig, Orders, clear; orders = Orders([60, 50], [1, 2], [True, False]);"
        "print(clear(orders, MarketConfig(), feed_in_tariff=50, utility_price=100).trades)"
    )
    copy = shutil.copytree(market.support.kernels.PACKAGE, tmp_path / "market", ignore=shutil.ignore_patterns("__*__"))
    for path in market.support.kernels.PACKAGE.rglob("__init__.py"):
        shutil.copy(path, tmp_path / "market" / path.relative_to(market.support.kernels.PACKAGE))
    (copy / "__pycache__").touch()
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(tmp_path), "HOME": "/dev/null"}
    environment.pop("XDG_CACHE_HOME", None)
    command = [sys.executable, "-P", "-c", code]
    bare = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True)
    usual = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert bare.stdout == usual.stdout
    assert bare.stderr.count("Warning") == 1
