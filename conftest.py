"""Where each pytest of this checkout begins: one thread for each numeric library, then the plugin of the benchmarks.

pytest finds this file from every path below it. `-p` would import the plugin before `pythonpath` holds, and `benches`
is not installed.
"""

from benches.measure import threads

threads.pin()  # before anything imports numpy

pytest_plugins = ["benches.suite.plugin"]  # options of the benchmarks; without --benchmark-only each runs once, untimed
