"""A JSON text on its way through, piece by piece: the texts inside it are redacted, each by itself."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from cylestio_monitor.govern.redaction.values import ChangedValue
from cylestio_monitor.scan.matching.named_fields import is_secret_name

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.govern.redaction.held_text import HeldText
    from cylestio_monitor.govern.redaction.redactor import Redactor

_LONGEST_NAMED: Final = 512
"""Code points up to which the value of a key such as ``password`` is a secret as a whole."""

_LONGEST_WORD: Final = 64
_MOST_DEPTH: Final = 200
_INTEGER: Final = re.compile(r"-?\d+", re.ASCII)
_NUMBER: Final = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?", re.ASCII)
_WORDS: Final = frozenset({"", "true", "false", "null"})
_SIGNS: Final = frozenset(' \t\r\n,:"{}[]')
_ESCAPES: Final = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", '"': '"', "\\": "\\", "/": "/"}


class _Level:
    """An object or a list that is open, or the whole text around them.

    Attributes:
        is_object: It is an object.
        key: The nearest key above its values.
        at_key: The next text is a key.
    """

    __slots__ = ("at_key", "is_object", "key")

    def __init__(self, key: str, *, is_object: bool) -> None:
        self.is_object = is_object
        self.key = key
        self.at_key = is_object


class HeldJSON:
    """One JSON text that arrives in pieces, such as the arguments of a tool call.

    What passes is JSON for the value that a redaction of the whole value gives. From a place on that is no JSON, the
    rest is redacted as a text.

    Attributes:
        count: The values replaced so far.
    """

    def __init__(self, texts: Callable[[], HeldText], redactor: Redactor) -> None:
        """Starts before the first character.

        Args:
            texts: Makes the redaction of one text in pieces.
            redactor: Redacts a text that is there as a whole.
        """
        self._texts = texts
        self._redactor = redactor
        self._levels = [_Level("", is_object=False)]
        self._plain: HeldText | None = None
        self._text: HeldText | None = None
        self._key: list[str] = []
        self._named: list[str] | None = None
        self._is_key = False
        self._escape = ""
        self._surrogate = ""
        self._word = ""
        self._replaced = 0

    @property
    def count(self) -> int:
        """The values replaced so far."""
        open_ones = [text.count for text in (self._text, self._plain) if text is not None]
        return self._replaced + self._redactor.count + sum(open_ones)

    @property
    def is_empty(self) -> bool:
        """Nothing is held back."""
        texts = [text for text in (self._text, self._plain) if text is not None]
        return all(text.is_empty for text in texts) and not (
            self._named or self._word or self._escape or self._surrogate
        )

    def feed(self, piece: str) -> str:
        """Takes the next piece; returns the JSON that is decided by now.

        Raises:
            ValueError: As of `HeldText.feed`.
        """
        out: list[str] = []
        at = 0
        while at < len(piece):
            if self._plain is not None:
                out.append(self._plain.feed(piece[at:]))
                break
            at = self._inside(piece, at, out) if self._text is not None else self._outside(piece, at, out)
        return "".join(out)

    def finish(self) -> str:
        """Returns the rest; another JSON text may follow.

        Raises:
            ValueError: As of `HeldText.finish`.
        """
        out: list[str] = [self._ended_word()]
        if self._text is not None:
            out += [self._said(self._surrogate), self._rest_of_text(), self._escape]
        if self._plain is not None:
            out.append(self._plain.finish())
            self._replaced += self._plain.count
        del self._levels[1:]
        self._plain = self._text = None
        self._escape = self._surrogate = ""
        return "".join(out)

    def _outside(self, piece: str, at: int, out: list[str]) -> int:
        """Takes one character between texts; returns the place of the next one."""
        character = piece[at]
        if character not in _SIGNS:
            self._word += character
            if len(self._word) > _LONGEST_WORD:
                out.append(self._ended_word())
            return at + 1
        out.append(self._ended_word())
        if self._plain is not None:
            return at
        level = self._levels[-1]
        if character == '"':
            self._begin_text(level)
        elif character in "{[":
            if len(self._levels) > _MOST_DEPTH:
                raise ValueError("the arguments are too deep")
            self._levels.append(_Level(level.key, is_object=character == "{"))
        elif character in "}]":
            if len(self._levels) > 1:
                self._levels.pop()
        elif character == ",":
            level.at_key = level.is_object
        out.append(character)
        return at + 1

    def _begin_text(self, level: _Level) -> None:
        self._text = self._texts()
        self._is_key = level.at_key
        self._key = []
        self._named = [] if not self._is_key and is_secret_name(level.key) else None

    def _inside(self, piece: str, at: int, out: list[str]) -> int:
        """Takes what stands up to the next sign or the end of a text; returns the place behind it."""
        if self._escape:
            return self._escaped(piece, at, out)
        end = at
        while end < len(piece) and piece[end] not in '"\\':
            end += 1
        if end > at:
            out.append(self._said(self._surrogate + piece[at:end]))
            self._surrogate = ""
            return end
        if piece[at] == "\\":
            self._escape = "\\"
            return at + 1
        out += [self._said(self._surrogate), self._rest_of_text(), '"']
        self._surrogate = ""
        if self._is_key:
            level = self._levels[-1]
            level.key, level.at_key = "".join(self._key)[-_LONGEST_NAMED:], False
        self._text = None
        return at + 1

    def _escaped(self, piece: str, at: int, out: list[str]) -> int:
        self._escape += piece[at]
        kind = self._escape[1]
        if kind == "u":
            if len(self._escape) < 6:
                return at + 1
            try:
                character = chr(int(self._escape.removeprefix("\\u"), 16))
            except ValueError:
                character = "\ufffd"
        else:
            character = _ESCAPES.get(kind, kind)
        self._escape = ""
        if "\ud800" <= character <= "\udbff":
            out.append(self._said(self._surrogate))
            self._surrogate = character
            return at + 1
        if self._surrogate and "\udc00" <= character <= "\udfff":
            character = chr(0x10000 + (ord(self._surrogate) - 0xD800 << 10) + ord(character) - 0xDC00)
            self._surrogate = ""
        out.append(self._said(self._surrogate + character))
        self._surrogate = ""
        return at + 1

    def _said(self, text: str) -> str:
        """Takes more of the open text; returns what is decided by now, as JSON."""
        if not text or self._text is None:
            return ""
        if self._is_key and sum(map(len, self._key)) <= _LONGEST_NAMED:
            self._key.append(text)
        if self._named is None:
            return _encoded(self._text.feed(text))
        self._named.append(text)
        if sum(map(len, self._named)) <= _LONGEST_NAMED:
            return ""
        text, self._named = "".join(self._named), None
        return _encoded(self._text.feed(text))

    def _rest_of_text(self) -> str:
        if self._text is None:
            return ""
        if self._named is not None:
            text, self._named = "".join(self._named), None
            return _encoded(self._redactor.text(text, self._levels[-1].key))
        rest = self._text.finish()
        self._replaced += self._text.count
        self._text.count = 0
        return _encoded(rest)

    def _ended_word(self) -> str:
        """Returns a number or a word as it passes; what is neither begins the rest, which is no JSON."""
        text, self._word = self._word, ""
        if text in _WORDS:
            return text
        if not _NUMBER.fullmatch(text):
            self._plain = self._texts()
            return self._plain.feed(text)
        number = int(text) if _INTEGER.fullmatch(text) else float(text)
        changed = ChangedValue(self._redactor.text).of(number, self._levels[-1].key)
        return text if changed is number else json.dumps(changed)


def _encoded(text: str) -> str:
    """Returns a text as the inside of a JSON text."""
    if not text:
        return ""
    return json.dumps(text, ensure_ascii=not text.isprintable())[1:-1]
