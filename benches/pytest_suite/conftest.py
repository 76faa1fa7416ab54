"""Options of the benchmarks, where pytest starts here; tests/conftest.py does the same for the tests."""

from __future__ import annotations

import sys

from benches.measure import threads

threads.pin()  # before anything imports numpy

PLUGIN = "benches.suite.plugin"
if PLUGIN not in sys.modules:  # `pytest .` finds both conftests, and takes no plugin from a second one
    pytest_plugins = [PLUGIN]
