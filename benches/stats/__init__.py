"""Statistics of samples: scaling laws and their coverage, intervals, forecasts, aggregates over seeds."""
