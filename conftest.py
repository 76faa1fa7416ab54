"""Loads the benchmarks' options and recorder into pytest, whether or not the package is installed."""

pytest_plugins = ["benches.plugin"]
