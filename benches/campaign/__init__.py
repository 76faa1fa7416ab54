"""Trains a table of cells, resumably, and shows how well and how steadily they learn: `python -m benches.campaign`."""
