"""Marks in a text: overlapping findings and untrusted values as segments that do not overlap.

A template writes one element for each segment. The text of all segments together is the text that was given, except
that characters which hide or reorder text are segments of their own with a name instead.
"""

from __future__ import annotations

import itertools
import unicodedata
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

MAX_MARKS: Final = 200
"""Marks shown in one part."""

_VISIBLE_CONTROLS: Final = frozenset("\t\n")
_JOINERS: Final = frozenset({"\u200d", "\ufe0e", "\ufe0f"})
_SEVERITIES: Final = ("none", "low", "medium", "high", "critical")


class Mark(NamedTuple):
    """A range of a text.

    Attributes:
        id: Its anchor in the page, such as ``m2``.
        start: First code point.
        end: The code point after the last.
        severity: Severity of the finding; ``none`` for an untrusted value.
        number: Number of the finding in the page; 0 for an untrusted value.
        letter: Letter of an untrusted value; empty for a finding.
        masked: Name of what was masked here; empty where the text is as it was.
    """

    id: str
    start: int
    end: int
    severity: str = "none"
    number: int = 0
    letter: str = ""
    masked: str = ""


class MarkedSegment(NamedTuple):
    """A piece of a text that is marked alike.

    Attributes:
        text: The piece; for a hidden character its name.
        severity: The highest severity of the marks over it; empty for none.
        overlaps: Whether more than one finding covers it.
        letter: Letter of the untrusted value over it.
        masked: Name of what was masked here.
        hidden: Whether `text` is the name of a character that cannot be seen.
        starts: Ids of the marks that begin here.
        ends: Numbers of the findings that end here.
    """

    text: str
    severity: str = ""
    overlaps: bool = False
    letter: str = ""
    masked: str = ""
    hidden: bool = False
    starts: tuple[str, ...] = ()
    ends: tuple[int, ...] = ()


def segments(text: str, marks: Iterable[Mark]) -> list[MarkedSegment]:
    """The segments of a text under marks.

    Args:
        text: The text.
        marks: Ranges in code points of the text; at most `MAX_MARKS` are used, ranges outside are cut.
    """
    kept = [fitted for mark in list(marks)[:MAX_MARKS] if (fitted := _fit(text, mark)) is not None]
    borders = sorted({0, len(text)} | {mark.start for mark in kept} | {mark.end for mark in kept})
    found: list[MarkedSegment] = []
    for start, end in itertools.pairwise(borders):
        over = [mark for mark in kept if mark.start <= start and mark.end >= end]
        found += _segment(text[start:end], over, start, end)
    return found


def hidden_name(character: str) -> str | None:
    """The name of a character that hides or reorders text; ``None`` for one that can be shown."""
    if character in _VISIBLE_CONTROLS or (character in _JOINERS):
        return None
    category = unicodedata.category(character)
    if category in {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"} or character in "\u3164\u115f\u1160\uffa0\u2800":
        return unicodedata.name(character, f"U+{ord(character):04X}").lower()
    return None


def _fit(text: str, mark: Mark) -> Mark | None:
    """A mark inside the text whose borders do not cut a character and the marks that combine with it."""
    start, end = max(0, mark.start), min(len(text), mark.end)
    if start >= end:
        return None
    while start > 0 and _combines(text[start]):
        start -= 1
    while end < len(text) and _combines(text[end]):
        end += 1
    return mark._replace(start=start, end=end)


def _combines(character: str) -> bool:
    return unicodedata.combining(character) != 0 or character in _JOINERS or "\U0001f3fb" <= character <= "\U0001f3ff"


def _segment(text: str, over: Sequence[Mark], start: int, end: int) -> list[MarkedSegment]:
    findings = [mark for mark in over if mark.number]
    worst = max((_SEVERITIES.index(mark.severity) for mark in findings), default=-1)
    base = MarkedSegment(
        text,
        severity=_SEVERITIES[worst] if worst >= 0 else "",
        overlaps=len(findings) > 1,
        letter=next((mark.letter for mark in over if mark.letter), ""),
        masked=next((mark.masked for mark in over if mark.masked), ""),
    )
    pieces = _split_hidden(base)
    pieces[0] = pieces[0]._replace(starts=tuple(mark.id for mark in over if mark.start == start))
    pieces[-1] = pieces[-1]._replace(ends=tuple(mark.number for mark in over if mark.end == end and mark.number))
    return pieces


def _split_hidden(segment: MarkedSegment) -> list[MarkedSegment]:
    pieces: list[MarkedSegment] = []
    shown = ""
    for character in segment.text:
        name = hidden_name(character)
        if name is None:
            shown += character
            continue
        if shown:
            pieces.append(segment._replace(text=shown))
            shown = ""
        pieces.append(segment._replace(text=name, hidden=True))
    if shown or not pieces:
        pieces.append(segment._replace(text=shown))
    return pieces
