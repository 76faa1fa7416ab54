"""The report says what was put into the records, in every format, and its page stands alone."""

from __future__ import annotations

import csv
import dataclasses
import json
import math
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import numpy as np
import pytest

from benches.measure.records import plain
from benches.measure.runs import Run
from benches.report import command as report
from benches.report.sections import limits
from study_records import ALGORITHMS, EPISODES, ITERATIONS, MODES, POPULATIONS, record, study

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
NETWORK = re.compile(r"""(?:src|href|xlink:href)\s*=\s*["'](?!#|data:)[^"']+|@import|url\((?!#|["']?data:)""")


def run_of(folder, records):
    """A run's folder that holds these records."""
    run = Run.create(folder)
    lines = [json.dumps(plain(dataclasses.asdict(each)), allow_nan=False) + "\n" for each in records]
    run.file.write_text("".join(lines))
    return run


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A whole study, a failed cell and a cut line, reported once."""
    failed = {"mode": "ctce", "algorithm": "ppo", "iterations": ITERATIONS, "agents": 7}
    records = [*study(), record("train/whole", failed, status="failed", error="RuntimeError: <boom> | bang")]
    run = run_of(tmp_path_factory.mktemp("results"), records)
    with run.file.open("a") as file:
        file.write('{"schema":1,"key":"cut sho')
    assert report.main([str(run.folder)]) == 1, "a failed cell must show in the exit status"
    return run.folder


class Page(HTMLParser):
    """What a page holds: columns and rows of each table, drawings, items of the findings."""

    def __init__(self, text):
        super().__init__()
        self.tables, self.drawings, self.findings, self.open = [], 0, [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append(0)
        elif tag in ("td", "th"):
            self.tables[-1][-1] += 1
        elif tag == "svg":
            self.drawings += 1
            assert dict(attributes)["aria-label"]

    def handle_endtag(self, tag):
        while self.open and self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if self.open and self.open[-1] == "li":
            self.findings.append(data)


def test_the_page_stands_alone_and_is_well_formed(written):
    text = (written / "report.html").read_text()
    assert not NETWORK.findall(text)
    page = Page(text)
    assert page.drawings == 6
    assert len(page.tables) > 15
    for table in page.tables:
        assert len(set(table)) == 1, "every row has as many cells as there are headings"
        assert len(table) > 1
    assert "prefers-color-scheme: dark" in text
    assert "var(--ink)" in text
    assert "&lt;boom&gt; | bang" in text, "an error's text is text"
    assert "damaged or cut short" in text
    assert not re.search(r">\s*(nan|None|inf)\s*<", text)


def test_findings_say_what_was_put_in(written):
    findings = " ".join(Page((written / "report.html").read_text()).findings)
    summary = (written / "summary.md").read_text()
    for text in (findings, summary.replace("\n- ", " ")):
        assert re.search(r"grows sub-linearly as N\^k for CTCE PPO \(k = 0.80 \[0.\d\d, 0.\d\d\]\), CTCE APPO", text)
        assert "grows super-linearly as N^k for DTDE PPO" in text
        assert "APPO is the fastest algorithm at every population: PPO takes 1.2 to 1.3 times" in text
        assert "at N = 1 it is" in text
        assert "at N = 100 it is forward in 9 of 9" in text
        assert "Self consumption rises for all 9 trainings as the population grows" in text
        assert "At 100 agents the best is" in text
        assert "All seeds reach the position of own battery in 54 of 54 cells" in text
        assert "truthful 0.40" in text
        assert "mpc perfect 0.93" in text
    assert "\\| bang" in summary, "a bar would end a cell of the table"


def test_the_flat_tables_have_the_studys_columns_first_and_agree(written):
    from pyarrow import parquet

    with (written / "scalability_results.csv").open() as file:
        rows = list(csv.DictReader(file))
    columns = ["num_agents", "training_mode", "algorithm", "training_time", "time_per_agent", "time_per_episode"]
    assert list(rows[0])[: len(columns)] == columns
    table = parquet.read_table(written / "scalability_results.parquet")
    assert table.column_names == list(rows[0])
    assert table.num_rows == len(rows) == 8 * 6 + 54 + 1
    (row,) = [r for r in rows if (r["training_mode"], r["algorithm"], r["num_agents"]) == ("dtde", "sac", "100")]
    total = float(row["training_time"])
    assert float(row["time_per_agent"]) == pytest.approx(total / 100)
    assert float(row["time_per_episode"]) == pytest.approx(total / ITERATIONS / EPISODES)
    assert float(row["kpi_cost_saving"]) == pytest.approx(50, abs=0.1)
    assert float(row["forward_seconds"]) + float(row["policy_seconds"]) + float(row["clearing_seconds"]) == (
        pytest.approx(total)
    )
    assert (row["cpu"], row["commit"], row["seed"], row["isolated"]) == ("toy", "abc" * 5, "42", "True")
    assert {r["status"] for r in rows} == {"ok", "failed"}


def test_two_runs_are_compared_and_more_are_pooled(tmp_path, capsys):
    few = {"populations": (1, 5, 10, 20), "algorithms": ["ppo"]}
    first, second = run_of(tmp_path, study(**few)), run_of(tmp_path, study(**few))
    lines = [json.loads(line) for line in second.file.read_text().splitlines()]
    for line in lines:
        if line["params"].get("mode") == "ctde":
            line["facts"]["iteration_seconds"] = [1.5 * s for s in line["facts"]["iteration_seconds"]]
    second.file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert report.main([str(first.folder), str(second.folder)]) == 0
    output = capsys.readouterr().out
    assert "44 cells are in both runs: 32 one value each, 8 no difference, 4 slower." in output
    folder = second.folder / f"against-{first.folder.name}"
    assert "1.50 [" in (folder / "summary.md").read_text()
    assert not NETWORK.findall((folder / "report.html").read_text())


def test_runs_with_nothing_in_common_are_not_compared(tmp_path, capsys):
    runs = [run_of(tmp_path, [record("toy/add", {"agents": agents})]) for agents in (1, 2)]
    with runs[1].file.open("a") as file:
        file.write("[]\n")
    assert report.main([str(run.folder) for run in runs]) == 0
    output = capsys.readouterr().out
    assert "have no finished cell in common: nothing to compare" in output
    assert "warning: " in output


def test_options_reach_what_is_written(tmp_path, capsys, monkeypatch):
    runs = [run_of(tmp_path, [record("toy/add", {"agents": 1})]) for _ in range(2)]
    got = []
    monkeypatch.setattr(report.report_write, "write", lambda *given: got.append(given) or [])
    folders = [str(run.folder) for run in runs]
    assert report.main(["--pool", *folders, "--budget-seconds=60", "--budget-gib=0.5"]) == 0
    ((folder, _, records, (curve,), budgets),) = got
    assert folder == runs[0].folder
    assert len(records) == 2
    assert len(curve.records[1.0]) == 2, "pooled runs are repetitions of the same cells"
    assert budgets == limits.Budgets(seconds=60.0, gib=0.5)
    assert report.main(["--pool", folders[0], folders[0]]) == 2
    assert "twice; allowed: each run once" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        report.main([folders[0], "--budget-seconds=-1"])
    assert "got '-1'; allowed: a number > 0" in capsys.readouterr().err


def test_a_run_without_trainings_has_a_report_too(tmp_path):
    records = [record("toy/add", {"agents": n}, seconds=[0.1 * n] * 3) for n in (1, 2, 4, 8)]
    run = run_of(tmp_path, records)
    assert report.main([str(run.folder)]) == 0
    assert Page((run.folder / "report.html").read_text()).drawings == 1


def browser(folder, *arguments):
    """Output of a headless Chromium that may reach nothing."""
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    more = "--disable-component-update --disable-sync --hide-scrollbars --enable-logging=stderr --window-size=1200,4000"
    command = [CHROMIUM, *flags.split(), *more.split(), f"--user-data-dir={folder / 'profile'}", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, timeout=90, check=True, env={**os.environ, "HOME": str(folder)}
    )


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on this machine; the page's structure is tested without")
class TestInABrowser:
    @pytest.mark.parametrize(("scheme", "number", "paper"), [("dark", 0, (20, 23, 26)), ("light", 1, (255, 255, 255))])
    def test_the_page_is_drawn_in_light_and_dark_without_an_error(self, written, tmp_path, scheme, number, paper):
        from matplotlib.image import imread

        shot = tmp_path / f"{scheme}.png"
        scheme_flag = f"--blink-settings=preferredColorScheme={number}"
        done = browser(tmp_path, scheme_flag, f"--screenshot={shot}", f"file://{written / 'report.html'}")
        assert "CONSOLE" not in done.stderr
        pixels = np.rint(imread(shot)[..., :3] * 255).astype(int)
        assert pixels[5, 5].tolist() == list(paper)
        other = (np.abs(pixels - np.array(paper)).sum(-1) > 60).mean(1)
        assert (other > 0).mean() > 0.5, "most lines of the page show something"
        colours = {tuple(c) for c in pixels[::3, ::3].reshape(-1, 3)}
        assert {(59, 130, 196), (221, 115, 39), (43, 158, 120)} <= colours, "the curves of the three modes are there"

    def test_a_click_sorts_a_table_by_number_and_back(self, written, tmp_path):
        text = (written / "report.html").read_text()
        act = """<script>
          const table = [...document.querySelectorAll("details")].find(d => d.textContent.startsWith("Every cell"));
          const head = table.querySelectorAll("th button")[3], told = [];
          for (let i = 0; i < 2; i++) { head.click();
            told.push([...table.querySelectorAll("tbody tr")].map(r => Number(r.cells[3].dataset.order))); }
          document.body.textContent = "SORTED" + JSON.stringify(told) + "END"; </script></body>"""
        (tmp_path / "clicked.html").write_text(text.replace("</body>", act))
        done = browser(tmp_path, "--dump-dom", f"file://{tmp_path / 'clicked.html'}")
        up, down = json.loads(re.search("SORTED(.*)END", done.stdout)[1])
        assert up == sorted(up)
        assert down == up[::-1]
        assert len(up) == len(MODES) * len(ALGORITHMS) * len(POPULATIONS)
        assert not math.isclose(up[0], up[-1])
