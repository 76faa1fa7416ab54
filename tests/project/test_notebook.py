"""The study's notebook runs with one change: its import cell says `from market import ...`."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from market import TrainingMode
from market.rl.algorithms.registry import ALGORITHMS
from script_support import run_script

ROOT = Path(__file__).parents[2]
NOTEBOOK = ROOT.parent / "shared" / "seed" / "case7_scalability_analysis.txt"
ALGORITHM_NAMES = [algorithm.name for algorithm in ALGORITHMS]
SMALL = {  # class constants of the notebook, made small; every other line is as it stands
    "AGENT_POPULATIONS": "[1, 3]",
    "TRAINING_EPISODES": "1",
    "ALGORITHMS": f"[{', '.join(f'RLAlgorithm.{name}' for name in ALGORITHM_NAMES)}]",
}


def code_cells(text: str) -> list[str]:
    """The code cells of the notebook as text; one ends where the heading of a text cell begins."""
    return [re.split(r"^## ", part, maxsplit=1, flags=re.MULTILINE)[0] for part in text.split("\nIn [None]:\n")[1:]]


def adapt(cells: list[str]) -> str:
    """The cells as one script: names of the old modules from `market`, small constants."""
    script = "\n".join(cells)
    names = ", ".join(re.findall(r"^ +from src\.\S+ import (.+)$", script, re.MULTILINE))
    first, *rest = re.findall(r"^ +from src\..+\n", script, re.MULTILINE)
    script = script.replace(first, f"    from market import {names}\n")
    for line in rest:
        script = script.replace(line, "")
    for name, value in SMALL.items():
        script, count = re.subn(rf"^    {name} = \[?[^\n]*", f"    {name} = {value}", script, flags=re.MULTILINE)
        assert count == 1, name
    return script


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder in which the notebook ran, and what it printed."""
    if not NOTEBOOK.is_file():
        pytest.skip(f"the study's notebook is not on this machine ({NOTEBOOK})")
    folder = tmp_path_factory.mktemp("notebook")
    return folder, run_script(adapt(code_cells(NOTEBOOK.read_text())), folder)


@pytest.mark.slow  # trains every combination
def test_every_combination_succeeds(run):
    import pandas as pd

    folder, _ = run
    table = pd.read_csv(folder / "scalability_results" / "scalability_results_final.csv")
    assert set(table.status) == {"success"}
    expected = {(n, mode.name, name) for n in (1, 3) for mode in TrainingMode for name in ALGORITHM_NAMES}
    assert set(zip(table.num_agents, table.training_mode, table.algorithm, strict=True)) == expected
    assert (table.training_time > 0).all()


@pytest.mark.slow  # the same run
def test_tables_and_figure_are_written(run):
    folder, _ = run
    results = folder / "scalability_results"
    assert (results / "scalability_results_intermediate.csv").stat().st_size > 0
    assert (results / "computational_time_analysis.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow  # the same run
def test_what_the_cells_print(run):
    _, printed = run
    for mode in TrainingMode:
        assert f"  - {mode.name}: {mode.value}" in printed
    assert "Error importing" not in printed
    assert "Test completed: success" in printed
    assert "Failed: 0" in printed
    assert printed.count("Scaling Factor:") == 3 * len(ALGORITHM_NAMES)
    assert "Analysis complete!" in printed


def test_the_notebook_has_all_its_cells():
    if not NOTEBOOK.is_file():
        pytest.skip(f"the study's notebook is not on this machine ({NOTEBOOK})")
    text = NOTEBOOK.read_text()
    cells = code_cells(text)
    assert len(cells) == text.count("In [None]:") == 10
    for number, cell in enumerate(cells):
        compile(cell, f"cell {number}", "exec")
