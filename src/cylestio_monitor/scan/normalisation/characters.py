"""Undoes disguises that keep a text readable: look-alikes, hidden characters, marks, spacing, signs for letters.

Every function gives the decoded text and, where its length changed, the way back to places in the original, so that
findings point into what was really there.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable
    from collections.abc import Set as AbstractSet

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


class Run(NamedTuple):
    """A piece of a text that says something else than the original does.

    Attributes:
        start: Where it starts in the text.
        end: Where it ends.
        first: Where what it stands for starts in the original.
        last: Where that ends.
    """

    start: int
    end: int
    first: int
    last: int


class NormalisedText:
    """A text with a disguise taken off.

    Attributes:
        text: The text.
    """

    def __init__(
        self,
        text: str,
        runs: Callable[[], list[Run]] | None = None,
        within: Callable[[Run, int], tuple[int, int]] | None = None,
    ) -> None:
        """Takes what is known.

        Args:
            text: The text.
            runs: Gives the pieces that differ from the original, ascending; what stands between them is the same.
                ``None`` where any may differ and the places are the same.
            within: Gives the place in the original of a place within a piece, where the two are not letter for letter.
        """
        self.text = text
        self._make = runs
        self._within = within
        self._runs: list[Run] = []
        self._starts: list[int] = []
        self._areas: list[tuple[int, int]] | None = None

    def span(self, start: int, end: int) -> tuple[int, int]:
        """A span of the text as a span of the original."""
        return self._place(start)[0], self._place(end - 1)[1]

    def areas(self) -> list[tuple[int, int]] | None:
        """Where the text differs from the original, pieces near each other as one; ``None`` for nearly everywhere."""
        if self._make is None:
            return None
        if self._areas is None:
            self._areas = []
            for start, end, _, _ in self._known():
                if self._areas and start - self._areas[-1][1] < _NEAR:
                    self._areas[-1] = (self._areas[-1][0], end)
                else:
                    self._areas.append((start, end))
        return self._areas

    def _known(self) -> list[Run]:
        if self._make is not None and not self._runs:
            self._runs = self._make()
            self._starts = [run.start for run in self._runs]
        return self._runs

    def _place(self, at: int) -> tuple[int, int]:
        """The place in the original, from and to, of one place."""
        runs = self._known()
        number = bisect_right(self._starts, at) - 1
        if number < 0:
            return at, at + 1
        run = runs[number]
        if at >= run.end:
            at += run.last - run.end
            return at, at + 1
        if self._within is not None:
            return self._within(run, at)
        if run.end - run.start == run.last - run.first:
            at += run.first - run.start
            return at, at + 1
        return run.first, run.last


_NEAR = 200


def replace_runs(text: str, disguise: re.Pattern[str], say: Callable[[re.Match[str]], str]) -> NormalisedText | None:
    """The text with what the pattern finds said plainly; ``None`` where that changes nothing."""
    runs: list[Run] = []
    out: list[str] = []
    at = length = 0
    for match in disguise.finditer(text):
        first, last = match.span()
        plain = say(match)
        length += first - at
        out += (text[at:first], plain)
        runs.append(Run(length, length + len(plain), first, last))
        length += len(plain)
        at = last
    out.append(text[at:])
    plain = "".join(out)
    return NormalisedText(plain, lambda: runs) if plain != text else None


def fold(text: str) -> NormalisedText | None:
    """The text with look-alikes, marks and hidden characters folded to ASCII; ``None`` where there are none.

    Costs nothing for ASCII and little for text that has nothing to fold.
    """
    if text.isascii():
        return None
    changed = {character: plain for character in _foreign(text) if (plain := plain_form(character)) != character}
    if not changed:
        return None
    plain = _replaced(text, changed)

    def runs() -> list[Run]:
        found = []
        grown = 0
        for match in re.finditer(f"[{''.join(map(re.escape, changed))}].{{0,{_PIECE}}}", text, re.DOTALL):
            first, last = match.span()
            end = last + grown
            if other:
                end += len(_replaced(match[0], other)) - (last - first)
            found.append(Run(first + grown, end, first, last))
            grown = end - last
        return found

    def within(run: Run, at: int) -> tuple[int, int]:
        end = run.start
        for place in range(run.first, run.last):
            end += len(changed.get(text[place], "_"))
            if end > at:
                return place, place + 1
        return run.first, run.last

    other = {character: folded for character, folded in changed.items() if len(folded) != 1}
    return NormalisedText(plain, runs, within if other else None) if plain else None


_PIECE = 200
"""Code points behind a changed one that count as changed with it: fewer pieces than changed ones."""


def _foreign(text: str) -> set[str]:
    """The different characters of a text that are not ASCII."""
    rest = text.encode("utf-8", "surrogatepass").translate(None, _ASCII).decode("utf-8", "surrogatepass")
    found: set[str] = set()
    # To take the first ones out is much faster than to look at each, where they are most of the text.
    while len(rest) > _LONG and len(found) < _FEW:
        found.add(rest[0])
        rest = rest.replace(rest[0], "")
    return found.union(rest)


_LONG = 4000
_FEW = 16


def _replaced(text: str, changed: dict[str, str]) -> str:
    if len(changed) > 60:
        return text.translate({ord(character): folded for character, folded in changed.items()})
    for character, folded in changed.items():
        text = text.replace(character, folded)
    return text


@lru_cache(maxsize=8192)
def plain_form(character: str) -> str:
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


_LEET = dict(zip("01345789@$!|", "oieastbgasil", strict=True))
LEET_SIGN = re.compile(
    r"(?i)[013457@$!](?:(?<=[a-z].)(?=[a-z])|(?<=\b.)[013457@$!]?(?=[a-z]{2})|(?<=[a-z]{2}.)[013457@$!]?\b)"
)
_ENOUGH = 3


def unleet(text: str, beginnings: AbstractSet[str]) -> list[NormalisedText]:
    """Returns the text with digits and signs as the letters that they stand for.

    Two results, because ``1`` is an i or an l; none where no decoded word begins as a word of a rule does.

    Args:
        text: The text.
        beginnings: The first `BEGINNING` letters of the words of the rules, in lower case.
    """
    if not _says_a_word(text, beginnings):
        return []
    runs = [Run(*match.span(), *match.span()) for match in LEET_SIGN.finditer(text)]
    if len(runs) < _ENOUGH:
        return []
    once = _replaced(text, _LEET)
    other = _replaced(text.replace("1", "l"), _LEET)
    return [NormalisedText(plain, lambda: runs) for plain in ((once,) if once == other else (once, other))]


BEGINNING = 4
_LEET_TABLES = tuple(str.maketrans({**_LEET, "1": one}) for one in "il")
_OUTSIDE_WORDS = ".,;:?\"'()[]{}<>*_`#"


def _says_a_word(text: str, beginnings: AbstractSet[str]) -> bool:
    """Returns whether a word with digits or signs in it decodes to one that begins as a word of a rule does."""
    for word in set(text.lower().split()):
        bare = word.strip(_OUTSIDE_WORDS)
        if len(bare) < BEGINNING or bare.isalpha() or bare.isdigit():
            continue
        for table in _LEET_TABLES:
            decoded = bare.translate(table)
            for part in _LETTERS.finditer(decoded) if decoded != bare else ():
                if part[0][:BEGINNING] in beginnings and not bare.startswith(part[0], part.start()):
                    return True
    return False


_LETTERS = re.compile(r"[a-z]{4,}")


SPACED = re.compile(
    r"(?<![^\W_])(?:[^\W_](?: |\.|-|_|\*|\||/|\n|\t)){4,400}[^\W_](?![^\W_])"
    r"|(?:[^\W_] ){3,200}(?: {1,4}(?:[^\W_] ){1,200}){1,60}[^\W_]?"
)
_SEPARATED = re.compile(r"[ .\-_*|/\n\t][^\W_][ .\-_*|/\n\t][^\W_][ .\-_*|/\n\t]")
_ALONE = r"[^\W_](?![^\W_])"
_GAP = re.compile(rf"(?<=(?<![^\W_])[^\W_])([ .\-_*|/\n\t])(?P<more>\1{{1,400}})?(?P<next>(?={_ALONE}))?(?!$)")


def unspaced(text: str) -> NormalisedText | None:
    """The text with single letters that stand apart pushed together; two or more blanks part words."""
    separated = _SEPARATED.search(text)  # quicker than to look for the whole of it
    if separated is None or SPACED.search(text, max(0, separated.start() - 1)) is None:
        return None
    # A letter follows that stands alone too: one separator joins, more of them part.
    return replace_runs(text, _GAP, lambda gap: "" if gap["next"] is not None and gap["more"] is None else " ")
