"""Text that is not ours (errors, names, options), made safe for wherever it is shown."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

LIMIT = 2000
"""Characters of a foreign text that are kept."""
_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control codes, line and paragraph separators, changes of direction, lone surrogates."""
_MARKDOWN = re.compile(r"([\\`*_\[\]|#~])")


def told(error: object) -> str:
    """`str(error)`; where that itself fails, what failed."""
    try:
        return str(error)
    except Exception as failed:  # noqa: BLE001 - whatever a foreign __str__ raises
        return f"<{type(error).__name__} whose text raises {type(failed).__name__}>"


def one_line(text: str, limit: int = LIMIT) -> str:
    r"""The text on one line that every terminal and encoding of Unicode takes, cut at `limit` characters.

    White space becomes single spaces; control codes and lone surrogates become escapes such as `\x1b`.
    """
    room = 20 * limit  # more cannot matter, and 10 MB of it would take seconds
    kept = " ".join(text[:room].split())
    kept = _UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), kept)
    return kept if len(kept) <= limit and len(text) <= room else f"{kept[:limit]} ... ({len(text):,} characters)"


def named(error: BaseException) -> str:
    """`ValueError: what it says`, on one line."""
    return f"{type(error).__name__}: {one_line(told(error))}"


def markdown(text: str) -> str:
    """The text on one line, with nothing in it that Markdown or HTML within it would take for markup."""
    return _MARKDOWN.sub(r"\\\1", html.escape(one_line(text), quote=False))


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown of cells that are safe in it; nothing without rows."""
    lines = ("| " + " | ".join(row) + " |" for row in (heads, ("---",) * len(heads), *rows))
    return "\n".join(lines) if rows else ""


def csv_cell(value: object) -> object:
    """A value for a CSV file that a spreadsheet takes for text and never for a formula."""
    if not isinstance(value, str):
        return value
    text = one_line(value)
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text
