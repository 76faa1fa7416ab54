"""Every command in the docs is run: long ones in their smallest form, targets of make as `make -n` shows them."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCS = [ROOT / "README.md", ROOT / "market" / "README.md", *sorted(ROOT.glob("*/docs/*.md"))]
PROGRAMS = ("make", "pytest", "python")


def commands() -> list[str]:
    """The lines of blocks without a language that start with a program, without comments; each once."""
    found: dict[str, None] = {}
    for page in DOCS:
        for block in re.findall(r"^```\n(.*?)^```", page.read_text(), re.MULTILINE | re.DOTALL):
            lines = [line.split("  #")[0].strip() for line in block.splitlines()]
            found |= dict.fromkeys(line for line in lines if line.split(" ")[0] in PROGRAMS)
    return list(found)


def shortened(command: str, results: Path) -> list[str]:
    """The same command with the least to do, and its results elsewhere."""
    program, *words = shlex.split(command)
    if program == "make":
        return ["make", "-n", *words]
    if program == "pytest":
        timed = "--benchmark-only" in words
        if timed and "--resume" not in words:
            words += ["--populations", "1", "--iterations", "1"]
        if timed and "--case" not in words and "--resume" not in words:
            words += ["--case", "ledger,train/whole" if "study" in words else "ledger"]
        extra = [f"--results={results}"] if timed else []
        return [sys.executable, "-m", "pytest", "-q", *words, *extra]
    words = [str(results / "latest") if word == "results/latest" else word for word in words]
    if "benches.goals" in words:
        words = [*words[: words.index("benches.goals") + 1], "calls"]
    words += ["--tables"] if "benches.campaign" in words else []
    return [sys.executable, *words]


def test_the_docs_show_commands() -> None:
    assert len(commands()) >= 10
    targets = re.findall(r"^([a-z-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE)
    for command in commands():
        program, *words = command.split()
        assert program != "make" or words[0] in targets, command


@pytest.mark.slow  # a minute or two: each starts Python anew
def test_every_command_runs(tmp_path: Path) -> None:
    order = sorted(commands(), key=lambda command: ("results/latest" in command, "--resume" in command))
    for command in order:
        done = subprocess.run(
            shortened(command, tmp_path), cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
        )
        judged = "benches.goals" in command and "NOT MET" in done.stdout  # by a machine that runs other tests beside it
        assert done.returncode == 0 or judged, f"{command}\n{done.stdout[-3000:]}\n{done.stderr[-2000:]}"


@pytest.mark.slow  # loads everything that there is
def test_the_pages_are_built_without_a_warning(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / ".ci" / "docs.py"), str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "market.html").is_file()
