"""The pytest side of the benchmarks: options, which cells run, and how one is run.

Without --benchmark-only (or another timing option of pytest-benchmark) every benchmark runs once, untimed, at its
smallest size. With it, each finished or failed cell is on disk before the next one starts.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benches import cases
from benches.case import Point, Unsupported
from benches.measure.stopwatch import Measurement, execute
from benches.suite import adapter, options
from benches.suite.lanes import LeftOut
from benches.suite.recorder import SEEN, UNSUPPORTED, Recorder

SUITE = Path(__file__).resolve().parents[1] / "pytest_suite"
OPTIONS = pytest.StashKey[options.Options]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the options of the benchmarks."""
    options.add(parser)


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    """Check the options, and turn timing off unless it was asked for (before pytest-benchmark reads its options)."""
    config.addinivalue_line("markers", "cases(group, ...): which groups of the table of cases a benchmark shows")
    adapter.refuse_options(config)
    recorder = Recorder(config) if options.is_timed(config) else None
    config.stash[OPTIONS] = chosen = options.read(config, cases.CASES, recorder.earlier if recorder else None)
    if recorder is not None:
        recorder.options = chosen
        config.pluginmanager.register(recorder, "benches-recorder")
        if config.getoption("benchmark_only") and config.args_source is pytest.Config.ArgsSource.TESTPATHS:
            mine = [path for path in config.args if Path(config.rootpath, path).resolve() == SUITE]
            config.args[:] = mine or config.args  # the tests' modules need not be loaded to leave them out
        plain = not any(config.getoption(name, None) for name in options.TIMED_BY if name != "benchmark_only")
        if plain and not config.getoption("benchmark_verbose"):
            config.option.benchmark_quiet = True  # the report shows the table instead
    else:
        config.option.benchmark_disable = True


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Give a benchmark the cells of its groups."""
    marker = metafunc.definition.get_closest_marker("cases")
    if marker is None or "point" not in metafunc.fixturenames:
        return
    points = metafunc.config.stash[OPTIONS].points(cases.CASES, timed=options.is_timed(metafunc.config))
    mine = [point for point in points if point.case.group in marker.args]
    metafunc.parametrize("point", mine, ids=[point.label for point in mine])


@pytest.fixture
def point(request: pytest.FixtureRequest) -> Point:
    """The cell to measure: a case with its parameters."""
    raise pytest.UsageError(f"{request.node.nodeid}: mark the benchmark with @pytest.mark.cases(group, ...)")


@pytest.fixture
def measure(point: Point, benchmark: Any, request: pytest.FixtureRequest) -> Callable[[], None]:
    """Call it to run the cell: measured by our stopwatch, its rounds handed to pytest-benchmark; or once, untimed."""

    def run() -> None:
        seen = request.node.stash[SEEN] = Measurement()
        adapter.announce(benchmark, point)
        recorder: Any = request.config.pluginmanager.get_plugin("benches-recorder")
        try:
            if not benchmark.enabled:
                execute(point, seen)
                return
            recorder.measure(point, seen)
        except LeftOut as reason:
            recorder.leave_out(request.node.nodeid)
            pytest.skip(str(reason))
        except Unsupported as reason:
            request.node.stash[UNSUPPORTED] = str(reason)
            pytest.skip(str(reason))
        adapter.hand_over(benchmark, point, seen)

    return run
