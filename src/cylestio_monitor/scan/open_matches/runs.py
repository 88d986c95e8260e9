"""Runs of characters that may encode a text: base64, hexadecimal digits, variation selectors.

A run is decoded as a whole, so nothing of it is decided while it may go on.
"""

from __future__ import annotations

import binascii
from typing import Final

from cylestio_monitor.scan.normalisation.encodings import (
    CONTROLS,
    FEWEST_SELECTORS,
    SHORTEST_BASE64,
    URL_SAFE,
    may_begin_text,
)

NONE: Final = -1
_BASE64: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/_-")
_HEX: Final = frozenset("0123456789abcdefABCDEF")
_SEPARATORS: Final = frozenset(" :,")
_FEWEST_PAIRS: Final = 8
_HEAD: Final = 48


class Base64Run:
    """The run of base64 that the text so far ends with.

    Attributes:
        start: Its first code point; `NONE` where there is none, or none that says something.
    """

    __slots__ = ("_head", "_is_padded", "_start", "start")

    def __init__(self) -> None:
        """Starts outside a run."""
        self.start = self._start = NONE
        self._head: list[str] = []
        self._is_padded = False

    def take(self, character: str, at: int) -> bool:
        """Takes the next character; returns whether a run that may say something has ended before it."""
        if character in _BASE64 and not self._is_padded:
            if self._start < 0:
                self._start = self.start = at
                self._head = [character]
            elif len(self._head) < _HEAD:
                self._head.append(character)
                if len(self._head) % SHORTEST_BASE64 == 0 and not self._says_something():
                    self.start = NONE
            return False
        if character == "=" and self._start >= 0:
            self._is_padded = True
            return False
        ended = self.start >= 0 and len(self._head) >= SHORTEST_BASE64
        was_padded = self._is_padded
        self.start = self._start = NONE
        self._is_padded = False
        if was_padded and character in _BASE64:
            self._start = self.start = at
            self._head = [character]
        return ended

    def _says_something(self) -> bool:
        try:
            return may_begin_text(binascii.a2b_base64("".join(self._head).translate(URL_SAFE)))
        except binascii.Error:
            return False


class HexRun:
    """The run of pairs of hexadecimal digits that the text so far ends with.

    Attributes:
        start: Its first code point; `NONE` where there is none, or none that says something.
    """

    __slots__ = ("_before", "_bytes", "_half", "_is_spoilt", "_whole", "start")

    def __init__(self) -> None:
        """Starts outside a run."""
        self.start = NONE
        self._before = ""
        self._begin(NONE)

    def _begin(self, at: int) -> None:
        self.start = at
        self._bytes = bytearray()
        self._half = ""
        self._whole = 0  # pairs up to the last separator
        self._is_spoilt = False

    def take(self, character: str, at: int) -> bool:
        """Takes the next character; returns whether a run that may say something has ended before it."""
        before, self._before = self._before, character
        if character in _HEX:
            if self.start < 0:
                if before.isalnum() and before.isascii():
                    return False
                self._begin(at)
            if self._half:
                self._pair(int(self._half + character, 16))
            else:
                self._half = character
            return False
        if self.start < 0:
            return False
        if character in _SEPARATORS and not self._half and self._bytes and before not in _SEPARATORS:
            self._whole = len(self._bytes)
            if self._is_spoilt:
                self.start = NONE
            return False
        if character in "xX" and self._half == "0" and not self._bytes:
            self._half = ""
            return False
        self.start = NONE
        return len(self._bytes) >= _FEWEST_PAIRS

    def _pair(self, code: int) -> None:
        self._half = ""
        self._bytes.append(code)
        count = len(self._bytes)
        says = code not in CONTROLS
        if says and count <= _HEAD and count % _FEWEST_PAIRS == 0:
            says = may_begin_text(bytes(self._bytes))
        if not says:
            # The run may still end before its last separator, where what follows that is no pair.
            self._is_spoilt = True
            if self._whole < _FEWEST_PAIRS:
                self.start = NONE


class SelectorRun:
    """The run of variation selectors that the text so far ends with.

    Attributes:
        start: Its first code point; `NONE` where there is none.
    """

    __slots__ = ("_length", "start")

    def __init__(self) -> None:
        """Starts outside a run."""
        self.start = NONE
        self._length = 0

    def take(self, character: str, at: int) -> bool:
        """Takes the next character; returns whether a run that may say something has ended before it."""
        if "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef":
            if self.start < 0:
                self.start, self._length = at, 0
            self._length += 1
            return False
        ended = self.start >= 0 and self._length >= FEWEST_SELECTORS
        self.start = NONE
        return ended
