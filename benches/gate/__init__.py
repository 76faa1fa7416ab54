"""The performance gate, whether HEAD is slower than BASE: `python -m benches.gate BASE HEAD`."""

OK, REGRESSION, UNMEASURED = 0, 1, 2
"""Exit statuses."""
