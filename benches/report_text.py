"""The report in a terminal: one row per cell, and how the exponents were made."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from rich.table import Table
from rich.text import Text

from benches import show
from benches.report_series import INTERVALS, Series


def exponent(curve: Series) -> Text:
    """`0.98 [0.95, 1.01]`, marked when its interval lies above the case's budget; a dash when undetermined."""
    law = curve.law
    if math.isnan(law.exponent):
        return Text("-", style="dim")
    interval = "" if math.isnan(law.low) else f" [{law.low:.2f}, {law.high:.2f}]"
    over = law.low > curve.budget
    return Text(f"{law.exponent:.2f}{interval}{f' > {curve.budget:g}' if over else ''}", style="red" if over else "")


def table(curves: Sequence[Series]) -> Table:
    """One row per cell, sizes ascending; the exponent stands in the first row of its curve."""
    shown = Table(show_edge=False, pad_edge=False, header_style="bold")
    shown.add_column("case", no_wrap=True)
    for heading in ("size", "median", "min", "rate"):
        shown.add_column(heading, justify="right", no_wrap=True)
    shown.add_column("exponent", no_wrap=True)
    shown.add_column("also", no_wrap=True)
    for curve in curves:
        parts = curve.name.split()
        for row, size in enumerate(sorted(curve.records)):
            last = row == len(curve.records) - 1
            rates, also = curve.rates(size), show.compared(curve.ratios(size))
            if "env_steps" in rates:
                also = f"{show.number(rates['env_steps'])} env-steps/s"
            shown.add_row(
                " ".join(parts[row:] if last else parts[row : row + 1]),
                f"{show.count(size)} {curve.unit}",
                show.seconds(curve.median(size)),
                show.seconds(curve.best(size)),
                next((f"{show.number(rate)} {name.replace('_', '-')}/s" for name, rate in rates.items()), "-"),
                exponent(curve) if row == 0 else "",
                also,
                end_section=last,
            )
    return shown


def notes(curves: Sequence[Series]) -> Iterator[str]:
    """How the exponents were made, and why some are missing."""
    for basis in sorted({curve.law.basis for curve in curves if curve.law.basis != "none"}):
        yield f"exponent k of t(N) = floor + c N^k on CPU time (training: wall time), {INTERVALS[basis]}"
    without: dict[str, dict[str, list[str]]] = {}
    for curve in curves:
        if curve.law.reason:
            without.setdefault(curve.law.reason, {}).setdefault(curve.case, []).append(curve.name)
        elif not math.isnan(curve.law.knee):
            yield f"{curve.name}: growth becomes super-linear at about {curve.law.knee:.3g} {curve.unit}"
    for reason, cases in without.items():
        told = (names[0] if len(names) == 1 else f"{len(names)} of {case}" for case, names in cases.items())
        yield f"no exponent for {', '.join(told)}: {reason}"
