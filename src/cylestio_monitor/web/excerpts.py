"""Recorded texts as they are shown: with marks, and long ones folded around them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from cylestio_monitor.errors import StoreError
from cylestio_monitor.scan.results.match_hash import match_hash
from cylestio_monitor.scan.results.redaction import TOKEN
from cylestio_monitor.store.sqlite import keys
from cylestio_monitor.web import marks

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from cylestio_monitor.store.read.findings import FindingRow
    from cylestio_monitor.web.marks import Mark, MarkedSegment

MAX_TEXT: Final = 65_536
"""Code points of one text that a page holds; the rest is counted."""

_MASK: Final = re.compile(TOKEN)
_STARTS: Final = 1000  # starts that are tried for a finding in its excerpt
_SHORT: Final = 1200  # code points up to which a text is not folded
_FEW_LINES: Final = 16
_LINE: Final = 200  # code points after which a line counts as another one
_HEAD, _AROUND, _TAIL = 4, 2, 2  # lines that stay: at the begin, around each mark, at the end


class TextPiece(NamedTuple):
    """One piece of a text.

    Attributes:
        segments: The piece under its marks.
        is_folded: Whether the piece has no mark and is folded.
        size: Its code points.
    """

    segments: list[MarkedSegment]
    is_folded: bool
    size: int


def key_of(path: Path) -> bytes | None:
    """The key of the hashes of matches; `None` where it is lost: a finding then has no place in its excerpt."""
    try:
        return keys.match_key(path)
    except StoreError:
        return None


def around(row: FindingRow, key: bytes | None, title: str, number: int) -> list[TextPiece]:
    """The words around a finding that the store keeps where no content is recorded, under the mark of the finding.

    Args:
        row: The finding, with an excerpt that is not sealed.
        key: The key of the hashes of matches, as of `key_of`.
        title: The title of its rule, shown in place of a mask.
        number: The number that the mark leads to.
    """
    if not row.excerpt:
        return []
    place = None if key is None else _place(row, key)
    over = []
    if place is not None:
        start, end, is_masked = place
        name = title if is_masked else ""
        over.append(marks.Mark(f"m{number}", start, end, severity=row.severity, number=number, masked=name))
    return pieces(row.excerpt, over)[0]


def _place(row: FindingRow, key: bytes) -> tuple[int, int, bool] | None:
    """The range of a finding in its excerpt, and whether a mask stands there; `None` where it is not proved."""
    text, name, length = row.excerpt or "", row.rule_id.partition(".")[2], row.end - row.start
    if not row.match_hash or length <= 0:
        return None
    for mask in _MASK.finditer(text):
        if mask[1] == name and row.match_hash.startswith(mask[2]):
            return mask.start(), mask.end(), True
    for start in range(min(len(text) - length, _STARTS) + 1):
        if match_hash(text[start : start + length], key) == row.match_hash:
            return start, start + length, False
    return None


def pieces(text: str, over: Sequence[Mark], limit: int = MAX_TEXT) -> tuple[list[TextPiece], int]:
    """A text in pieces, and the number of code points that are left out at its end.

    Args:
        text: The text.
        over: The marks, in code points of the text.
        limit: Code points that are shown, those in folded pieces included.
    """
    kept = text[:limit]
    if len(kept) <= _SHORT and kept.count("\n") < _FEW_LINES:
        return [TextPiece(marks.segments(kept, over), is_folded=False, size=len(kept))], len(text) - len(kept)
    found = []
    for start, end, is_open in _ranges(kept, over):
        inside = [
            mark._replace(start=max(mark.start, start) - start, end=min(mark.end, end) - start)
            for mark in over
            if mark.start < end and mark.end > start
        ]
        found.append(TextPiece(marks.segments(kept[start:end], inside), not is_open, end - start))
    return found, len(text) - len(kept)


def _ranges(text: str, over: Sequence[Mark]) -> Iterator[tuple[int, int, bool]]:
    """The ranges of a text that are open or folded, in turn."""
    borders = _line_borders(text)
    count = len(borders) - 1
    is_open = [number < _HEAD or number >= count - _TAIL for number in range(count)]
    for mark in over[: marks.MAX_MARKS]:
        for number in range(count):
            if borders[number] < mark.end and borders[number + 1] > mark.start:
                first, last = max(0, number - _AROUND), min(count, number + _AROUND + 1)
                is_open[first:last] = [True] * (last - first)
    start = 0
    for number in range(1, count + 1):
        if number == count or is_open[number] != is_open[start]:
            yield borders[start], borders[number], is_open[start]
            start = number


def _line_borders(text: str) -> list[int]:
    borders = [0]
    for line in text.split("\n"):
        end = borders[-1] + len(line) + 1
        while end - borders[-1] > _LINE:
            borders.append(borders[-1] + _LINE)
        if min(end, len(text)) > borders[-1]:
            borders.append(min(end, len(text)))
    return borders
