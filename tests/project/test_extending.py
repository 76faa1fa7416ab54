"""The page on adding things: its patches apply to a copy of the code, its examples run, and the tests take them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "market" / "docs" / "extending.md"
HEADING, FENCED, FILE, HUNK = r"^## (.*)$", r"^```(diff|python)\n(.*?)^```$", r"^--- a/(.*)\n", r"^@@\n"
RL = "An algorithm"
SECTIONS = dict(zip(*[iter(re.split(HEADING, PAGE.read_text(), flags=re.MULTILINE)[1:])] * 2, strict=True))


def blocks(section: str, kind: str) -> list[str]:
    found = re.findall(FENCED, SECTIONS[section], re.MULTILINE | re.DOTALL)
    return [text for each, text in found if each == kind]


def files(diff: str) -> dict[str, list[str]]:
    """Path -> hunks."""
    _, *parts = re.split(FILE, diff, flags=re.MULTILINE)
    return {
        path: re.split(HUNK, hunks, flags=re.MULTILINE)[1:] for path, hunks in zip(parts[::2], parts[1::2], strict=True)
    }


def lines(hunk: str, marks: str) -> str:
    return "".join(line[1:] or "\n" for line in hunk.splitlines(keepends=True) if line[0] in marks)


def patch(folder: Path, diff: str) -> None:
    """Change the files as the hunks say; where a hunk goes is found by its lines, which must stand there once."""
    for name, hunks in files(diff).items():
        path = folder / name
        text = path.read_text() if path.exists() else ""
        for hunk in hunks:
            before, after = lines(hunk, " -"), lines(hunk, " +")
            if before:
                assert f"\n{text}".count(f"\n{before}") == 1, f"{PAGE.name}: {name} has not once:\n{before}"
                text = f"\n{text}".replace(f"\n{before}", f"\n{after}")[1:]
            else:
                text = after
        path.write_text(text)


@pytest.fixture(scope="module")
def patched(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the code with every patch of the page."""
    folder = tmp_path_factory.mktemp("extended")
    for name in ("market", "benches", "tests", ".ci"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "Makefile"):
        shutil.copy(ROOT / name, folder)
    for section in SECTIONS:
        for diff in blocks(section, "diff"):
            patch(folder, diff)
    return folder


def run(folder: Path, *arguments: str, **variables: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(folder)} | variables
    command = [sys.executable, *arguments]
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-5000:]


def test_a_new_thing_touches_one_file_of_the_market() -> None:
    for section in SECTIONS:
        touched = {path for diff in blocks(section, "diff") for path in files(diff) if path.endswith(".py")}
        assert len([path for path in touched if path.startswith("market/")]) == (3 if section == RL else 1)


def test_the_examples_run(patched: Path) -> None:
    codes = [code for section in SECTIONS if section != RL for code in blocks(section, "python")]
    run(patched, "-c", "\n".join(codes), NUMBA_DISABLE_JIT="1")  # few numbers: plain Python is done before a compiler


@pytest.mark.slow
def test_the_new_algorithm_trains_in_the_new_mode(patched: Path) -> None:
    run(patched, "-c", blocks(RL, "python")[0])


@pytest.mark.slow
def test_the_tests_take_what_is_new(patched: Path) -> None:
    tests = ("clearing/test_pricing", "clearing/test_mechanisms", "clearing/test_differential",
             "grid/test_topologies", "evaluation/test_kpis", "evaluation/test_policies",
             "rl/networks/test_rl_networks", "rl/networks/test_rl_rows", "rl/test_rl_checkpoint",
             "bench/test_cases", "project/test_project")  # fmt: skip
    paths = (f"tests/{name}.py" for name in tests)
    run(patched, "-m", "pytest", "-q", "-x", "-m", "not slow", "-p", "no:cacheprovider", *paths)
