"""Redaction of one streamed answer: each of its texts is held back by itself."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cylestio_monitor.govern.redaction.held_json import HeldJSON
from cylestio_monitor.govern.redaction.held_text import HeldText
from cylestio_monitor.govern.redaction.redactor import Redactor

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable

    from cylestio_monitor.govern.redaction.held_text import OpenPlaces
    from cylestio_monitor.govern.redaction.redactor import Find
    from cylestio_monitor.govern.redaction.tokens import SessionTokens
    from cylestio_monitor.govern.redaction.values import ContentKeys

_MOST_TEXTS: Final = 1024
"""Most texts of one answer that may be open at once."""

_BASE64: Final = re.compile(r"data:\S*|[A-Za-z0-9+/_=-]+", re.ASCII)


class Rest(NamedTuple):
    """The part of a text that was held back until the text ended.

    Attributes:
        place: The place of the text in its delta: names of fields and numbers of items.
        text: The text with tokens.
    """

    place: tuple[str | int, ...]
    text: str


class StreamedRedaction:
    """The redaction of one streamed answer.

    A text of it is known by a group, which ends as a whole, such as a content block, and by its place in the deltas of
    that group.

    Attributes:
        keys: The keys of the provider's JSON whose values are no plain text.
    """

    def __init__(self, find: Find, tokens: SessionTokens, watch: Callable[[], OpenPlaces], keys: ContentKeys) -> None:
        """Starts before the first event.

        Args:
            find: Finds secrets and personal data.
            tokens: The tokens of the session.
            watch: Makes what follows the matches of a text that arrives in pieces.
            keys: The keys of the provider's JSON whose values are no plain text.
        """
        self.keys = keys
        self._find = find
        self._tokens = tokens
        self._watch = watch
        self._groups: dict[Hashable, dict[tuple[str | int, ...], HeldText | HeldJSON]] = {}
        self._whole = Redactor(find, tokens)
        self._counted = 0

    @property
    def count(self) -> int:
        """The values replaced so far."""
        open_ones = sum(text.count for group in self._groups.values() for text in group.values())
        return self._counted + self._whole.count + open_ones

    def piece(self, group: Hashable, place: tuple[str | int, ...], text: str, key: str) -> str:
        """Takes a piece of a text; returns what of the text passes by now.

        Args:
            group: What the text is a part of.
            place: Its place in the deltas of the group.
            text: The piece.
            key: The nearest key above it.

        Raises:
            ValueError: The text cannot be redacted: too much would have to be held back.
        """
        if not text or key in self.keys.fixed or (key in self.keys.binary and _BASE64.fullmatch(text)):
            return text
        texts = self._groups.setdefault(group, {})
        held = texts.get(place)
        if held is None:
            if sum(map(len, self._groups.values())) >= _MOST_TEXTS:
                raise ValueError("too many texts are open at once")
            held = texts[place] = self._json() if key in self.keys.json_keys else self._text()
        return held.feed(text)

    def ended(self, group: Hashable) -> list[Rest]:
        """Returns what was held back of the texts of a group, which ends.

        Raises:
            ValueError: As of `piece`.
        """
        out: list[Rest] = []
        for place, held in self._groups.pop(group, {}).items():
            text = held.finish()
            self._counted += held.count
            if text:
                out.append(Rest(place, text))
        return out

    def groups(self) -> list[Hashable]:
        """Returns the groups that have not ended."""
        return list(self._groups)

    def value(self, value: Any, *, is_repeated: bool = False) -> Any:
        """Returns a value that is there as a whole with tokens; the same object where there is nothing to replace.

        Args:
            value: The value.
            is_repeated: It says again what came in pieces, so that its values are counted already.

        Raises:
            ValueError: It cannot be redacted.
        """
        redactor = Redactor(self._find, self._tokens) if is_repeated else self._whole
        return redactor.value(value, self.keys)

    def _text(self) -> HeldText:
        return HeldText(self._find, self._tokens, self._watch)

    def _json(self) -> HeldJSON:
        return HeldJSON(self._text, Redactor(self._find, self._tokens))
