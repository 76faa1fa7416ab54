"""What the commands have in common: values of their options, checked, and a standard output that takes any text.

Each function raises ArgumentTypeError for a text that is not what it reads.
"""

from __future__ import annotations

import argparse
import io
import sys
from collections.abc import Iterable


def positive(text: str) -> float:
    """A number above 0 and finite."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"got {text!r}; allowed: a number > 0")
    return value


def count(text: str) -> int:
    """A whole number from 1 on."""
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"got {text!r}; allowed: a whole number >= 1")
    return int(text)


def counts(text: str, least: int = 1) -> tuple[int, ...]:
    """Whole numbers of at least `least`, with commas between them."""
    found = tuple(int(part) if part.strip().isdecimal() else least - 1 for part in text.split(","))
    if min(found) < least:
        raise argparse.ArgumentTypeError(f"got {text!r}; allowed: whole numbers >= {least}, with commas between")
    return tuple(dict.fromkeys(found))


def words(text: str) -> tuple[str, ...]:
    """Words with commas between them, one at least."""
    found = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not found:
        raise argparse.ArgumentTypeError(f"got {text!r}; allowed: values with commas between")
    return found


def name(known: Iterable[str], word: str, *, parts: bool = False) -> str:
    """A word that is among those known, in whatever case; `parts`: one that is part of some."""
    from market.support import check

    allowed = [str(each) for each in known]
    if any(word in each for each in allowed) if parts else word.lower() in allowed:
        return word if parts else word.lower()
    raise argparse.ArgumentTypeError(f"got {word!r}; allowed: {', '.join(allowed)}{check.nearest(word, allowed)}")


def names(known: Iterable[str], text: str, *, parts: bool = False) -> tuple[str, ...]:
    """Several of them, with commas between them."""
    return tuple(name(known, word, parts=parts) for word in words(text))


def forgive_stdout() -> None:
    """Print a character that the terminal's encoding lacks as an escape, as standard error does by default."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
