"""Detection of the end of a JSON object or array that arrives in pieces."""

from __future__ import annotations

import re

_TOKENS = re.compile(r'\\(.?)|["{}\[\]]', re.DOTALL)


class JsonProgress:
    """Follows the nesting of JSON text, so that it is known as complete with its last bracket, before the stream ends.

    Each character is looked at once, whatever the pieces are. A scalar at the top is never reported as complete.
    """

    __slots__ = ("_depth", "_in_string", "_skips")

    def __init__(self) -> None:
        """Starts before the first character."""
        self._depth = 0
        self._in_string = False
        self._skips = 0

    def feed(self, piece: str) -> bool:
        """Takes the next piece and returns True if it ends an object or array at the top."""
        ended = False
        start, self._skips = self._skips, 0
        for token in _TOKENS.finditer(piece, start):
            sign = token.group()
            if sign[0] == "\\":
                self._skips = 0 if token.group(1) else 1
            elif sign == '"':
                self._in_string = not self._in_string
            elif not self._in_string:
                if sign in "{[":
                    self._depth += 1
                    ended = False
                else:
                    self._depth -= 1
                    ended = self._depth <= 0
        return ended
