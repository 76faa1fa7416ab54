"""A document as one self-contained page: drawings within, nothing to load, light or dark as the reader likes."""

from __future__ import annotations

import html
import math
import re
from collections.abc import Iterator
from pathlib import Path

from benches.report.document import Document, Section, Table, Value
from benches.report.page.assets import CSS, SCRIPT

OPEN = 1
"""So many tables of a section are open at first."""


def page(document: Document, folder: Path) -> str:
    """The page; the SVG files of its figures are read from `folder`."""
    return "\n".join(_page(document, folder)) + "\n"


def _page(document: Document, folder: Path) -> Iterator[str]:
    title = html.escape(document.title)
    yield '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">'
    yield '<meta name="viewport" content="width=device-width, initial-scale=1">'
    yield '<link rel="icon" href="data:,">'
    yield f"<title>{title}</title>\n<style>{CSS}</style>\n</head>\n<body>\n<header>\n<h1>{title}</h1>"
    links = [f'<a href="#{_anchor(section.title)}">{html.escape(section.title)}</a>' for section in document.sections]
    yield f"<nav>{''.join(links)}</nav>\n</header>\n<main>"
    yield '<ul class="findings">'
    yield from (f"<li>{html.escape(finding)}</li>" for finding in document.findings)
    yield "</ul>\n<dl>"
    yield from (f"<dt>{html.escape(name)}</dt><dd>{html.escape(fact)}</dd>" for name, fact in document.facts)
    yield "</dl>"
    for section in document.sections:
        yield from _section(section, folder)
    yield f"</main>\n<script>{SCRIPT}</script>\n</body>\n</html>"


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


def _cell(cell: Value | str) -> str:
    if isinstance(cell, str):
        return f'<td class="text">{html.escape(cell)}</td>'
    order = cell.order
    if isinstance(order, float) and math.isinf(order):
        order = "1e300" if order > 0 else "-1e300"
    marked = ' class="marked"' if cell.marked else ""
    return f'<td{marked} data-order="{html.escape(str(order), quote=True)}">{html.escape(cell.text)}</td>'


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
