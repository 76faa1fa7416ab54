"""What changed over the commits, drifts too, in the terminal and the site: `python -m benches.history.findings`.

The results of asv and the gate's ratios, chained from run to run where one's base is the last one's head, are exported
as series and go through Apache Otava (`detect`).
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benches.history import detect
from benches.terminal.text import markdown as escaped

OTAVA = Path(".venv-otava", "bin", "python")
LINK = '<li><a href="findings.html">Findings</a></li>'
"""Where the site's menu leads to the findings."""


class NotSearched(RuntimeError):
    """The series could not be searched; the text says why, and what to do."""


class Value(NamedTuple):
    """A measurement of a series at a commit."""

    series: str
    commit: str
    when: float
    value: float


@dataclass(frozen=True)
class Finding:
    """A lasting change of a series: the first commit that shows it, and the means before and after."""

    series: str
    commit: str
    before: float
    after: float

    def __str__(self) -> str:
        change = self.after / self.before - 1 if self.before else math.inf
        return f"{self.series}: {change:+.1%} from {self.commit[:9]} on ({self.before:.4g} -> {self.after:.4g})"


def of_asv(folder: Path) -> Iterator[Value]:
    """Every number that asv keeps in its folder of results; another version of a benchmark is another series."""
    from asv.results import iter_results

    for result in iter_results(str(folder)) if folder.is_dir() else ():
        for name in result.get_all_result_keys():
            params = result.get_result_params(name)
            version = result.benchmark_version.get(name, "")
            values = result.get_result_value(name, params) or []
            for combination, value in zip(itertools.product(*params), values, strict=False):
                if value is not None and math.isfinite(value):
                    series = " ".join([result.params["machine"], name, *combination, f"[{version}]"])
                    yield Value(series, result.commit_hash, float(result.date), float(value))


def of_gate(file: Path) -> Iterator[Value]:
    """The gate's ratios, multiplied along runs of which each begins where the last one ended; 1 at the first base."""
    if not file.is_file():
        return
    level: dict[str, float] = {}
    chain = last = ""
    for number, line in enumerate(file.read_text(encoding="utf-8").splitlines()):
        run = json.loads(line)
        if run["base"] != last:
            chain, level = run["base"][:9], {}
        for cell, ratio in run["ratios"].items():
            name = f"gate {cell} [since {chain}]"
            if cell not in level:
                level[cell] = 1.0
                yield Value(name, run["base"], number - 0.5, 1.0)
            level[cell] *= ratio
            yield Value(name, run["head"], float(number), level[cell])
        last = run["head"]


def searched(values: Iterable[Value], python: Path = OTAVA) -> list[Finding]:
    """The changes that Otava finds in each series, in the order of the commits.

    Raises NotSearched without an environment that has Otava, or where it fails.
    """
    series: dict[str, list[Value]] = {}
    for value in sorted(values, key=lambda value: value.when):
        series.setdefault(value.series, []).append(value)
    if not python.is_file():
        raise NotSearched(f"{python}: there is no Otava; allowed: `make history`, which makes its environment")
    with tempfile.TemporaryDirectory(prefix="history-") as scratch:
        exported, found = Path(scratch, "series.json"), Path(scratch, "found.json")
        numbers = {name: [each.value for each in members] for name, members in series.items()}
        exported.write_text(json.dumps(numbers), encoding="utf-8")
        command = [str(python), "-P", str(Path(detect.__file__)), str(exported), str(found)]
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
        if done.returncode:
            raise NotSearched(f"Otava failed: {(done.stderr.strip().splitlines() or ['no reason told'])[-1]}")
        told: dict[str, list[Any]] = json.loads(found.read_text(encoding="utf-8"))
    return [
        Finding(name, series[name][index].commit, before, after)
        for name, changes in told.items()
        for index, before, after in changes
    ]


def publish(findings: Sequence[Finding], folder: Path) -> None:
    """A page of the findings beside the site that asv wrote, and an entry in its menu."""
    index = folder / "index.html"
    if not index.is_file():
        return
    lines = "".join(f"<li>{escaped(str(finding))}</li>\n" for finding in findings) or "<li>no lasting change</li>\n"
    head = '<!doctype html><meta charset="utf-8"><title>Findings</title><h1>Lasting changes</h1>'
    (folder / "findings.html").write_text(f"{head}\n<ul>\n{lines}</ul>\n", encoding="utf-8")
    page = index.read_text(encoding="utf-8").replace(LINK, "")
    index.write_text(re.sub(r'(<li id="nav-li-regressions">.*?</li>)', rf"\1{LINK}", page), encoding="utf-8")


def main(arguments: Sequence[str] | None = None) -> int:
    """Print and publish the findings; 1 where the series could not be searched."""
    parser = argparse.ArgumentParser(
        prog="python -m benches.history.findings", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--asv", type=Path, default=Path(".asv"), help="asv's folder, with results and site (.asv)")
    parser.add_argument("--gate", type=Path, default=Path("results", "gate", "history.jsonl"), help="runs of the gate")
    options = parser.parse_args(arguments)
    values = [*of_asv(options.asv / "results"), *of_gate(options.gate)]
    try:
        findings = searched(values)
    except NotSearched as error:
        print(f"history: {error}", file=sys.stderr)
        return 1
    commits, series = (len({getattr(value, name) for value in values}) for name in ("commit", "series"))
    print(f"{len(findings)} lasting changes in {series} series over {commits} commits")
    for finding in findings:
        print(f"  {finding}")
    publish(findings, options.asv / "html")
    return 0


if __name__ == "__main__":  # asv imports every module below `benches`
    sys.exit(main())
