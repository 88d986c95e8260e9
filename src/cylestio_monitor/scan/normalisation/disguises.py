"""Disguises of a text, and the text without them.

The signs of each disguise are looked for together with the rules' literals, so that plain text pays nothing for it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from cylestio_monitor.rules.literals import MARK
from cylestio_monitor.rules.prefilter import TOKEN
from cylestio_monitor.scan.normalisation import characters, encodings
from cylestio_monitor.scan.normalisation.characters import NormalisedText

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from collections.abc import Set as AbstractSet

LONGEST = 200_000
"""Texts beyond this length, in code points, are looked at for look-alikes only."""

_SINGLE = "enorst"  # of these every few words have one, and none is a word of its own
SIGNS: dict[str, tuple[str, ...]] = {
    # No at sign: it stands in every address. The variant itself wants three signs.
    "leet": (rf"{MARK}[a-z][013457$!][a-z]",),
    "spaced": tuple(f"{sign}{letter}{sign}" for sign in " .-_*|/" for letter in _SINGLE),
    "run": (TOKEN,),
    "percent": (rf"{MARK}%[0-9a-f]{{2}}",),
    "reference": (rf"{MARK}&(?:#[0-9x]|[a-z])[0-9a-z]{{1,7}};",),
    "escape": (rf"{MARK}\\[xu0-7]",),
    "rot13": (
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
    ),
}
"""Literals and expressions of which a text that wears the disguise holds one, as `rules.literals` writes them."""

_LETTERS = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")
_SHAPES = bytes(97 if code in _LETTERS else 120 if code in b" \t" else 46 for code in range(256))
_SPACED = (b"axaxaxa", b"a.a.a.a")


class Variant(NamedTuple):
    """A text without one of its disguises.

    Attributes:
        kind: The evasion, as `Rule.evasion` names it.
        decoded: What it says.
        span: A span of that text as a span of the original.
    """

    kind: str
    decoded: NormalisedText
    span: Callable[[int, int], tuple[int, int]]


def variants(base: NormalisedText, signs: AbstractSet[str], beginnings: AbstractSet[str]) -> Iterator[Variant]:
    """Gives every other decoded form of a text without look-alikes.

    Args:
        base: The text.
        signs: The names in `SIGNS` of the disguises of which it has a sign.
        beginnings: Beginnings of the words of the rules; see `characters.unleet`.
    """
    for kind, decoded in _variants(base.text, signs, beginnings):
        yield Variant(kind, decoded, _chain(base, decoded))
    if "run" in signs:
        for piece in encodings.pieces(base.text):
            yield Variant(piece.kind, NormalisedText(piece.text), _whole(base, piece.start, piece.end))


def _variants(text: str, signs: AbstractSet[str], beginnings: AbstractSet[str]) -> Iterator[tuple[str, NormalisedText]]:
    if "leet" in signs:
        for decoded in characters.unleet(text, beginnings):
            yield "leet", decoded
    if "spaced" in signs:
        shapes = text.encode("utf-8", "surrogatepass").translate(_SHAPES)
        spaced = characters.unspaced(text) if any(shape in shapes for shape in _SPACED) else None
        if spaced is not None and spaced.text:
            yield "spaced", spaced
    yield from encodings.wholes(text, signs)


def _chain(base: NormalisedText, decoded: NormalisedText) -> Callable[[int, int], tuple[int, int]]:
    return lambda start, end: base.span(*decoded.span(start, end))


def _whole(base: NormalisedText, start: int, end: int) -> Callable[[int, int], tuple[int, int]]:
    span = base.span(start, end)
    return lambda _start, _end: span
