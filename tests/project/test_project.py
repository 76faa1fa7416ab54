"""The project keeps its own rules: what an import costs, who may import whom, small files, pinned releases."""

from __future__ import annotations

import ast
import graphlib
import importlib
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

import market
from market.clearing.pricing import ClearingMechanism
from market.grid.topologies import GridTopology
from market.rl.hyperparameters import RLAlgorithm
from market.rl.modes import TrainingMode

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PINS_FILE = ROOT / ".ci" / "constraints.txt"
MODULES = sorted(p for p in [*ROOT.glob("market/**/*.py"), *ROOT.glob("benches/**/*.py")] if p.parent.name != "docs")
PACKAGES = [path for path in MODULES if path.name == "__init__.py"]
MAX_LINES = 300
MAX_MODULES = 12
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)

# The rooms of `market`, lowest first: a module imports from its own and those before it, and from no other.
LAYERS = (
    "support",
    "constants",
    "grid",
    "clearing",
    "community",
    "simulation",
    "evaluation",
    "records",
    "envs",
    "rl",
)

PUBLIC = (
    "Battery", "ClearingMechanism", "DERAgent", "DERProfileHandler", "DSOProfileHandler", "GridNetwork",
    "GridTopology", "Ledger", "MarketConfig", "Orders", "RLAlgorithm", "RLTrainer", "keep_freed_memory",
    "Scenario", "Trades", "TrainingMode", "clear",
)  # fmt: skip
FRAMEWORKS = ("torch", "ray", "gymnasium")
EXTRA_IMPORTS = {
    "market.envs.multi_agent": {"ray"},
    "market.envs.parallel": {"pettingzoo"},
    "benches.history.detect": {"otava"},  # run by the Python of another environment
}  # loaded on first use of what is in them
REPORTING = ("matplotlib", "rich", "pytest")

# Registry -> the enum whose every member it serves; None when its keys are plain names.
REGISTRIES = {
    "market.clearing.pricing:RULES": ClearingMechanism,
    "market.grid.topologies:TOPOLOGIES": GridTopology,
    "market.evaluation.kpis:KPIS": None,
    "market.evaluation.policies:POLICIES": None,
    "market.rl.algorithms.registry:ALGORITHMS": RLAlgorithm,
    "market.rl.hyperparameters:SETTINGS": RLAlgorithm,
    "benches.cases:CASES": None,
}


def module_name(path: Path) -> str:
    """`market.rl.modes` for market/rl/modes.py, `market.rl` for its __init__.py."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[str, str]]:
    """Modules that a file imports, and when: at its own import, at a call, or for types only."""
    tree = ast.parse(path.read_text())
    typing_only = {id(n) for block in ast.walk(tree) if is_for_types(block) for n in ast.walk(block)}
    in_function = {id(n) for block in ast.walk(tree) if isinstance(block, FUNCTIONS) for n in ast.walk(block)}
    for node in ast.walk(tree):
        when = "types" if id(node) in typing_only else "call" if id(node) in in_function else "import"
        if isinstance(node, ast.Import):
            yield from ((alias.name, when) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: relative import; write the whole name"
            assert node.module is not None
            yield node.module, when
            yield from ((f"{node.module}.{alias.name}", when) for alias in node.names)


def is_for_types(node: ast.AST) -> bool:
    """Whether this is a block that only the type checker reads."""
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")


def python(code: str) -> str:
    """Run `code` in a new process with every warning an error; its output."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def requirements(*groups: str) -> list[Requirement]:
    """What pyproject.toml asks for: the base, and the extras that are named."""
    extras = PROJECT["optional-dependencies"]
    return [Requirement(line) for line in (*PROJECT["dependencies"], *(r for group in groups for r in extras[group]))]


def pins() -> dict[str, Version]:
    """Canonical name -> release, from the constraints file."""
    lines = [line for line in PINS_FILE.read_text().splitlines() if line and not line.startswith("#")]
    return {canonicalize_name(name): Version(version) for name, version in (line.split("==") for line in lines)}


# --- what an import costs


def test_importing_market_loads_no_framework_and_is_quick() -> None:
    code = "import json, sys, time; t = time.process_time(); import market; t = time.process_time() - t; "
    seconds, loaded = json.loads(python(code + "print(json.dumps([t, list(sys.modules)]))"))
    assert not set(loaded) & {*FRAMEWORKS, *REPORTING, "benches"}
    assert seconds < 5  # CPU seconds; numpy, numba and scipy take 1 to 2 of them


def test_benches_import_without_frameworks() -> None:
    names = [module_name(p) for p in MODULES if p.is_relative_to(ROOT / "benches") and p.parent.name != "pytest_suite"]
    assert "benches.cases" in names
    blocked = f"import sys; sys.modules.update(dict.fromkeys({FRAMEWORKS})); "
    python(blocked + f"import importlib; [importlib.import_module(n) for n in {names}]")


# --- what users find


@pytest.mark.parametrize("name", PUBLIC)
def test_public_name(name: str) -> None:
    assert (name in market.__all__) != (name == "RLTrainer"), "what needs torch and ray is no part of `import *`"
    assert getattr(market, name) is not None


