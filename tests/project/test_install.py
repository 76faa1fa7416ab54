"""A clean house: the wheel holds `market` alone, and importing a module of `benches` changes nothing in its process."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("market", "benches", "tests", "pyproject.toml", "README.md", "LICENSE")
IMPORT_ALL = """
import importlib, json, os, pkgutil, signal, threading

def state():
    handlers = [str(signal.getsignal(each)) for each in signal.Signals]
    return {"environment": dict(os.environ), "handlers": handlers, "threads": threading.active_count()}

import benches
for module in pkgutil.walk_packages(benches.__path__, "benches."):
    before = state()
    importlib.import_module(module.name)
    assert state() == before, module.name
"""
CLEAR = """
import sys
from pathlib import Path
from importlib.util import find_spec
import market
from market import MarketConfig, Orders, clear

assert Path(market.__file__).is_relative_to(sys.prefix), market.__file__
assert Path(market.__file__).with_name("py.typed").exists()
assert find_spec("benches") is None and find_spec("tests") is None
book = Orders(price=[50, 30], quantity=[1, 1], is_buy=[True, False])
print(clear(book, MarketConfig(0, 100), feed_in_tariff=2.0, utility_price=60.0).trades.price.tolist())
"""


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | environment
    done = subprocess.run(command, cwd=cwd, env=kept, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_importing_a_module_of_benches_changes_nothing_and_prints_nothing() -> None:
    assert run(sys.executable, "-W", "error", "-c", IMPORT_ALL, cwd=ROOT) == ""


@pytest.mark.parametrize("start", ["tests/project", "benches/pytest_suite", "."])
def test_benches_are_found_without_being_installed(start: str) -> None:
    """A conftest names the plugin: `-p` would have it imported before `pythonpath` holds."""
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert "-p" not in options["addopts"]
    # -I: the current folder is not on the path, as for the command `pytest`
    said = run(sys.executable, "-I", "-m", "pytest", "--help", start, cwd=ROOT)
    assert "--populations" in said


@pytest.mark.slow  # builds a wheel, and compiles the kernels in a new place
def test_the_wheel_holds_the_market_alone_and_it_clears(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in SOURCES:  # setuptools builds in the tree, and packs whatever an earlier build has left there
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, source / name)
    flags = ("--no-deps", "--no-build-isolation", "--no-index", "--disable-pip-version-check", "--quiet")
    run(sys.executable, "-m", "pip", "wheel", *flags, "--wheel-dir", tmp_path, source, cwd=tmp_path)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as packed:
        names = set(packed.namelist())
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"market", "lem_scalability"}
    modules = {str(path.relative_to(ROOT)) for path in ROOT.glob("market/**/*.py")}
    assert modules <= names
    assert "market/py.typed" in names

    # Another environment: the wheel, and what it needs from the folder of packages that these tests use.
    venv.create(tmp_path / "fresh", with_pip=False)
    python = tmp_path / "fresh" / "bin" / "python"
    packages = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip())
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(packages)  # a wheel of pure Python is installed by unpacking it
    borrowed = Path(pytest.__file__).parents[1]
    # As a path only: its own .pth files, ours too, are not read.
    (packages / "borrowed.pth").write_text(f"{borrowed}\n")
    assert run(python, "-c", CLEAR, cwd=tmp_path, NUMBA_DISABLE_JIT="1").strip() == "[40.0]"
