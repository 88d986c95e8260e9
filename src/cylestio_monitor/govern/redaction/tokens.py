"""Typed tokens that stand for secrets and personal data: one token for one value within a session."""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from typing import Final

from cylestio_monitor.govern.recent import entry_of

_TOKEN: Final = re.compile(r"\[[A-Z][A-Z0-9_]{0,60}_[1-9]\d{0,6}\]")
_MAX_VALUES: Final = 10_000  # of one session
_MAX_SESSIONS: Final = 1024
_OTHER: Final = re.compile(r"[^A-Z0-9]+")


class SessionTokens:
    """The tokens of one session; the values are in memory only. Safe to use from any thread."""

    def __init__(self) -> None:
        """Knows no value yet."""
        self._tokens: OrderedDict[str, str] = OrderedDict()
        self._values: dict[str, str] = {}
        self._numbers: dict[str, int] = {}
        self._lock = threading.Lock()

    def token(self, rule_id: str, value: str, around: str) -> str:
        """Returns the token of a value, such as ``[EMAIL_1]``.

        Args:
            rule_id: The rule that found the value; its last part is the type.
            value: The value.
            around: The text that the token will stand in: a token that it holds already is not given to another value.
        """
        kind = _OTHER.sub("_", rule_id.rpartition(".")[2].upper()).strip("_")[:60] or "VALUE"
        with self._lock:
            known = self._tokens.get(value)
            if known is not None:
                self._tokens.move_to_end(value)
                return known
            number = self._numbers.get(kind, 0) + 1
            while (token := f"[{kind}_{number}]") in around:
                number += 1
            self._numbers[kind] = number
            self._tokens[value], self._values[token] = token, value
            if len(self._tokens) > _MAX_VALUES:
                _, oldest = self._tokens.popitem(last=False)
                del self._values[oldest]
            return token

    def known(self, text: str) -> list[tuple[int, int]]:
        """Returns the places of the tokens in a text that stand for a value."""
        if not self._values or "[" not in text:
            return []
        with self._lock:
            return [match.span() for match in _TOKEN.finditer(text) if match[0] in self._values]

    def restored(self, text: str) -> str:
        """Returns the text with the value in place of each token that stands for one."""
        if not self._values or "[" not in text:
            return text
        with self._lock:
            return _TOKEN.sub(lambda match: self._values.get(match[0], match[0]), text)


class OpenTokens:
    """The tokens of all sessions, bounded; the session used longest ago goes first."""

    def __init__(self) -> None:
        """Knows no session yet."""
        self._sessions: OrderedDict[str, SessionTokens] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, session: str) -> SessionTokens:
        """Returns the tokens of a session."""
        with self._lock:
            return entry_of(self._sessions, session, SessionTokens, _MAX_SESSIONS)
