"""The report of a run, made from its records alone: `python -m benches.report`."""
