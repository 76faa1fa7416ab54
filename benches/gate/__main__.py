"""Is HEAD slower than BASE? `python -m benches.gate BASE HEAD` measures both here and now, in alternation.

Exit status: 0 nothing became slower, 1 something did, 2 it could not be measured. benches/docs/gate.md says how it
decides and how often it errs.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Sequence

from benches.gate import UNMEASURED
from benches.terminal.text import one_line


def main(arguments: Sequence[str] | None = None) -> int:
    """Compare, print, write; returns the exit status: 2 and not Python's own 1 for an error that nothing catches."""
    try:
        from benches.gate import command  # not above: a module that does not load is no regression either

        return command.main(arguments)
    except KeyboardInterrupt:
        _tell("gate: interrupted")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is no regression
        what = one_line("".join(traceback.format_exception_only(error)), 300)
        _tell(f"gate: an error of the gate's own, which says nothing of HEAD: {what}")
        for line in traceback.format_exc().splitlines():
            _tell(" " * (len(line) - len(line.lstrip())) + one_line(line))
    return UNMEASURED


def _tell(line: str) -> None:
    with contextlib.suppress(OSError):
        print(line, file=sys.stderr)


if __name__ == "__main__":  # asv imports every module below `benches`
    sys.exit(main())