@pytest.mark.parametrize(
    ("use", "missing", "extra"),
    [
        ("import market; market.RLTrainer", "ray", "rl"),
        ("import market.rl; market.rl.ray_session", "ray", "rl"),
        ("import market.envs", "gymnasium", "envs"),
        ("import market.envs; market.envs.MarketParallelEnv", "pettingzoo", "pettingzoo"),
    ],
)
def test_what_is_not_installed_is_named_with_its_extra(use: str, missing: str, extra: str) -> None:
    blocked = f"import sys; sys.modules[{missing!r}] = None; from market import *\n"
    said = f"{missing} is not installed; pip install 'lem-scalability[{extra}]' brings it"
    python(
        blocked
        + f"try: {use}\nexcept ModuleNotFoundError as error: assert str(error) == {said!r}, error\nelse: assert 0"
    )


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="RLTrainr"):
        market.RLTrainr  # noqa: B018 - the access is the test


@pytest.mark.parametrize("place", REGISTRIES)
def test_every_registry_entry_has_a_function(place: str) -> None:
    module, name = place.split(":")
    registry = getattr(importlib.import_module(module), name)
    kind = REGISTRIES[place]
    assert registry
    assert kind is None or set(registry) == set(kind)
    for key, row in registry.items():
        parts = [row] if callable(row) else [getattr(row, field) for field in type(row).__annotations__]
        assert any(map(callable, parts)), f"{place}[{key!r}] holds no function"


def test_every_training_mode_has_its_fields() -> None:
    from market.rl.modes import MODES

    assert set(MODES) == set(TrainingMode)
    assert len(set(MODES.values())) == len(MODES)  # modes differ by fields, so no two may have the same ones


# --- who may import whom


@pytest.mark.parametrize("path", sorted(ROOT.glob("market/**/*.py")), ids=module_name)
def test_layers_import_downward_only(path: Path) -> None:
    own = module_name(path)
    if own == "market":  # shows the names of all layers; what it may load is tested above
        return
    layer = own.split(".")[1]
    assert layer in LAYERS, f"{own}: give it a place in LAYERS"
    for target, _ in imports(path):
        assert target != "market", f"{own}: import from the module that defines the name"
        if target.startswith("market."):
            other = target.split(".")[1]
            assert other == layer or other in LAYERS[: LAYERS.index(layer)], f"{own} imports {target}, a layer above it"
        assert target.split(".")[0] not in ("benches", "tests"), f"{own} imports {target}"


def test_no_import_cycles() -> None:
    names = {module_name(path): path for path in MODULES if path.name != "__init__.py"}
    graph = {name: {t for t, when in imports(path) if when != "call" and t in names} for name, path in names.items()}
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("package", PACKAGES, ids=module_name)
def test_what_stands_in_a_folder_forms_no_circle(package: Path) -> None:
    own, graph = module_name(package), dict[str, set[str]]()
    for path in package.parent.rglob("*.py"):
        if path != package:
            child, *targets = (
                name.removeprefix(f"{own}.").split(".")[0]
                for name in (module_name(path), *(t for t, _ in imports(path) if t.startswith(f"{own}.")))
            )
            graph.setdefault(child, set()).update(set(targets) - {child})
    graphlib.TopologicalSorter(graph).prepare()


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_only_what_its_extra_installs(path: Path) -> None:
    top, *rest = path.relative_to(ROOT).parts
    part = rest[0] if top == "market" else top
    extras = {"benches": ("rl", "bench"), "rl": ("rl",), "envs": ("envs",), "community": ("data",)}.get(part, ())
    allowed = {r.name.replace("-", "_") for r in requirements(*extras)} | {"market"}
    allowed |= {"benches"} if top == "benches" else set()
    allowed |= EXTRA_IMPORTS.get(module_name(path), set())
    for target, when in imports(path):
        package = target.split(".")[0]
        if package in sys.stdlib_module_names or when == "types":
            continue
        assert package in allowed, f"{module_name(path)} imports {package}; allowed: {', '.join(sorted(allowed))}"
        if top == "benches" and when == "import":
            assert package not in FRAMEWORKS, f"{module_name(path)}: import {package} inside the function that uses it"


# --- files and releases


@pytest.mark.parametrize("path", [*MODULES, *sorted(ROOT.glob("tests/**/*.py"))], ids=module_name)
def test_files_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= MAX_LINES


@pytest.mark.parametrize("top", ["market", "benches", "tests"])
def test_folders_stay_small(top: str) -> None:
    for folder in [ROOT / top, *(p for p in (ROOT / top).rglob("*") if p.is_dir())]:
        modules = [path.name for path in folder.glob("*.py") if not path.name.startswith("__")]
        assert len(modules) <= MAX_MODULES, f"{folder.relative_to(ROOT)}: {len(modules)} modules; make a room"


def test_pins_install_anywhere() -> None:
    lines = [line for line in PINS_FILE.read_text().splitlines() if not line.startswith("#")]
    wrong = [line for line in lines if not re.fullmatch(r"[\w.-]+==[\w.]+", line)]  # no address, path or build tag
    assert not wrong


def test_pins_satisfy_every_requirement() -> None:
    pinned = pins()
    for requirement in requirements(*PROJECT["optional-dependencies"]):
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier, str(requirement)


def test_ray_is_pinned_to_the_release_that_runs_here() -> None:
    ray = next(r for r in requirements("rl") if r.name == "ray")
    installed = importlib.metadata.version("ray")
    assert str(ray.specifier) == f"=={installed}"
    assert pins()["ray"] == Version(installed)


def test_every_target_of_the_makefile_is_explained() -> None:
    text = (ROOT / "Makefile").read_text()
    targets = set(re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)[1].split())
    assert targets >= {"bench", "test", "test-all", "lint", "study", "gate", "clean", "help"}
    assert set(re.findall(r"^([a-z-]+):.* ## \w", text, re.MULTILINE)) == targets


def test_ci_script_is_executable() -> None:
    assert (ROOT / ".ci" / "run").stat().st_mode & 0o111
