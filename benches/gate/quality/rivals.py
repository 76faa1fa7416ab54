"""The usual ways to find a slowdown, as their users run them, on the probes of `benches.gate.quality.probes`."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

from benches.gate.quality.probes import probes
from benches.measure import machine

Row = dict[str, Any]
TEST = """
import itertools, os
import pytest
from benches.gate.quality.probes import probes

TABLE = probes(slow=os.environ["PROBE_SIDE"] == "head", equal=2)

@pytest.mark.parametrize("name", list(TABLE))
def test_probe(benchmark, name):
    case, turns = TABLE[name], itertools.count()
    prepared = case.setup({})
    benchmark(lambda: case.call(prepared, next(turns)))
"""
BENCHMARK = f"""
import itertools, pathlib, sys
sys.path += [{str(machine.ROOT)!r}, {sysconfig.get_paths()["purelib"]!r}]
from benches.gate.quality.probes import probes

TABLE = probes(slow=pathlib.Path(sys.prefix, "side").read_text().strip() == "head", equal=2)

class Probe:
    params = list(TABLE)
    param_names = ["name"]
    def setup(self, name):
        self.case, self.turns = TABLE[name], itertools.count()
        self.prepared = self.case.setup({{}})
        self.case.call(self.prepared, next(self.turns))
    def time_probe(self, name):
        self.case.call(self.prepared, next(self.turns))
"""
INSTALL = "import shutil, sys\nshutil.copy(sys.argv[1] + '/side', sys.prefix + '/side')\n"
ASV = {
    "version": 1,
    "project": "probe",
    "repo": ".",
    "branches": ["main"],
    "benchmark_dir": "benchmarks",
    "results_dir": "results",
    "environment_type": "virtualenv",
    "build_command": [],
    "install_command": ["in-dir={env_dir} python {build_dir}/install.py {build_dir}"],
    "uninstall_command": [],
}


class NothingCompared(RuntimeError):
    """A tool ended without a comparison."""


def _rows(flagged: set[str]) -> list[Row]:
    return [{"name": name, "flagged": name in flagged} for name in probes(slow=False, equal=2)]


def pytest_benchmark(scratch: Path) -> list[Row]:
    """Two sessions one after the other, the second with `--benchmark-compare-fail=mean:10%`."""
    (scratch / "test_probe.py").write_text(TEST, encoding="utf-8")
    (scratch / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_probe.py"]
    for side, more in (
        ("base", ["--benchmark-save=base"]),
        ("head", ["--benchmark-compare=0001", "--benchmark-compare-fail=mean:10%"]),
    ):
        output = _run(scratch, *command, *more, allowed=(0, 1), PROBE_SIDE=side)
    flagged = set(re.findall(r"test_probe\[([^\]]+)\][^\n]* - Field 'mean' has failed", output))
    regressed, passed = "Performance has regressed" in output, f"{len(_rows(set()))} passed" in output
    if regressed != bool(flagged) or not (regressed or passed):
        raise NothingCompared(output[-2000:])
    return _rows(flagged)


def asv_continuous(scratch: Path) -> list[Row]:
    """`asv continuous -f 1.1` over two commits of a repository of its own."""
    (scratch / "asv.conf.json").write_text(json.dumps(ASV), encoding="utf-8")
    (scratch / "benchmarks").mkdir()
    (scratch / "benchmarks" / "__init__.py").touch()
    (scratch / "benchmarks" / "probe.py").write_text(BENCHMARK, encoding="utf-8")
    git = ["git", "-c", "user.name=probe", "-c", "user.email=probe@example.invalid"]
    (scratch / "install.py").write_text(INSTALL, encoding="utf-8")
    _run(scratch, "git", "init", "-q", "-b", "main")
    for side in ("base", "head"):
        (scratch / "side").write_text(side + "\n", encoding="utf-8")
        _run(scratch, "git", "add", ".")
        _run(scratch, *git, "commit", "-q", "-m", side)
    _run(scratch, sys.executable, "-m", "asv", "machine", "--yes")
    output = _run(scratch, sys.executable, "-m", "asv", "continuous", "-f", "1.1", "main~1", "main", allowed=(0, 1))
    results = [json.loads(file.read_text(encoding="utf-8")) for file in (scratch / "results").rglob("*-*.json")]
    seen = [value for one in results for value in one["results"]["probe.Probe.time_probe"][0] if value]
    if len(results) != 2 or len(seen) != 2 * len(probes(slow=False, equal=2)):
        raise NothingCompared(output[-2000:])
    return _rows(set(re.findall(r"^\| \+ .*time_probe\('([^']+)'\)", output, re.MULTILINE)))


def _run(folder: Path, *command: str, allowed: tuple[int, ...] = (0,), **variables: str) -> str:
    """What a command prints; `variables` are of its environment. Raises NothingCompared for another exit status."""
    environment = {**os.environ, "PYTHONPATH": str(machine.ROOT), "OMP_NUM_THREADS": "1", **variables}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, encoding="utf-8", check=False)
    if done.returncode not in allowed:
        raise NothingCompared(
            f"{' '.join(command)}: status {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-2000:]}"
        )
    return done.stdout + done.stderr
