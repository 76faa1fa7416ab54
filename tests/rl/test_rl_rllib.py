"""market/docs/rllib.md lists all that `market.rl` uses of RLlib's private parts, and the installed RLlib has it."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
import ray
import torch
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.learner.torch import torch_learner

import market.rl
from market.rl.rllib import LOGGERS, QUIET, STORING, without_object_store

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "market" / "docs" / "rllib.md").read_text()
ROWS = re.findall(r"^\| `(_\w+)` \| `(ray[\w.]+)` \|", PAGE, re.MULTILINE)
OURS = [importlib.import_module(m.name) for m in pkgutil.walk_packages(market.rl.__path__, "market.rl.") if not m.ispkg]


def bases(module: ModuleType) -> dict[str, list[type]]:
    """Name of each class that a module defines -> the classes of Ray that it extends."""
    classes = [c for _, c in inspect.getmembers(module, inspect.isclass) if c.__module__ == module.__name__]
    return {c.__name__: [base for base in c.__mro__ if base.__module__.startswith("ray.")] for c in classes}


def source(module: ModuleType) -> ast.Module:
    return ast.parse(Path(module.__file__).read_text())


def private_names(tree: ast.AST, skipped: frozenset[str] = frozenset()) -> Iterator[str]:
    """Names with one underscore that code defines, reads, writes or passes; not those of a `skipped` class's own."""
    for node in ast.iter_child_nodes(tree):
        own = isinstance(node, ast.ClassDef) and node.name in skipped
        inside = {*private_names(node, skipped)}
        if own:
            inside -= {n.name for n in node.body if isinstance(n, ast.FunctionDef)}
            inside -= {
                n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute) and ast.unparse(n.value) == "self"
            }
        yield from inside
        match node:
            case (
                ast.Attribute(attr=name)
                | ast.FunctionDef(name=name)
                | ast.keyword(arg=str(name))
                | ast.arg(arg=name)
                | ast.Constant(value=str(name))
            ):
                yield from re.findall(r"^_[a-z]\w*$", name)


def used() -> set[str]:
    """Private names in `market.rl` that are also names of the modules of RLlib whose classes it extends."""
    ours, theirs = set[str](), set[str]()
    for module in OURS:
        extended = bases(module)
        ours |= {*private_names(source(module), frozenset(name for name, ray_ in extended.items() if not ray_))}
        files = {inspect.getmodule(base) for each in extended.values() for base in each}
        theirs |= {name for file in files for name in private_names(source(file))}
    assert len(theirs) > 100
    return ours & theirs


def test_the_page_lists_the_private_names_that_are_used() -> None:
    assert used() == {name for name, _ in ROWS}


@pytest.mark.parametrize(("name", "place"), ROWS)
def test_ray_still_has(name: str, place: str) -> None:
    found = {*private_names(source(importlib.import_module(place)))}
    assert name in found, f"{place} of ray {ray.__version__} has no {name}: read its row in market/docs/rllib.md"


def test_the_page_is_about_the_installed_release() -> None:
    assert f"ray {importlib.metadata.version('ray')}" in PAGE


@pytest.mark.parametrize("module", STORING)
def test_patched_modules_still_use_the_object_store(module: ModuleType) -> None:
    assert f"`{module.__name__}`" in PAGE
    assert module.ray is ray
    assert re.search(r"\bray\.(put|get)\(", inspect.getsource(module))


@pytest.mark.parametrize("name", QUIET)
def test_environment_variables_are_listed_and_ray_reads_them(name: str) -> None:
    """Settings of Ray's C++ core are in its library, without `RAY_`."""
    assert f"`{name}`" in PAGE
    folder, word = Path(ray.__file__).parent, name.removeprefix("RAY_").encode()
    files = [*folder.glob("_private/**/*.py"), *folder.glob("_common/**/*.py"), folder / "_raylet.so"]
    assert any(word in file.read_bytes() for file in files)


@pytest.mark.parametrize("name", LOGGERS)
def test_loggers_are_listed_and_are_modules_of_ray(name: str) -> None:
    assert f"`{name}`" in PAGE
    importlib.import_module(name)


def test_a_learner_in_this_process_takes_its_gpu_without_a_ray() -> None:
    asking = torch_learner.get_device
    with without_object_store():
        assert torch_learner.get_device(AlgorithmConfig(), 1) == torch.device("cuda", 0)
        assert torch_learner.get_device(AlgorithmConfig(), 0) == torch.device("cpu")
    assert torch_learner.get_device is asking
    assert not ray.is_initialized()
