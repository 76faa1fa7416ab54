"""What came of it: KPIs, the cooperative optimum, and policies that do not learn."""
