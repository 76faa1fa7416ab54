"""Values on the command line of the tools, checked."""

from __future__ import annotations

import argparse


def positive(text: str) -> float:
    """A number above 0 and finite."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"got {text!r}; allowed: a number > 0")
    return value
