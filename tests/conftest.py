"""Where a pytest of the tests begins: one thread a library, options of the benchmarks, hypothesis without files.

Hypothesis profiles: `ci` (repeatable, the default) and `nightly`, by HYPOTHESIS_PROFILE.
"""

from __future__ import annotations

import os
import signal
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

from benches.measure import threads

threads.pin()  # before anything imports numpy

PLUGIN = "benches.suite.plugin"
if PLUGIN not in sys.modules:  # as in benches/pytest_suite/conftest.py
    pytest_plugins = [PLUGIN]

# Under nohup SIGINT is ignored, and so it would be in every process that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
# A pytest that a test starts is no worker of pytest-xdist, which would time nothing.
os.environ.pop("PYTEST_XDIST_WORKER", None)

set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "market-hypothesis")
_COMMON = {"database": None, "deadline": None, "suppress_health_check": [HealthCheck.too_slow]}  # two shared cores

settings.register_profile("ci", max_examples=30, derandomize=True, **_COMMON)
settings.register_profile("nightly", max_examples=2000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(params=[False, True], ids=["sorted", "screened"], scope="module")
def screening(request):
    """Only large markets by themselves are screened before they are sorted; here all are, the second time."""
    from market.clearing import books  # imports numpy

    with pytest.MonkeyPatch.context() as patch:
        if request.param:
            patch.setattr(books, "SCREENED", 0)
        yield
