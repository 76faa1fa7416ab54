"""Statistics of samples: scaling laws, intervals, forecasts, convergence."""
