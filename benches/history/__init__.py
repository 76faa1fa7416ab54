"""The history over commits: what asv measures, and its site."""
