"""Redaction and restoration of texts and values with the tokens of one session."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from cylestio_monitor.govern.redaction.values import NO_KEYS, ChangedValue, ContentKeys

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cylestio_monitor.govern.redaction.tokens import SessionTokens

    Find = Callable[[str, str], Sequence["PrivatePlace"]]
    """Returns the places of secrets and personal data in a text; the second argument is the key above it."""


class PrivatePlace(Protocol):
    """A secret or a piece of personal data in a text."""

    @property
    def rule_id(self) -> str:
        """The rule that found it."""

    @property
    def start(self) -> int:
        """Its first code point."""

    @property
    def end(self) -> int:
        """The code point after its last."""


UNCHANGED: Final = object()
"""Stands for content that passes as it is."""


class Redactor:
    """Replaces secrets and personal data by tokens.

    Attributes:
        count: The values replaced so far.
    """

    def __init__(self, find: Find, tokens: SessionTokens) -> None:
        """Takes the search and the tokens of the session.

        Args:
            find: Finds secrets and personal data; it raises `ValueError` for a text that it cannot search to its end.
            tokens: The tokens of the session.
        """
        self._find = find
        self._tokens = tokens
        self.count = 0

    def text(self, text: str, key: str = "") -> str:
        """Returns the text with tokens. Tokens that it holds already stay.

        Raises:
            ValueError: The text could not be searched to its end.
        """
        out: list[str] = []
        at = 0
        for start, end in self._tokens.known(text):
            out += [self._piece(text[at:start], key, text), text[start:end]]
            at = end
        out.append(self._piece(text[at:], key, text))
        return "".join(out)

    def value(self, value: Any, keys: ContentKeys = NO_KEYS) -> Any:
        """Returns the value with tokens in its texts; the same object where there was nothing to replace.

        Raises:
            ValueError: A text could not be searched to its end, or a value cannot be changed.
        """
        return ChangedValue(self.text, keys).of(value)

    def restored(self, value: Any) -> Any:
        """Returns the value with the original values in place of their tokens.

        Raises:
            UnchangeableError: A value cannot be changed.
        """
        return ChangedValue(lambda text, _: self._tokens.restored(text)).of(value)

    def _piece(self, text: str, key: str, around: str) -> str:
        if not text:
            return text
        out: list[str] = []
        at = 0
        for place in self._find(text, key):
            self.count += 1
            token = self._tokens.token(place.rule_id, text[place.start : place.end], around)
            out += [text[at : place.start], token]
            at = place.end
        return "".join([*out, text[at:]]) if out else text
