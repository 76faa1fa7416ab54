"""The goals of the project, measured and judged: `python -m benches.goals`."""
