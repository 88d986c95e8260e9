"""Findings with the place that a build pipeline shows: file, line and column, or trace and span."""

from __future__ import annotations

import re
from bisect import bisect_right
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from cylestio_monitor.ci import segments
from cylestio_monitor.model import ALERT_OF, SEVERITY_NUMBER

if TYPE_CHECKING:
    from collections.abc import Iterable

    from cylestio_monitor.ci.files import TextFile
    from cylestio_monitor.ci.segments import Segment, Surface
    from cylestio_monitor.model import Finding
    from cylestio_monitor.scan import Scanner
    from cylestio_monitor.store.read.findings import FindingRow

MAX_PER_FILE: Final = 1000
"""Most findings that are kept of one file."""

_ESCAPE: Final = re.compile(r"\\(?:u[0-9a-fA-F]{4}|.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class PlacedFinding:
    """One finding and its place.

    Attributes:
        rule_id: The rule.
        category: The category.
        severity: ``low`` to ``critical``.
        target: ``input`` or ``output``.
        subtype: The surface.
        file: The file; empty for a finding of a store.
        line: The line, from 1; 0 for a finding of a store.
        column: The first column, from 1.
        end_column: The column after the last one, on the same line.
        start: The first code point of the match in the file, or in the recorded part.
        end: The code point after the last.
        path: The place in a JSON document or in a call.
        owasp: OWASP identifiers.
        atlas: MITRE ATLAS identifiers.
        match_hash: Keyed hash of the match.
        trace_id: The trace of a finding of a store.
        span_id: The span of a finding of a store.
        time: The time of a finding of a store, UTC.
        agent_id: The agent of a finding of a store.
    """

    rule_id: str
    category: str
    severity: str
    target: str
    subtype: str
    file: str = ""
    line: int = 0
    column: int = 0
    end_column: int = 0
    start: int = 0
    end: int = 0
    path: str = ""
    owasp: tuple[str, ...] = ()
    atlas: tuple[str, ...] = ()
    match_hash: str = ""
    trace_id: str = ""
    span_id: str = ""
    time: str = ""
    agent_id: str = ""

    @property
    def alert(self) -> str:
        """``suspicious`` or ``dangerous``."""
        return ALERT_OF[self.severity]

    def reaches(self, severity: str) -> bool:
        """Tells if the severity is at least the given one."""
        return SEVERITY_NUMBER[self.severity] >= SEVERITY_NUMBER[severity]


def of_file(scanner: Scanner, file: TextFile, surface: Surface | None = None) -> list[PlacedFinding]:
    """Scans one file. A match of severity ``none``, such as a web address, is no finding.

    Args:
        scanner: The scanner.
        file: The file.
        surface: The surface of the whole text; without it, name and content of the file decide.
    """
    lines = [0, *(match.end() for match in re.finditer("\n", file.text))]
    found = []
    for segment in segments.split(file, surface):
        target, subtype = segment.surface
        if segment.key is None:
            findings = scanner.text(segment.text, target=target, subtype=subtype)
        else:  # the key tells what a value is, such as `password`
            findings = scanner.value({segment.key: segment.text}, target=target, subtype=subtype)
        found += [_placed(finding, segment, file, lines) for finding in findings if finding.severity != "none"]
        if len(found) >= MAX_PER_FILE:
            break
    return sorted(found[:MAX_PER_FILE], key=lambda one: (one.start, one.rule_id))


def of_store(rows: Iterable[FindingRow]) -> list[PlacedFinding]:
    """Converts rows of the findings of a store."""
    return [
        PlacedFinding(
            rule_id=row.rule_id,
            category=row.category,
            severity=row.severity,
            target=row.target,
            subtype=row.subtype,
            start=row.start,
            end=row.end,
            path=row.path or "",
            owasp=tuple(row.owasp),
            atlas=tuple(row.atlas),
            match_hash=row.match_hash or "",
            trace_id=row.trace_id or "",
            span_id=row.span_id or "",
            time=row.timestamp,
            agent_id=row.agent_id or "",
        )
        for row in rows
        if row.severity in SEVERITY_NUMBER and row.severity != "none"
    ]


def _placed(finding: Finding, segment: Segment, file: TextFile, lines: list[int]) -> PlacedFinding:
    # A finding in a key, or one without an offset of its own, is placed at the value.
    is_inside = segment.key is None or finding.path == segment.key
    start, end = (finding.start, finding.end) if is_inside else (0, len(segment.text))
    if segment.escaped:
        start, end = _raw_offsets(file.text, segment.start, start, end)
    start, end = segment.start + start, segment.start + end
    line = bisect_right(lines, start)
    first = lines[line - 1]
    line_end = lines[line] - 1 if line < len(lines) else len(file.text)
    return PlacedFinding(
        rule_id=finding.rule_id,
        category=finding.category,
        severity=finding.severity,
        target=finding.target,
        subtype=finding.subtype,
        file=file.name,
        line=line,
        column=start - first + 1,
        end_column=max(min(end, line_end), start + 1) - first + 1,
        start=start,
        end=end,
        path=segment.path,
        owasp=finding.owasp,
        atlas=finding.atlas,
        match_hash=finding.match_hash,
    )


def _raw_offsets(text: str, origin: int, start: int, end: int) -> tuple[int, int]:
    """Translates offsets of a decoded JSON string into offsets of its source."""
    places = []
    raw, decoded = origin, 0
    for wanted in (start, end):
        while decoded < wanted:
            escape = _ESCAPE.match(text, raw)
            if escape is None:
                raw, decoded = raw + 1, decoded + 1
                continue
            raw, decoded = escape.end(), decoded + 1
            if escape[0][:4].lower() in _HIGH_SURROGATES and text[raw : raw + 2] == "\\u":
                raw += 6  # the second half of the same code point
        places.append(raw - origin)
    return places[0], places[1]


_HIGH_SURROGATES: Final = frozenset({"\\ud8", "\\ud9", "\\uda", "\\udb"})
