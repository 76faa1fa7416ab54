"""Foreign text is shown as text: on one line, in any terminal, in Markdown and in a spreadsheet."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benches.terminal import text

ANY = st.text(st.characters(), max_size=60)


class Unspeakable(Exception):
    def __str__(self):
        raise ValueError("no words")


def test_an_error_without_a_text_is_told():
    assert text.told(Unspeakable()) == "<Unspeakable whose text raises ValueError>"
    assert text.told(ValueError("a\nb")) == "a\nb"
    assert text.named(ValueError("a\nb")) == "ValueError: a b"


@given(ANY)
def test_one_line_is_one_line_in_every_encoding_of_unicode(given_text):
    found = text.one_line(given_text)
    found.encode("utf-8")
    assert len(found.splitlines()) <= 1
    assert not re.search(r"[\x00-\x1f\x7f]", found)


@pytest.mark.parametrize(
    ("raw", "shown"),
    [("a\n  b\tc", "a b c"), ("\x1b[31mred", "\\x1b[31mred"), ("\ud800", "\\ud800"), ("Zoë ∞", "Zoë ∞")],
)
def test_codes_become_escapes(raw, shown):
    assert text.one_line(raw) == shown


def test_ten_megabytes_are_cut():
    found = text.one_line("word " * 2_000_000)
    assert len(found) < text.LIMIT + 60
    assert found.endswith("... (10,000,000 characters)")


def test_markdown_holds_no_markup():
    assert text.markdown("a|b <b>& [x](y) `c`\n# d") == "a\\|b &lt;b&gt;&amp; \\[x\\](y) \\`c\\` \\# d"


@pytest.mark.parametrize(
    ("raw", "cell"), [("=1+1", "'=1+1"), ("-x", "'-x"), ("@a", "'@a"), ("+a", "'+a"), ("a=b", "a=b"), (-1.5, -1.5)]
)
def test_a_cell_is_no_formula(raw, cell):
    assert text.csv_cell(raw) == cell
