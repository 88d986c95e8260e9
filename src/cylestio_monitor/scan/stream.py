"""Scans a text that arrives in chunks: each finding once, at the earliest chunk that proves it."""

from __future__ import annotations

import logging
from bisect import bisect_left
from dataclasses import replace
from typing import TYPE_CHECKING

from cylestio_monitor.model import incomplete
from cylestio_monitor.scan.budget import Budget
from cylestio_monitor.scan.matching.confirm import Limits

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.model import Finding, Subtype, Target
    from cylestio_monitor.scan.matching.confirm import Match
    from cylestio_monitor.scan.matching.search import Search

_log = logging.getLogger(__name__)
OVERLAP = 1024
"""Code points before a chunk that are scanned again with it; `TextStream.finish` finds a wider match."""

_LONGEST = 4_000_000


class TextStream:
    """Scans a text as it arrives.

    A match that touches the end of what has arrived may still grow or dissolve, so it is reported with the next chunk
    or at the end. Offsets are those of the whole stream.
    """

    def __init__(
        self,
        search: Search,
        findings: Callable[[list[Match], str], list[Finding]],
        *,
        target: Target,
        subtype: Subtype,
        path: str,
        enabled: bool = True,
    ) -> None:
        """Creates an empty stream; call `Scanner.stream` instead.

        Args:
            search: Searches a text.
            findings: Makes findings of matches and the text they are in.
            target: The side of the call.
            subtype: The surface.
            path: The place of the text in the call.
            enabled: Whether the stream is scanned.
        """
        self._search = search
        self._findings = findings
        self._target: Target = target
        self._subtype: Subtype = subtype
        self._path = path
        self._enabled = enabled
        self._chunks: list[str] = []
        self._tail = ""
        self._length = 0
        self._reported: dict[str, list[tuple[int, int]]] = {}
        self._is_incomplete = False

    def feed(self, chunk: str) -> list[Finding]:
        """Takes the next chunk; returns the findings that it completes, by place."""
        if not self._enabled or not chunk:
            return []
        if self._length > _LONGEST:
            return self._incomplete("length")
        self._chunks.append(chunk)
        self._length += len(chunk)
        window = self._tail + chunk
        self._tail = window[-OVERLAP:]
        return self._scan(window, self._length - len(window), open_end=True)

    def finish(self, last: str = "") -> list[Finding]:
        """Ends the stream with the last chunk; returns the findings that only the whole text proves, by place.

        A second call finds nothing.
        """
        if self._enabled and last and self._length <= _LONGEST:
            self._chunks.append(last)
        if not self._chunks:
            return []
        whole = "".join(self._chunks)
        self._chunks.clear()
        return self._scan(whole, 0, open_end=False)

    def _scan(self, window: str, offset: int, *, open_end: bool) -> list[Finding]:
        budget = Budget()
        found: list[Finding] = []
        try:
            matches = self._search.matches(window, self._target, self._subtype, limits=Limits(budget))
            fresh = [match for match in matches if self._is_new(match, window, offset, open_end=open_end)]
            if fresh:
                found = self._findings(fresh, window)
        except Exception as error:  # noqa: BLE001 -- a fault of the scanner must not reach the application
            _log.exception("a part of a stream could not be scanned")
            budget.stop(type(error).__name__)
        if offset:
            found = [replace(one, start=one.start + offset, end=one.end + offset) for one in found]
        found.sort(key=lambda finding: (finding.start, finding.rule_id))
        return found + self._incomplete(budget.reason) if budget.reason else found

    def _is_new(self, match: Match, window: str, offset: int, *, open_end: bool) -> bool:
        """Returns whether a match is complete and was not reported, and notes it.

        The cost does not grow with the matches that were reported, which in a long answer are thousands.
        """
        rule, start, end = match
        if open_end and (end >= len(window) or (offset and start == 0) or rule.needs_more(window, end)):
            return False
        start, end = start + offset, end + offset
        reported = self._reported.setdefault(rule.rule_id, [])
        # No two of them overlap, so that of those that begin before the match ends the last one ends last.
        place = bisect_left(reported, (end, 0))
        if place and reported[place - 1][1] > start:
            return False
        reported.insert(place, (start, end))
        return True

    def _incomplete(self, reason: str) -> list[Finding]:
        if self._is_incomplete:
            return []
        self._is_incomplete = True
        return [incomplete(reason, target=self._target, subtype=self._subtype, path=self._path)]
