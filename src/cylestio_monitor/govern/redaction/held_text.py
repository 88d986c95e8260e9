"""A text on its way through, piece by piece: what is decided passes, what a match may still take in is held back."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cylestio_monitor.govern.redaction.redactor import Find, PrivatePlace
    from cylestio_monitor.govern.redaction.tokens import SessionTokens

MAX_HELD: Final = 8192
"""Most code points of one text that are held back; a text that would need more is not passed on any further."""

_AROUND: Final = 300
"""Code points in front of an undecided part that are searched with it: the rules look back that far at most."""

_WIDEST: Final = 2 * MAX_HELD
_TOKEN_BEGUN: Final = re.compile(r"\[(?:[A-Z][A-Z0-9_]{0,70})?\Z")
_LONGEST_TOKEN: Final = 72


class OpenPlaces(Protocol):
    """Tells where in a text the earliest match begins that may still go on; see `scan.OpenMatches`."""

    length: int
    start: int
    complete_to: int

    def feed(self, text: str) -> None:
        """Takes the next piece."""

    def border(self, place: int) -> int:
        """Returns the last place, up to the given one, that no match stands across."""


class TooLongError(ValueError):
    """More of a text would have to be held back than may be."""


class HeldText:
    """One text that arrives in pieces, with its secrets and personal data as tokens.

    All pieces together, and the rest, are what `Redactor.text` makes of the whole text, wherever it is cut.

    Attributes:
        count: The values replaced so far.
    """

    __slots__ = ("_base", "_begun_token", "_done", "_find", "_open", "_pending", "_text", "_tokens", "count")

    def __init__(self, find: Find, tokens: SessionTokens, watch: Callable[[], OpenPlaces]) -> None:
        """Starts empty.

        Args:
            find: Finds secrets and personal data; it raises `ValueError` for a text that it cannot search to its end.
            tokens: The tokens of the session.
            watch: Makes what follows the matches of a text.
        """
        self._find = find
        self._tokens = tokens
        self._open = watch
        self._begin()
        self._begun_token = ""
        self.count = 0

    @property
    def is_empty(self) -> bool:
        """Nothing is held back."""
        return not self._begun_token and self._done == self._pending.length

    def feed(self, piece: str) -> str:
        """Takes the next piece; returns the text that is decided by now.

        Raises:
            ValueError: More than `MAX_HELD` code points would have to be held back, or they could not be searched.
        """
        text = self._begun_token + piece
        self._begun_token = ""
        if "[" in text:
            begun = _TOKEN_BEGUN.search(text, max(0, len(text) - _LONGEST_TOKEN))
            if begun is not None:
                text, self._begun_token = text[: begun.start()], text[begun.start() :]
            out, text = self._known_tokens(text)
            return out + self._passed(text)
        return self._passed(text)

    def finish(self) -> str:
        """Returns the rest of the text; another text may follow.

        Raises:
            ValueError: The rest could not be searched to its end.
        """
        begun, self._begun_token = self._begun_token, ""
        out = self._passed(begun) + self._rest()
        self._begin()
        return out

    def _begin(self) -> None:
        self._pending = self._open()
        self._text = ""
        self._base = 0
        self._done = 0

    def _known_tokens(self, text: str) -> tuple[str, str]:
        """Returns what passes up to the last token of the session in the text, and the text behind it."""
        out: list[str] = []
        at = 0
        for start, end in self._tokens.known(text):
            out += [self._passed(text[at:start]), self._rest(), text[start:end]]
            self._begin()
            at = end
        return "".join(out), text[at:]

    def _passed(self, piece: str) -> str:
        if not piece:
            return ""
        pending = self._pending
        self._text += piece
        pending.feed(piece)
        out = self._decided(pending.start, is_whole=False) if pending.start > self._done else ""
        if pending.length - self._done > MAX_HELD:
            raise TooLongError(f"more than {MAX_HELD} characters would have to be held back")
        return out

    def _rest(self) -> str:
        return self._decided(self._pending.length, is_whole=True)

    def _decided(self, until: int, *, is_whole: bool) -> str:
        """Returns the text up to a place with its tokens."""
        done, base, out = self._done, self._base, []
        border = max(self._pending.border(done) - _AROUND, base, done - _WIDEST)
        # A match that is open may turn out to be none, and the shorter ones inside it may then stand.
        is_searched = self._pending.complete_to > done or is_whole
        for place in self._find_in(border) if is_searched else ():
            start, end = max(border + place.start, done), border + place.end
            if end <= done:
                continue
            if start >= until:
                break
            if end > until:
                until = start
                break
            self.count += 1
            token = self._tokens.token(place.rule_id, self._text[start - base : end - base], self._text)
            out += [self._text[done - base : start - base], token]
            done = end
        out.append(self._text[done - base : until - base])
        self._done = until
        self._trim()
        return "".join(out)

    def _find_in(self, start: int) -> Sequence[PrivatePlace]:
        text = self._text[start - self._base :]
        return self._find(text, "") if text else ()

    def _trim(self) -> None:
        """Forgets what no search needs any more."""
        needed = max(self._pending.border(self._done) - _AROUND, self._done - _WIDEST)
        if needed - self._base > _AROUND:
            self._text = self._text[needed - self._base :]
            self._base = needed
