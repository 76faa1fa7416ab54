"""A document as one self-contained page: drawings inside, nothing to load, light or dark as the reader prefers."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path
from string import Template

from benches.report.document import Cell, Document, Section, Table, value

HERE = Path(__file__).parent
OPEN = 1
"""Number of tables of a section that are open at first."""


def page(document: Document, folder: Path) -> str:
    """The page, from the template and its style and script beside this file. Its figures' SVG files are in `folder`."""
    template, css, script = (
        HERE.joinpath(f"page.{kind}").read_text(encoding="utf-8") for kind in ("html", "css", "js")
    )
    links = [f'<a href="#{_anchor(section.title)}">{html.escape(section.title)}</a>' for section in document.sections]
    facts = [f"<dt>{html.escape(name)}</dt><dd>{html.escape(fact)}</dd>" for name, fact in document.facts]
    return Template(template).substitute(
        title=html.escape(document.title),
        css=css,
        links="".join(links),
        findings="\n".join(_findings(document)),
        facts="\n".join(facts),
        sections="\n".join(line for section in document.sections for line in _section(section, folder)),
        script=script,
    )


def _findings(document: Document) -> Iterator[str]:
    for about, findings in document.findings.items():
        items = "\n".join(f"<li>{html.escape(finding)}</li>" for finding in findings)
        yield f'<h3>{html.escape(about)}</h3>\n<ul class="findings">\n{items}\n</ul>'


def _section(section: Section, folder: Path) -> Iterator[str]:
    yield f'<section id="{_anchor(section.title)}">\n<h2>{html.escape(section.title)}</h2>'
    yield from (f"<p>{html.escape(sentence)}</p>" for sentence in section.sentences)
    for figure in section.figures:
        drawing = _inline((folder / f"{figure.name}.svg").read_text(encoding="utf-8"), figure.caption)
        yield f"<figure>{drawing}<figcaption>{html.escape(figure.caption)}</figcaption></figure>"
    for number, table in enumerate(section.tables):
        yield from _table(table, opened=number < OPEN)
    yield "</section>"


def _table(table: Table, *, opened: bool) -> Iterator[str]:
    yield f"<details{' open' if opened else ''}><summary>{html.escape(table.caption)}</summary>"
    heads = "".join(f'<th scope="col"><button>{html.escape(column)}</button></th>' for column in table.columns)
    yield f'<div class="wide"><table><thead><tr>{heads}</tr></thead>\n<tbody>'
    yield from (f"<tr>{''.join(map(_cell, row))}</tr>" for row in table.rows)
    yield "</tbody></table></div>"
    if table.note:
        yield f'<p class="note">{html.escape(table.note)}</p>'
    yield "</details>"


def _cell(cell: Cell) -> str:
    if isinstance(cell, str):
        return f'<td class="text">{html.escape(cell)}</td>'
    shown = value(cell)
    order = min(max(shown.order, -1e300), 1e300)  # JavaScript reads no "inf"
    marked = ' class="marked"' if shown.marked else ""
    return f'<td{marked} data-order="{order}">{html.escape(shown.text)}</td>'


def _inline(svg: str, label: str) -> str:
    """The drawing as an element of a page: it takes the page's colours and width, and has a text alternative."""
    from benches.report.figures.style import GRID, INK, PAPER  # a page without figures needs no matplotlib

    body = svg[svg.index("<svg") :]
    for colour, name in ((INK, "--ink"), (GRID, "--grid"), (PAPER, "--paper")):
        body = body.replace(colour, f"var({name})")
    body = re.sub(r"<metadata>.*?</metadata>", "", body, flags=re.DOTALL)
    head, rest = body.split(">", 1)
    head = re.sub(r'\s(width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{html.escape(label, quote=True)}">{rest}'


def _anchor(title: str) -> str:
    return re.sub(r"\W+", "-", title.lower()).strip("-")
