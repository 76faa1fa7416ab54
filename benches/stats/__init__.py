"""What samples tell: scaling laws, intervals, forecasts, convergence."""
