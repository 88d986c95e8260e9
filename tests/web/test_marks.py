"""Marks never change a text: the page shows the stored text, each mark over its own code points."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cylestio_monitor.web.marks import MAX_MARKS, Mark, hidden_name, segments

SEVERITIES = ["low", "medium", "high", "critical"]
RANGES = st.lists(st.tuples(st.integers(-5, 60), st.integers(-5, 60), st.sampled_from(SEVERITIES)), max_size=12)


def marks_of(ranges):
    return [Mark(f"m{n}", start, end, severity, n) for n, (start, end, severity) in enumerate(ranges, 1)]


@settings(max_examples=400, deadline=None)
@given(st.text(max_size=50), RANGES)
def test_the_segments_spell_the_text(text, ranges):
    found = segments(text, marks_of(ranges))
    hidden = [hidden_name(character) for character in text]
    expected = "".join(name or character for name, character in zip(hidden, text, strict=True))
    assert "".join(piece.text for piece in found) == expected


@settings(max_examples=400, deadline=None)
@given(st.text("abc \n", max_size=50), RANGES)
def test_each_mark_covers_exactly_its_code_points(text, ranges):
    at, severity = 0, {}
    starts, ends = {}, {}
    for piece in segments(text, marks_of(ranges)):
        starts.update(dict.fromkeys(piece.starts, at))
        for _ in piece.text:
            severity[at] = piece.severity
            at += 1
        ends.update(dict.fromkeys(piece.ends, at))
    for mark in marks_of(ranges):
        start, end = max(0, mark.start), min(len(text), mark.end)
        if start < end:
            assert (starts[mark.id], ends[mark.number]) == (start, end)
    for place in range(len(text)):
        over = [SEVERITIES.index(m.severity) for m in marks_of(ranges) if m.start <= place < m.end]
        assert severity[place] == (SEVERITIES[max(over)] if over else "")


@pytest.mark.parametrize(
    "character", ["\u202e", "\u200b", "\x00", "\x1b", "\ud800", "\u2066", "\ufeff", "\U000e0041", "\x85"]
)
def test_a_character_that_cannot_be_seen_is_named(character):
    pieces = segments(f"a{character}b", [Mark("m1", 0, 3, "high", 1)])
    assert [piece.hidden for piece in pieces] == [False, True, False]
    assert pieces[1].text == unicodedata.name(character, f"U+{ord(character):04X}").lower()
    assert character not in "".join(piece.text for piece in pieces)


@pytest.mark.parametrize("text", ["e\u0301", "\U0001f44d\U0001f3fd", "\u2764\ufe0f"])
def test_a_border_never_cuts_a_character_from_what_combines_with_it(text):
    for start, end in ((0, 1), (1, 2)):
        pieces = segments(f"x{text}y", [Mark("m1", 1 + start, 1 + end, "low", 1)])
        assert [piece.text for piece in pieces if piece.severity] == [text]


def test_overlapping_marks_show_the_highest_severity_and_that_they_overlap():
    pieces = segments("0123456789", [Mark("m1", 0, 6, "low", 1), Mark("m2", 4, 9, "high", 2)])
    assert [(p.text, p.severity, p.overlaps) for p in pieces] == [
        ("0123", "low", False),
        ("45", "high", True),
        ("678", "high", False),
        ("9", "", False),
    ]


def test_marks_are_bounded():
    pieces = segments("x" * 5000, [Mark(f"m{n}", n, n + 1, "low", n + 1) for n in range(5000)])
    assert sum(bool(piece.severity) for piece in pieces) == MAX_MARKS
