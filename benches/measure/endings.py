"""How a measurement ended: well, as not built yet, or with a failure told on one line, in whatever process it was."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from pathlib import Path

from benches.case import Unsupported
from benches.measure.records import Status
from benches.terminal import text


class Failed(Exception):
    """What went wrong in another process, as one line."""


def one_line(error: BaseException) -> str:
    """`ValueError: what it says (file.py:12)`; what another process told, as it is."""
    if isinstance(error, Failed):
        return str(error)
    last = traceback.extract_tb(error.__traceback__)[-1:]
    where = f" ({Path(last[0].filename).name}:{last[0].lineno})" if last else ""
    return text.named(error) + where


def ending(measured: Callable[[], object]) -> tuple[Status, str | None]:
    """How a measurement ended, and why: whatever a cell raises is its record."""
    try:
        measured()
    except Unsupported as reason:
        return "unsupported", str(reason)
    except Exception as error:  # noqa: BLE001
        return "failed", one_line(error)
    return "ok", None


def fail(status: Status, error: str | None) -> None:
    """Raise Unsupported or Failed where a measurement elsewhere ended so."""
    if status != "ok":
        raise (Unsupported if status == "unsupported" else Failed)(error)
