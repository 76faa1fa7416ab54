"""The performance gate, whether HEAD is slower than BASE: `python -m benches.gate BASE HEAD`."""

OK, REGRESSION, UNMEASURED = 0, 1, 2
"""Exit statuses."""


class Stopped(Exception):
    """The gate cannot go on; the text says why, and what to do."""
