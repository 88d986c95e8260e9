"""Login by a one-time link, and the sessions of the browsers that used one."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable

LINK_S: Final = 300.0
"""Seconds in which a login link can be used."""

SESSION_S: Final = 12 * 3600.0
"""Seconds that a session lasts."""

_MAX_SESSIONS: Final = 64
_MAX_FAILURES: Final = 20  # wrong links before the login is closed until a new link is made


class Sessions:
    """The login links and sessions of one server; all of them end with its process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Starts without a session.

        Args:
            clock: Gives seconds.
        """
        self._clock = clock
        self._secret = secrets.token_bytes(32)
        self._link: tuple[bytes, float] | None = None
        self._failures = 0
        self._open: dict[bytes, float] = {}
        self._lock = threading.Lock()

    def new_link(self) -> str:
        """A token of 256 bits that logs one browser in, once; an earlier one is void."""
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._link = _digest(token), self._clock() + LINK_S
            self._failures = 0
        return token

    def login(self, token: str) -> str | None:
        """The id of a new session for a valid link; ``None`` for any other."""
        with self._lock:
            if self._link is None or self._failures >= _MAX_FAILURES:
                return None
            expected, until = self._link
            if not hmac.compare_digest(expected, _digest(token)) or self._clock() > until:
                self._failures += 1
                return None
            self._link = None
            session = secrets.token_urlsafe(32)
            if len(self._open) >= _MAX_SESSIONS:
                del self._open[next(iter(self._open))]
            self._open[_digest(session)] = self._clock() + SESSION_S
            return session

    def is_open(self, session: str) -> bool:
        """Returns whether a session id is valid."""
        with self._lock:
            until = self._open.get(_digest(session))
            return until is not None and self._clock() <= until

    def close(self, session: str) -> None:
        """Ends a session."""
        with self._lock:
            self._open.pop(_digest(session), None)

    def form_token(self, session: str) -> str:
        """The token that each form of a session carries."""
        return hmac.new(self._secret, session.encode("utf-8", "replace"), hashlib.sha256).hexdigest()

    def is_form_token(self, session: str, token: str) -> bool:
        """Returns whether a form carries the token of its session."""
        return hmac.compare_digest(self.form_token(session).encode(), token.encode("utf-8", "replace"))


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
