"""What the report says: times, limits, KPIs, findings, comparisons."""
