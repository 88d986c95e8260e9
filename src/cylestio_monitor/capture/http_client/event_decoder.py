"""Decoding of streamed HTTP bodies: server-sent events by their standard, and JSON by line."""

from __future__ import annotations

import json
import re

_LINE_END = re.compile(rb"\r\n|\r|\n")
_MAX_ATTEMPTS = 64
"""Data lines of one event after which it is tried whether they already form JSON."""


class EventDecoder:
    """Turns the bytes of a stream into the JSON texts of its events.

    Lines end with a line feed, a carriage return, or both; the data lines of an event are joined by line feeds;
    comments and other fields are skipped. An event is given as soon as its data form a JSON object, without waiting
    for the empty line after it, because an application that reads lines has it by then.
    """

    def __init__(self, *, is_json_lines: bool = False) -> None:
        """Starts before the first byte.

        Args:
            is_json_lines: Each line is one JSON object, without the field names of server-sent events.
        """
        self._is_json_lines = is_json_lines
        self._rest = b""
        self._is_first = True
        self._ends_with_cr = False
        self._data: list[bytes] = []
        self._lines = 0

    def feed(self, chunk: bytes) -> list[bytes]:
        """Takes the next bytes and returns the events that are complete."""
        if self._ends_with_cr and chunk:
            chunk = chunk.removeprefix(b"\n")  # the second half of a line end
            self._ends_with_cr = False
        text = self._rest + chunk
        if self._is_first and len(text) >= len(b"\xef\xbb\xbf"):
            text = text.removeprefix(b"\xef\xbb\xbf")
            self._is_first = False
        lines = _LINE_END.split(text)
        self._rest = lines.pop()
        self._ends_with_cr = text.endswith(b"\r")
        return [event for line in lines for event in self._line(line)]

    def finish(self) -> list[bytes]:
        """Returns the event that the end of the stream completes."""
        events = self._line(self._rest) if self._rest else []
        self._rest = b""
        return [*events, *self._line(b"")]

    def _line(self, line: bytes) -> list[bytes]:
        if self._is_json_lines:
            line = line.strip()
            return [line] if line else []
        if not line:
            data, self._data, self._lines = self._data, [], 0
            return [b"\n".join(data)] if data else []
        field, colon, value = line.partition(b":")
        if field != b"data":
            return []
        self._data.append(value.removeprefix(b" ") if colon else b"")
        self._lines += 1
        if self._lines <= _MAX_ATTEMPTS and self._data[0].lstrip()[:1] == b"{" and line.rstrip()[-1:] == b"}":
            whole = b"\n".join(self._data)
            if _is_json(whole):
                self._data = []
                return [whole]
        return []


def _is_json(text: bytes) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
