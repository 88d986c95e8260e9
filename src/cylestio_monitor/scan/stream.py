"""A text that comes in chunks: findings across chunk borders, each once, at the earliest chunk that proves it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.model import Finding, Subtype, Target
    from cylestio_monitor.scan.matching.confirm import Match
    from cylestio_monitor.scan.matching.search import Search

_log = logging.getLogger(__name__)
OVERLAP = 1024
"""Code points before a chunk that are looked at again with it; a wider match is found by `TextStream.finish`."""

_KEPT = 4_000_000


class TextStream:
    """Scans a text as it arrives.

    A match that touches the end of what has come may still grow or dissolve, so it is held back until the next chunk
    or the end. Offsets are those of the whole stream.
    """

    def __init__(
        self,
        search: Search,
        findings: Callable[[list[Match], str, Target, Subtype, str], list[Finding]],
        *,
        target: Target,
        subtype: Subtype,
        path: str,
        enabled: bool = True,
    ) -> None:
        """Begins an empty stream; `Scanner.stream` is the way to it."""
        self._search = search
        self._make = findings
        self._where: tuple[Target, Subtype, str] = (target, subtype, path)
        self._enabled = enabled
        self._chunks: list[str] = []
        self._tail = ""
        self._length = 0
        self._told: dict[str, list[tuple[int, int]]] = {}

    def feed(self, chunk: str) -> list[Finding]:
        """Takes the next chunk; what it proves, by place."""
        if not self._enabled or not chunk or self._length > _KEPT:
            return []
        self._chunks.append(chunk)
        self._length += len(chunk)
        window = self._tail + chunk
        self._tail = window[-OVERLAP:]
        try:
            return self._look(window, self._length - len(window), open_end=True)
        except Exception:  # noqa: BLE001 -- no fault of the scanner reaches the application
            _log.exception("a chunk could not be scanned")
            return []

    def finish(self, last: str = "") -> list[Finding]:
        """Ends the stream, with the last chunk: what only the whole text proves, by place.

        A second call finds nothing.
        """
        if self._enabled and last and self._length <= _KEPT:
            self._chunks.append(last)
        if not self._chunks:
            return []
        whole = "".join(self._chunks)
        self._chunks.clear()
        try:
            return self._look(whole, 0, open_end=False)
        except Exception:  # noqa: BLE001 -- no fault of the scanner reaches the application
            _log.exception("a stream could not be scanned")
            return []

    def _look(self, window: str, offset: int, *, open_end: bool) -> list[Finding]:
        target, subtype, path = self._where
        matches = self._search.matches(window, target, subtype)
        if not matches:
            return []
        fresh = []
        for match in matches:
            plan, start, end = match
            if open_end and (end >= len(window) or (offset and start == 0)):
                continue
            if open_end and plan.needs_more(window, end):
                continue
            told = self._told.setdefault(plan.rule_id, [])
            if any(start + offset < last and first < end + offset for first, last in told):
                continue
            told.append((start + offset, end + offset))
            fresh.append(match)
        if not fresh:
            return []
        found = self._make(fresh, window, target, subtype, path)
        moved = [_moved(finding, offset) for finding in found] if offset else found
        return sorted(moved, key=lambda finding: (finding.start, finding.rule_id))


def _moved(finding: Finding, offset: int) -> Finding:
    from dataclasses import replace  # noqa: PLC0415 -- only where a stream has a finding

    return replace(finding, start=finding.start + offset, end=finding.end + offset)
