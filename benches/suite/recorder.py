"""A timed run inside pytest: which cells are left, a record on disk as each ends, progress, and the report."""

from __future__ import annotations

import contextlib
import math
import signal
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from benches.case import Point
from benches.measure import machine, ray_nodes, runs
from benches.measure import records as results
from benches.measure.stopwatch import Measurement, tidy_memory
from benches.suite import lanes, options
from benches.terminal import show

SEEN = pytest.StashKey[Measurement]()
"""What a test measured."""
UNSUPPORTED = pytest.StashKey[str]()
"""Why a test's cell cannot be measured yet."""
LONGEST = 20_000
"""Characters of a failure that pytest is given to print."""


class Recorder:
    """One timed run: deselects what is no benchmark, skips what is finished, writes records, shows progress."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.results = Path(config.rootpath, config.getoption("results"))
        self.options = options.Options()
        self.earlier: options.Options | None = None
        self.run: runs.Run | None = None
        self.progress: show.Progress | None = None
        self.points: dict[str, Point] = {}
        self.place: ray_nodes.Nodes | lanes.Lanes | None = None
        """Where cells are measured."""
        self.left_out = 0
        """Cells that the time of the run did not suffice for."""
        self.incomplete = False
        """Whether cells or the report are missing at the end."""
        resume = config.getoption("resume")
        if resume is not None:
            try:
                self.run = runs.Run.find(self.results, resume)
                self.earlier = options.Options.saved(self.run.folder)
            except (OSError, ValueError, KeyError) as error:
                raise pytest.UsageError(f"--resume: {error}") from None

    @property
    def terminal(self) -> pytest.TerminalReporter:
        """Where pytest writes."""
        found = self.config.pluginmanager.get_plugin("terminalreporter")
        assert isinstance(found, pytest.TerminalReporter)
        return found

    @property
    def _onward(self) -> str:
        """The command that goes on with this run."""
        assert self.run is not None
        return f"pytest --benchmark-only --resume={self.run.folder}"

    def say(self, line: str) -> None:
        """One line on the terminal, below whatever pytest was writing."""
        capture: Any = self.config.pluginmanager.get_plugin("capturemanager")
        with capture.global_and_fixture_disabled() if capture else contextlib.nullcontext():
            self.terminal.ensure_newline()
            self.terminal.write_line(line)

    def measure(self, point: Point, seen: Measurement) -> None:
        """Measure a cell into `seen`: here, in another process, or on a node of the cluster."""
        assert self.place is not None
        self.place.measure(point, seen)

    def leave_out(self, item: str) -> None:
        """A cell had no time left: it is no failure, and has no record."""
        del self.points[item]
        self.left_out += 1

    @pytest.hookimpl(trylast=True)
    def pytest_collection_modifyitems(self, config: pytest.Config, items: list[pytest.Item]) -> None:
        """Keep the cells (and other benchmarks); mark those as skipped that the resumed run has finished."""
        if config.getoption("benchmark_only"):
            dropped = [item for item in items if not _is_cell(item)]
            config.hook.pytest_deselected(items=dropped)
            items[:] = [item for item in items if _is_cell(item)]
        finished = self.run.finished() if self.run else set()
        for item in items:
            point = point_of(item)
            if point is None:
                continue
            if point.key in finished:
                item.add_marker(pytest.mark.skip(reason="finished earlier in this run"))
            else:
                self.points[item.nodeid] = point
                if lanes.waits_for_others(point, self.options):
                    item.add_marker(pytest.mark.timeout(0))  # each process that it has a part in has that limit
        items.sort(key=lambda item: lanes.place(self.points.get(item.nodeid), self.options))
        self.points = {item.nodeid: self.points[item.nodeid] for item in items if item.nodeid in self.points}

    def pytest_collection_finish(self, session: pytest.Session) -> None:
        """Open the run's folder once it is known that something will run."""
        if self.config.option.collectonly:
            return
        if not self.points and self.options.cases and self.config.getoption("benchmark_only"):
            cases = ", ".join(self.options.cases)
            self.say(f"profile {self.options.profile} has no cells of {cases} that are left to run")
        if not (self.points or self.run):
            return
        # the cluster first: where there is none, there is no folder of a run either
        address = self.options.ray_address
        if address is not None and self.points:
            try:
                self.place = ray_nodes.Nodes(address, list(self.points.values()), self.options.profile, self._keep)
            except (ConnectionError, ValueError) as error:
                message = f"--ray-address: got {address!r}; allowed: a running cluster ({error})"
                raise pytest.UsageError(message) from None
            session.config.add_cleanup(self.place.close)
        durations = self._earlier_durations()
        earlier, self.run = self.run, None  # nothing is written to a run that is not ours
        try:
            run = earlier or runs.Run.create(self.results)
            run.claim()
            session.config.add_cleanup(run.release)
            if earlier is None:
                self.options.save(run.folder)
            if not run.point_latest():
                latest = run.folder.parent / runs.LATEST
                self.say(f"warning: {latest} is a folder, not a link; it is no name of this run")
        except BlockingIOError as error:
            raise pytest.UsageError(f"--resume: {error}") from None
        except OSError as error:
            raise pytest.UsageError(f"--results: cannot write to {self.results} ({error})") from None
        self.run = run
        records, problems = self.run.read()
        for problem in problems:
            self.say(f"warning: {problem}")
        for other in sorted({str(record.commit)[:7] for record in records if record.commit != machine.commit()}):
            self.say(f"warning: this run has records of commit {other}; the code is now at {str(machine.commit())[:7]}")
        left = [*self.points.values()]
        end = time.monotonic() + 3600 * (self.options.hours or math.inf)
        if self.place is None:
            limit = float(self.config.getoption("timeout", None) or self.config.getini("timeout") or math.inf)
            self.place = lanes.Lanes(left, records, self.options, self._keep, self.say, limit)
            session.config.add_cleanup(self.place.close)
        self.progress = show.Progress(left, durations, end)
        self.terminal.showfspath = False
        self._stop_at_signals()
        tidy_memory()
        how = f"profile {self.options.profile}{', in processes of their own' if self.options.isolate else ''}"
        self.say(f"{len(self.points)} cells to measure, {how}; records: {self.run.file}")

    def _keep(self, record: results.Record) -> None:
        """Put a record on disk, or end the run."""
        assert self.run is not None
        try:
            self._restore()
            self.run.append(record)
        except OSError as problem:
            pytest.exit(
                f"cannot write to {self.run.file} ({problem.strerror}); all that finished before is there: "
                f"free some space and go on with: {self._onward}",
                returncode=pytest.ExitCode.INTERRUPTED,
            )

    def _restore(self) -> None:
        """Write the run's files again where someone has removed them, and say so."""
        if self.run is not None and self.run.restore():
            self.options.save(self.run.folder)
            self.run.point_latest()
            self.say(f"warning: {self.run.file} was removed; it is there again, with all that it had")

    def _stop_at_signals(self) -> None:
        """Let SIGTERM, and a terminal that is closed, stop the run as Ctrl-C does; a second one ends it at once."""
        # under nohup SIGHUP is ignored, and stays so
        caught = [number for number in (signal.SIGTERM, signal.SIGHUP) if signal.getsignal(number) is signal.SIG_DFL]

        def let_go() -> None:
            for number in caught:
                signal.signal(number, signal.SIG_DFL)

        def stop(_number: int, _frame: object) -> None:
            let_go()
            raise KeyboardInterrupt

        for number in caught:
            signal.signal(number, stop)
        self.config.add_cleanup(let_go)

    def _earlier_durations(self) -> dict[str, float]:
        try:
            records, _ = runs.Run.find(self.results).read()
        except OSError:
            return {}
        return {record.key: record.elapsed for record in records if record.status == "ok"}

    def pytest_report_teststatus(self, report: pytest.TestReport) -> tuple[str, str, str] | None:
        """No dots: the progress lines say more."""
        if report.nodeid not in self.points and not report.skipped:
            return None
        failed_apart = report.failed and report.when != "call"
        quiet = report.when != "call" and not report.failed and not report.skipped
        return ("error" if failed_apart else "" if quiet else report.outcome, "", "")

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Record the cell as soon as its call is over, or its set-up has failed."""
        report = yield
        point = self.points.get(item.nodeid)
        over = report.when == "call" or (report.when == "setup" and report.failed)
        if point is None or self.run is None or not over:
            return report
        record = self.place.records.get(point.key) if self.place else None  # on disk since its cell ended
        if record is None:
            status, error = _ending(item, report, call)
            seen = item.stash.get(SEEN, None) or Measurement()
            record = results.record_of(point, seen, status=status, error=error, profile=self.options.profile)
            self._keep(record)
        if report.failed and len(report.longreprtext) > LONGEST:
            report.longrepr = record.error
        tidy_memory()
        if self.progress is not None:
            line = self.progress.finish(point, record.status, record.median, record.elapsed)
            self.say(show.rendered(line, color=self.terminal.hasmarkup))
        return report

    @pytest.hookimpl(wrapper=True, tryfirst=True)  # around the terminal's own hook, which calls the summary
    def pytest_sessionfinish(self, session: pytest.Session) -> Generator[None, None, None]:
        """A run that lacks cells, or its report, does not end with 0."""
        yield
        if self.incomplete and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """The report, from the records alone, whatever way the run ended."""
        if self.run is None or self.config.option.collectonly:
            return
        terminalreporter.section("scalability")
        try:
            self._restore()
            from benches.report import command as report  # scipy and matplotlib load only now

            folder = self.run.folder if self.config.getoption("report") == "yes" else None
            for line in report.lines([self.run], folder, color=terminalreporter.hasmarkup):
                terminalreporter.write_line(line)
        except Exception as error:  # noqa: BLE001 - whatever it is, the records are there
            terminalreporter.write_line(
                f"the report could not be written ({results.one_line(error)}); the records are whole, and once this "
                f"is fixed: python -m benches.report {self.run.folder}"
            )
            self.incomplete = True
        recorded = {record.key for record in self.run.read()[0]} if self.run.file.is_file() else set()
        if self.left_out:
            terminalreporter.write_line(f"{self.left_out} cells had no time left; go on with: {self._onward}")
        missing = {point.key for point in self.points.values()} - recorded
        if missing:
            terminalreporter.write_line(f"{len(missing)} cells are missing; go on with: {self._onward}")
            self.incomplete = True


def point_of(item: pytest.Item) -> Point | None:
    """The cell that a collected test measures, if it is one of the table's."""
    spec = getattr(item, "callspec", None)
    found = spec.params.get("point") if spec is not None else None
    return found if isinstance(found, Point) else None


def _is_cell(item: pytest.Item) -> bool:
    """Whether it is a benchmark, and not one that the table has no cells for."""
    names = getattr(item, "fixturenames", ())
    return "benchmark" in names and ("point" not in names or point_of(item) is not None)


def _ending(
    item: pytest.Item, report: pytest.TestReport, call: pytest.CallInfo[None]
) -> tuple[results.Status, str | None]:
    """How a cell ended; where it failed, what was raised and where, on one line."""
    reason = item.stash.get(UNSUPPORTED, None)
    if reason is not None:
        return "unsupported", reason
    if report.passed:
        return "ok", None
    return "failed", results.one_line(call.excinfo.value) if call.excinfo else "unknown error"
