"""How good the gate is, on slowdowns that are known: `python -m benches.gate.quality`."""
