"""asv's view: made from the table, nothing twice; and its site without a network."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import inspect
import io
import json
import math
import os
import pkgutil
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import asv
import pytest

import benches
from benches.cases import CASES
from benches.history import core as asv_core
from benches.history import site as asv_site
from benches.history import training as asv_training
from benches.history import view as asv_view
from benches.history.site import Package

ROOT = Path(__file__).resolve().parents[2]
_SPEC = importlib.util.spec_from_file_location("borrow", ROOT / ".ci" / "borrow.py")
borrow = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(borrow)


def classes(module):
    return {name: thing for name, thing in vars(module).items() if inspect.isclass(thing)}


def test_every_case_that_asv_measures_is_there_with_its_version_and_every_kind_of_benchmark():
    cases = [case for case in CASES.values() if case.group in asv_core.GROUPS]
    found = classes(asv_core) | classes(asv_training)
    assert len(found) == len(cases) + 1
    for case in [*cases, CASES["train/iteration"]]:
        view = found["".join(part.capitalize() for part in case.name.split("/"))]
        assert view.version == f"{case.name} {case.version}"
        assert case.size in view.param_names
        kinds = {name.split("_")[0] for name in vars(view) if "_" in name.strip("_")}
        assert kinds >= {"time", "track"}
        assert {f"track_{figure}" for figure in case.figures} <= set(vars(view))


def test_nothing_else_in_the_folder_looks_like_a_benchmark():
    """asv imports every module of the folder and takes whatever is called `time_...` for a benchmark."""
    found = [importlib.import_module(module.name) for module in pkgutil.walk_packages(benches.__path__, "benches.")]
    assert {asv_core, asv_training, asv_view} <= set(found)
    for module in found:
        loose = [name for name in vars(module) if re.match(r"(time|track|peakmem|mem|timeraw)_", name)]
        assert not loose, module


def test_asv_finds_no_fault_with_what_it_takes_for_benchmarks(tmp_path):
    command = [sys.executable, "-m", "asv", "check", "-E", f"existing:{sys.executable}"]
    environment = {**os.environ, "HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "No problems found" in done.stdout


@pytest.mark.slow  # every case, twice
@pytest.mark.parametrize("values", [(10,), (100,)])
def test_the_deterministic_figures_repeat(values):
    def measured():
        asv_view.rotation.cache_clear()
        view = asv_core.ClearOrders()
        view.setup(*values)
        return view.track_python_calls(*values), view.track_trades(*values)

    measured()  # whatever is imported and cached at the first use
    calls, trades = measured()
    assert (calls, trades) == measured()
    assert 5 < calls < 500
    assert values[0] / 4 < trades < 2 * values[0]


def test_a_commit_takes_minutes_because_few_cells_are_measured():
    found = (classes(asv_core) | classes(asv_training)).values()
    runs = sum(
        math.prod(len(values) for values in view.params)
        for view in found
        for name in vars(view)
        if name.startswith(("time_", "track_"))
    )
    assert runs <= 80


def test_the_configuration_names_what_is_there():
    found = json.loads((ROOT / "asv.conf.json").read_text())
    assert (ROOT / found["benchmark_dir"] / "history" / "core.py").is_file()
    assert found["matrix"]["env_nobuild"]["OMP_NUM_THREADS"] == ["1"], "numeric libraries all heed it"
    assert "--no-deps" in found["install_command"][0], "torch and ray are not installed a second time"
    assert ".ci/borrow.py {conf_dir}/.venv" in found["install_command"][1]
    assert not (ROOT / "benches" / "pytest_suite" / "__init__.py").exists(), "asv would import the tests"


def test_an_environment_borrows_what_another_one_has(tmp_path, monkeypatch):
    found, lent = (tmp_path / name / "lib" / "site-packages" for name in ("own", "other"))
    found.mkdir(parents=True)
    monkeypatch.setattr(borrow.sys, "prefix", str(tmp_path / "own"))
    monkeypatch.setattr(borrow.sysconfig, "get_path", lambda name: str(found))
    with pytest.raises(SystemExit, match=r"VENV: got .*other'; allowed: an environment of Python"):
        borrow.main(str(tmp_path / "other"))
    lent.mkdir(parents=True)
    borrow.main(str(tmp_path / "other"))
    assert (found / "borrowed.pth").read_text() == f"{lent}\n"


# --- the site


def archive(files):
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size = len(content)
            tar.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


PACKED = archive({"dist/a.js": b"a"})
PACKAGE = Package("a", "1.0", base64.b64encode(hashlib.sha512(PACKED).digest()).decode(), {"/a@1/a.js": "dist/a.js"})
PAGE = '<script src="https://cdn.invalid/a@1/a.js" integrity="sha256-x" crossorigin="anonymous"></script>'


@pytest.fixture
def site(tmp_path, monkeypatch):
    monkeypatch.setattr(asv_site, "PACKAGES", (PACKAGE,))
    (tmp_path / "index.html").write_text(PAGE)
    return tmp_path


def test_pages_use_the_files_beside_them(site):
    assert asv_site.make_local(site, lambda _: PACKED) == ["/a@1/a.js"]
    assert (site / "index.html").read_text() == '<script src="vendor/a-1.0-a.js" crossorigin="anonymous"></script>'
    assert (site / "vendor" / "a-1.0-a.js").read_bytes() == b"a"
    assert asv_site.make_local(site, lambda _: b"not asked for") == [], "a second time there is nothing to do"


def test_another_package_than_expected_is_refused(site):
    with pytest.raises(asv_site.NotFetched, match="got SHA-512"):
        asv_site.make_local(site, lambda _: b"something else")
    assert (site / "index.html").read_text() == PAGE


def test_an_address_that_no_package_covers_is_an_error(site):
    (site / "index.html").write_text(PAGE + '<script src="https://cdn.invalid/b.js"></script>')
    with pytest.raises(asv_site.NotFetched, match=r"still loaded from outside: https://cdn.invalid/b.js"):
        asv_site.make_local(site, lambda _: PACKED)


def test_no_site(tmp_path, capsys):
    assert asv_site.main([str(tmp_path)]) == 1
    assert "run that first" in capsys.readouterr().err


def test_the_pages_that_this_asv_writes_are_covered():
    page = (Path(asv.__file__).parent / "www" / "index.html").read_text()
    addresses = re.findall(r'<(?:script src|link rel="stylesheet" href)="(https:[^"]*)', page)
    assert len(addresses) == 10
    paths = [path for package in asv_site.PACKAGES for path in package.files]
    for address in addresses:
        assert any(path in address for path in paths), address
