"""The performance gate, whether HEAD is slower than BASE: `python -m benches.gate BASE HEAD`."""
