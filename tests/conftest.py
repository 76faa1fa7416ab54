"""Hypothesis profiles: `ci` (repeatable, the default) and `nightly`, by HYPOTHESIS_PROFILE; no files in the tree."""

from __future__ import annotations

import os
import signal
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.configuration import set_hypothesis_home_dir

from market.clearing import books

# Under nohup SIGINT is ignored, and so it would be in every process that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
# A pytest that a test starts is no worker of pytest-xdist, which would time nothing.
os.environ.pop("PYTEST_XDIST_WORKER", None)

set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "market-hypothesis")
_COMMON = {"database": None, "deadline": None, "suppress_health_check": [HealthCheck.too_slow]}  # two shared cores

settings.register_profile("ci", max_examples=30, derandomize=True, **_COMMON)
settings.register_profile("nightly", max_examples=2000, **_COMMON)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(params=[books.SCREENED, 0], ids=["sorted", "screened"], scope="module")
def screening(request):
    """Only large markets by themselves are screened before they are sorted; here all are, the second time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(books, "SCREENED", request.param)
        yield
