"""How a cell is measured and recorded: stopwatch, counters, machine, processes, nodes, records."""
