"""The group of each finding: findings of one flagged text, wherever and however often it is seen.

The group of a text is the keyed hash of its top rule, its source and its surface. A text that comes again in the same
run, as a tool result does in every later model call, stays in the group of its first place.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING, Final, NamedTuple

from cylestio_monitor.model import SEVERITY_NUMBER

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from cylestio_monitor.store.sqlite.rows import FindingRecord

_MOST_TEXTS: Final = 20_000
_COPIES: Final = 50  # findings with the same match that are looked through for one of the same run


class FlaggedText(NamedTuple):
    """Where findings of one text stand: findings that agree in all of these are of one text.

    Attributes:
        trace_id: The trace.
        span_id: The span.
        target: ``input`` or ``output``.
        subtype: The surface.
        path: The place in the call.
    """

    trace_id: str
    span_id: str
    target: str
    subtype: str
    path: str


class GroupOrigin(NamedTuple):
    """The facts of a group that its first finding decides.

    Attributes:
        rule_id: The top rule of the text.
        category: The category of that rule.
        source: First speaker, where it is known.
    """

    rule_id: str
    category: str
    source: str | None


class FindingGroups:
    """Assigns findings to groups; keeps the texts that this process has seen lately."""

    def __init__(self, key: bytes) -> None:
        """Knows no text.

        Args:
            key: Key of the hashes, 32 bytes.
        """
        self._key = key
        self._seen: dict[tuple[str, str, str, str], str] = {}
        self._origins: dict[str, GroupOrigin] = {}

    def assign(self, connection: sqlite3.Connection, findings: Iterable[FindingRecord]) -> None:
        """Sets the group of findings that have none.

        Args:
            connection: The store.
            findings: Findings in the order in which they came; all findings of one text are among them.
        """
        texts: dict[FlaggedText, list[FindingRecord]] = {}
        for one in findings:
            if one.severity in SEVERITY_NUMBER and one.severity != "none":
                place = FlaggedText(one.trace_id, one.span_id, one.target, one.subtype, one.path)
                texts.setdefault(place, []).append(one)
        for place, members in texts.items():
            self._assign_text(connection, place, members)

    def origin(self, finding: FindingRecord) -> GroupOrigin:
        """The facts of the group of a finding."""
        known = self._origins.get(finding.group_id or "")
        return known or GroupOrigin(finding.rule_id, finding.category, _source(finding))

    def _assign_text(
        self, connection: sqlite3.Connection, place: FlaggedText, members: Sequence[FindingRecord]
    ) -> None:
        top = max(members, key=lambda one: (SEVERITY_NUMBER[one.severity], bool(one.match_hash)))
        known = [one.group_id for one in members if one.group_id]
        group = known[0] if known else self._earlier(connection, place, members)
        if group is None:
            source = _source(top)
            parts = (top.rule_id, source or "", top.target, top.subtype)
            group = hmac.digest(self._key, "\x00".join(parts).encode("utf-8", "replace"), "sha256").hex()[:16]
            self._remember(group, GroupOrigin(top.rule_id, top.category, source))
        for one in members:
            one.group_id = one.group_id or group
            if one.match_hash:
                self._seen[place.trace_id, place.target, place.subtype, one.match_hash] = group
        if len(self._seen) > _MOST_TEXTS:
            self._seen.clear()

    def _earlier(
        self, connection: sqlite3.Connection, place: FlaggedText, members: Sequence[FindingRecord]
    ) -> str | None:
        """Returns the group of the same text at an earlier place of the run."""
        hashes = [one.match_hash for one in members if one.match_hash]
        for match_hash in hashes:
            group = self._seen.get((place.trace_id, place.target, place.subtype, match_hash))
            if group is not None:
                return group
        for match_hash in hashes:
            rows = connection.execute(
                "SELECT findings.trace_id, run.trace_id, target, subtype, group_id FROM findings "
                "LEFT JOIN run ON run.id = findings.run WHERE match_hash = ? ORDER BY timestamp DESC LIMIT ?",
                (match_hash, _COPIES),
            )
            for of_finding, of_run, target, subtype, group in rows:
                if group and place.trace_id in {of_finding, of_run} and place[2:4] == (target, subtype):
                    return str(group)
        return None

    def _remember(self, group: str, origin: GroupOrigin) -> None:
        if len(self._origins) > _MOST_TEXTS:
            self._origins.clear()
        self._origins[group] = origin


def _source(finding: FindingRecord) -> str | None:
    """Returns the first speaker; a result in the call of its tool is that tool's."""
    if finding.source is None and finding.subtype == "tool_result" and finding.tool:
        return f"tool:{finding.tool}"
    return finding.source
