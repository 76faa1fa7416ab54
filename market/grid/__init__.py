"""The distribution grid: topologies, lines, routes of trades, and power flow."""
