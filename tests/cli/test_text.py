"""No character of stored data can act on a terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cylestio_monitor.cli.text import printable

ANY_TEXT = st.text(alphabet=st.characters(codec=None, categories=None))


@given(ANY_TEXT)
def test_nothing_but_glyphs_and_spaces_is_left(text):
    for char in printable(text):
        assert char.isprintable() or unicodedata.category(char) == "Zs"


@given(ANY_TEXT, st.integers(0, 50))
def test_the_limit_holds_whatever_is_escaped(text, limit):
    assert len(printable(text, limit)) <= limit or limit == 0


@given(st.text(alphabet=st.characters(categories=["L", "N", "P", "S"])))
def test_plain_text_of_any_script_is_unchanged(text):
    assert printable(text) == text


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("\x9b31m", "\\x9b31m"),
        ("a\rb\nc\td", "a\\rb\\nc\\td"),
        ("x\u202etxt.exe", "x\\u202etxt.exe"),
        ("\u2066\u2069\u200b\ufeff", "\\u2066\\u2069\\u200b\\ufeff"),
        ("\U000e0041", "\\U000e0041"),
        ("\ud800", "\\ud800"),
        ("\u2028\u2029\x7f\x00", "\\u2028\\u2029\\x7f\\x00"),
        ("日本　語", "日本　語"),
    ],
)
def test_what_is_escaped_stays_readable(hostile, shown):
    assert printable(hostile) == shown


def test_a_cut_is_marked():
    assert printable("abcdef", 4) == "abc…"
    assert printable("abcd", 4) == "abcd"
    assert printable(None) == "None"
