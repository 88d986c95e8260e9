"""Undoes disguises that keep a text readable: look-alikes, hidden characters, marks, spacing, signs for letters.

Every function gives the undone text and, where its length changed, the way back to places in the original, so that
findings point into what was really there.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_ASCII = bytes(range(128))
_HIDDEN = frozenset(
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e"
    "\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\u206a\u206b\u206c\u206d\u206e\u206f\u3164\ufeff\uffa0"
)
# Letters of other scripts that are drawn like Latin ones; NFKC leaves them as they are.
_LOOKS = dict(
    zip(
        "аеорсухіјѕԁԛԝһӏгтпмквАВЕКМНОРСТУХІЈЅԌԚԜҺαοινυρτκΑΒΕΖΗΙΚΜΝΟΡΤΥΧɑɡıȷɩʀƖоցհոսօքᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘꜱᴛᴜᴠᴡʏᴢ",
        "aeopcyxijsdqwhlrtnmkvABEKMHOPCTYXIJSGQWhaoivuptkABEZHIKMNOPTYXagijirloghnuoqabcdefghijklmnopstuvwyz",
        strict=True,
    )
)


class Undone(NamedTuple):
    """A text with a disguise taken off.

    Attributes:
        text: The text.
        folded: Where the text does not go on as the original does, ascending; empty where places are the same.
        original: For each of these its place in the original.
    """

    text: str
    folded: Sequence[int] = ()
    original: Sequence[int] = ()

    def span(self, start: int, end: int) -> tuple[int, int]:
        """A span of the text as a span of the original."""
        return self._place(start), self._place(end - 1) + 1

    def _place(self, at: int) -> int:
        last = bisect_right(self.folded, at) - 1
        return at if last < 0 else self.original[last] + at - self.folded[last]


class _Pieces:
    """A text put together from pieces, with the places where they do not follow each other in the original."""

    def __init__(self) -> None:
        self._out: list[str] = []
        self._length = self._next = 0
        self._folded: list[int] = []
        self._original: list[int] = []

    def put(self, piece: str, place: int, step: int = 1) -> None:
        """Adds a piece that stands at a place; `step` is 0 where all of it stands for one character."""
        for offset in range(len(piece)) if not step else (0,):
            if place != self._next or (not step and offset):
                self._folded.append(self._length + offset)
                self._original.append(place)
            self._next = place + 1
        self._out.append(piece)
        self._length += len(piece)
        self._next = place + (len(piece) if step else 1)

    def undone(self) -> Undone:
        """The text."""
        return Undone("".join(self._out), self._folded, self._original)


def fold(text: str) -> Undone | None:
    """The text with look-alikes, marks and hidden characters folded to ASCII; ``None`` where there are none.

    Costs nothing for ASCII and little for text that has nothing to fold.
    """
    if text.isascii():
        return None
    foreign = set(text.encode("utf-8", "surrogatepass").translate(None, _ASCII).decode("utf-8", "surrogatepass"))
    changed = {character: folded for character in foreign if (folded := _folded(character)) != character}
    if not changed:
        return None
    single = {character: folded for character, folded in changed.items() if len(folded) == 1}
    plain = _replaced(text, single)
    rest = {character: folded for character, folded in changed.items() if len(folded) != 1}
    if not rest:
        return Undone(plain)
    pieces = _Pieces()
    at = 0
    for place in sorted(place for character in rest for place in _places(text, character)):
        if place > at:
            pieces.put(plain[at:place], at)
        if folded := rest[text[place]]:
            pieces.put(folded, place, step=0)
        at = place + 1
    if at < len(text):
        pieces.put(plain[at:], at)
    undone = pieces.undone()
    return undone if undone.text else None


def _places(text: str, character: str) -> Iterator[int]:
    place = text.find(character)
    while place >= 0:
        yield place
        place = text.find(character, place + 1)


def _replaced(text: str, changed: dict[str, str]) -> str:
    if len(changed) > 60:
        return text.translate({ord(character): folded for character, folded in changed.items()})
    for character, folded in changed.items():
        text = text.replace(character, folded)
    return text


@lru_cache(maxsize=8192)
def _folded(character: str) -> str:
    """One character as ASCII where it is a look-alike, nothing where it is hidden, itself where it is neither."""
    code = ord(character)
    if 0xE0020 <= code <= 0xE007E:
        return chr(code - 0xE0000)  # a tag character: invisible, and read by models as the letter it names
    if character in _HIDDEN or 0xFE00 <= code <= 0xFE0F or 0xE0000 <= code <= 0xE01EF:
        return ""
    if 0x1F1E6 <= code <= 0x1F1FF:
        return chr(code - 0x1F1E6 + 97)
    if 0x1F130 <= code <= 0x1F149 or 0x1F150 <= code <= 0x1F169 or 0x1F170 <= code <= 0x1F189:
        return chr((code - 0x1F130) % 32 + 97)
    look = _LOOKS.get(character)
    if look is not None:
        return look
    plain = unicodedata.normalize("NFKD", character)
    kept = "".join(_LOOKS.get(part, part) for part in plain if not unicodedata.combining(part))
    # A sign that stands for several, such as an ellipsis, hides no word.
    return kept if kept.isascii() and (len(kept) < 2 or kept.isalnum()) else character


_LEET = str.maketrans("01345789@$!|", "oieastbgasil")
LEET_SIGN = re.compile(r"(?i)[a-z][013457@$!][a-z]|\b[013457@$!]{1,2}[a-z]{2}|[a-z]{2}[013457@$!]{1,2}\b")
_ENOUGH = 3


def unleet(text: str) -> list[Undone]:
    """The text with digits and signs as the letters they stand for; two readings, because ``1`` is an i or an l."""
    if sum(1 for _ in zip(LEET_SIGN.finditer(text), range(_ENOUGH), strict=False)) < _ENOUGH:
        return []
    once = text.translate(_LEET)
    other = text.replace("1", "l").translate(_LEET)
    return [Undone(once)] if once == other else [Undone(once), Undone(other)]


SPACED = re.compile(
    r"(?<![^\W_])(?:[^\W_](?: |\.|-|_|\*|\||/)){4,400}[^\W_](?![^\W_])"
    r"|(?:[^\W_] ){3,200}(?: {1,4}(?:[^\W_] ){1,200}){1,60}[^\W_]?"
)


def unspaced(text: str) -> Undone | None:
    """The text with single letters that stand apart pushed together; two or more blanks part words."""
    if SPACED.search(text) is None:
        return None
    pieces = _Pieces()
    put = pieces.put
    index, length = 0, len(text)
    while index < length:
        character = text[index]
        alone = character.isalnum() and (index == 0 or not text[index - 1].isalnum())
        if alone and index + 2 < length and text[index + 1] in " .-_*|/" and not text[index + 1].isalnum():
            put(character, index)
            gap = index + 1
            while gap < length and text[gap] == text[index + 1]:
                gap += 1
            # A letter follows that stands alone too: one separator joins, more of them part.
            following = gap < length and text[gap].isalnum() and (gap + 1 >= length or not text[gap + 1].isalnum())
            if gap - index > 2 or not following:
                put(" ", index + 1)
            index = gap
            continue
        put(character, index)
        index += 1
    return pieces.undone()
