"""Which disguises a text may wear, and what it says without them.

The gates come first: one pass in C over the bytes tells whether a disguise is possible at all, so that plain text pays
next to nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cylestio_monitor.scan import decode, normalize

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

LONGEST = 200_000
"""Texts beyond this length, in code points, are looked at for look-alikes only."""


def _classes(**members: str) -> bytes:
    table = bytearray(b"." * 256)
    for name, characters in members.items():
        for character in characters:
            table[ord(character)] = ord(name)
    return bytes(table)


_LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
_SHAPES = _classes(a=_LETTERS, n="013457@$!", x=" \t")
_RUNS = _classes(a=_LETTERS + "0123456789+/_-")
_RUN = b"a" * 16
_SPACED = (b"axaxaxa", b"a.a.a.a")
_ROT13 = (
    "gur ",
    "naq ",
    "vtaber",
    "qvfertneq",
    "fryrpg",
    "havba",
    "cerivbhf",
    "cynprubyqre",
    "ez -",
    "qebc ",
    "qryrgr",
)


class Reading(NamedTuple):
    """What a text says with one disguise taken off.

    Attributes:
        kind: The evasion, as `Rule.evasion` names it.
        text: What it says.
        span: A span of that text as a span of the original.
    """

    kind: str
    text: str
    span: Callable[[int, int], tuple[int, int]]


def readings(text: str) -> Iterator[Reading]:
    """Every other reading of the text."""
    folded = normalize.fold(text)
    if folded is not None:
        yield Reading("look-alike", folded.text, folded.span)
    if len(text) > LONGEST:
        return
    base = folded or normalize.Undone(text, None)
    data = base.text.encode("utf-8", "surrogatepass")
    shapes = data.translate(_SHAPES)
    if b"ana" in shapes or b"xna" in shapes:
        for undone in normalize.unleet(base.text):
            yield Reading("leet", undone.text, base.span)
    if any(shape in shapes for shape in _SPACED):
        spaced = normalize.unspaced(base.text)
        if spaced is not None and spaced.text:
            yield Reading("spaced", spaced.text, _chain(base, spaced))
    if _encoded(base.text, data):
        for piece in decode.decoded(base.text):
            yield Reading(piece.kind, piece.text, _whole(base, piece.start, piece.end))


def _encoded(text: str, data: bytes) -> bool:
    if b"%" in data or b"&" in data or b"\\" in data or _RUN in data.translate(_RUNS):
        return True
    low = text.lower()
    return any(word in low for word in _ROT13)


def _chain(base: normalize.Undone, spaced: normalize.Undone) -> Callable[[int, int], tuple[int, int]]:
    return lambda start, end: base.span(*spaced.span(start, end))


def _whole(base: normalize.Undone, start: int, end: int) -> Callable[[int, int], tuple[int, int]]:
    span = base.span(start, end)
    return lambda _start, _end: span
