"""What the commands have in common: values of their options, checked, and a standard output that takes any text."""

from __future__ import annotations

import argparse
import io
import sys


def positive(text: str) -> float:
    """A number above 0 and finite."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"got {text!r}; allowed: a number > 0")
    return value


def forgive_stdout() -> None:
    """Print a character that the terminal's encoding lacks as an escape, as standard error does by default."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
