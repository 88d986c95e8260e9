"""Incidents as they are read from the store: the lookup of what a person names, timeline, entry point, blast radius.

An incident names findings, traces, sessions and groups of findings. Its scope is the runs of these and the other runs
of their sessions. Every query is bounded; `Incident.is_complete` is false where a bound was reached.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from cylestio_monitor.errors import StoreError
from cylestio_monitor.model import SEVERITY_NUMBER
from cylestio_monitor.sanitize import clean_text
from cylestio_monitor.store.read import blast_radius, lists
from cylestio_monitor.store.read.findings import FINDINGS, FindingRow, decoded_row
from cylestio_monitor.store.read.values import decoded
from cylestio_monitor.store.sqlite.rows import MAX_NAME, time_ns_of

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from cylestio_monitor.store.read.blast_radius import BlastRadius, EntryPoint
    from cylestio_monitor.store.read.lists import IncidentRow, NoteRow, SpanSummary

Kind: TypeAlias = Literal["finding", "trace", "session", "group"]

MOST_RUNS: Final = 500
MOST_ROWS: Final = 5000
"""Largest number of spans, findings, decisions and events of one incident."""

_OWN_EVENTS: Final = ("incident_opened", "incident_changed", "note_added", "incident_exported")


class Subject(msgspec.Struct, frozen=True):
    """One thing that an incident is about.

    Attributes:
        kind: ``finding``, ``trace``, ``session`` or ``group``.
        ref: Its id.
        title: One line.
        severity_number: 0 to 4.
    """

    kind: Kind
    ref: str
    title: str
    severity_number: int


class TimelineEntry(msgspec.Struct, frozen=True):
    """One thing that happened.

    Attributes:
        time_ns: Nanoseconds since the epoch.
        kind: ``call``, ``finding``, ``decision``, ``approval``, ``event`` or ``note``.
        title: What happened, one line.
        detail: More about it, one line.
        severity: Of a finding.
        trace_id: The trace, where there is one.
        span_id: The span, where there is one.
    """

    time_ns: int
    kind: str
    title: str
    detail: str = ""
    severity: str | None = None
    trace_id: str | None = None
    span_id: str | None = None


class Incident(msgspec.Struct):
    """One incident with everything that the store knows about it.

    Attributes:
        row: State, owner and times.
        items: What it is about: kind and id.
        runs: The runs in its scope, by their key in the store.
        spans: The monitored spans of these runs, by start.
        findings: The findings of these runs, in the order in which they came.
        notes: The oldest first.
        timeline: By time.
        entry: Where it began; `None` without any finding.
        radius: What the runs touched from there on.
        is_complete: False where more rows belong to it than are read.
    """

    row: IncidentRow
    items: list[tuple[str, str]]
    runs: list[int]
    spans: list[SpanSummary]
    findings: list[FindingRow]
    notes: list[NoteRow]
    timeline: list[TimelineEntry]
    entry: EntryPoint | None
    radius: BlastRadius
    is_complete: bool


def find(connection: sqlite3.Connection, text: str) -> IncidentRow:
    """Reads the incident whose id begins with a text.

    Raises:
        StoreError: There is none, or several.
    """
    prefix = clean_text(text.strip().lower(), MAX_NAME)
    query = f"{lists.INCIDENTS.select()} WHERE id >= ? AND id < ? ORDER BY id LIMIT 2"
    rows = connection.execute(query, (prefix, prefix + "g")).fetchall() if prefix else []
    if not rows:
        raise StoreError(f"there is no incident {text}; `cylestio incident list` lists them")
    if len(rows) > 1:
        raise StoreError(f"several incidents begin with {text}")
    found: IncidentRow = lists.INCIDENTS.rows(rows)[0]
    return found


def resolve(connection: sqlite3.Connection, text: str, kind: Kind | None = None) -> Subject:
    """Finds the finding, trace, session or group that a text names.

    Args:
        connection: From `queries.connect`.
        text: The id of a finding, a session or a group; of a trace, the first digits are enough.
        kind: The only kind to look for.

    Raises:
        StoreError: There is nothing of that name, or several things.
    """
    found = [
        one
        for name, query in _SUBJECTS.items()
        if kind in {None, name}
        for one in _subjects(connection, name, query, clean_text(text.strip(), MAX_NAME))
    ]
    if not found:
        raise StoreError(f"there is no {kind or 'finding, trace or session'} {text}")
    if len(found) > 1:
        names = " and ".join(f"{one.kind} {one.ref}" for one in found[:3])
        raise StoreError(f"{text} names several things: {names}; give the whole id, or choose with --kind")
    return found[0]


_SUBJECTS: Final[dict[Kind, str]] = {
    "finding": "SELECT id, rule_id || ' in ' || subtype || ' ' || target, severity FROM findings WHERE id = ?",
    "trace": (
        "SELECT DISTINCT trace_id, coalesce(name, 'trace ' || trace_id), severity_number FROM run "
        "WHERE trace_id >= ? AND trace_id < ? || 'g' LIMIT 2"
    ),
    "session": "SELECT name, 'session ' || name, severity_number FROM entity WHERE kind = 'session' AND name = ?",
    "group": "SELECT group_id, rule_id || ' in ' || subtype, severity_number FROM finding_group WHERE group_id = ?",
}
_TRACE_DIGITS: Final = 4
_MOST_INTEGER: Final = 18


def _subjects(connection: sqlite3.Connection, kind: Kind, query: str, text: str) -> list[Subject]:
    values: tuple[Any, ...] = (text,)
    if kind == "finding":
        if not (text.isascii() and text.isdecimal() and len(text) <= _MOST_INTEGER):
            return []
        values = (int(text),)
    elif kind == "trace":
        text = text.lower()
        if len(text) < _TRACE_DIGITS or text.strip("0123456789abcdef"):
            return []
        values = (text, text)
    rows: dict[str, tuple[Any, ...]] = {str(row[0]): tuple(row) for row in connection.execute(query, values)}
    return [
        Subject(kind, ref, str(row[1]), SEVERITY_NUMBER.get(row[2], 0) if kind == "finding" else int(row[2]))
        for ref, row in rows.items()
    ]


def examine(connection: sqlite3.Connection, row: IncidentRow) -> Incident:
    """Reads everything about one incident.

    Args:
        connection: From `queries.connect`; in a transaction, where all has to be of one moment.
        row: From `find`.
    """
    items = connection.execute(
        "SELECT kind, ref FROM incident_item WHERE incident = ? ORDER BY added_ns, kind, ref", (row.id,)
    ).fetchall()
    runs = _runs(connection, items)
    keys = _json(runs)
    spans: list[SpanSummary] = lists.SPANS.rows(connection.execute(_SPANS, (keys, MOST_ROWS)))
    findings = [decoded_row(one) for one in FINDINGS.rows(connection.execute(_FINDINGS, (keys, MOST_ROWS)))]
    notes: list[NoteRow] = lists.NOTES.rows(connection.execute(_NOTES, ("incident", row.id, MOST_ROWS)))
    named = {int(ref) for kind, ref in items if kind == "finding" and ref.isdecimal()}
    entry = blast_radius.entry_point(connection, keys, spans, findings, named)
    radius = blast_radius.blast_radius(connection, keys, spans, findings, 0 if entry is None else entry.time_ns)
    timeline = [*map(_call, spans), *map(_found, findings), *_decisions(connection, keys), *_events(connection, row.id)]
    timeline += (TimelineEntry(one.time_ns, "note", f"note by {one.author}", one.text) for one in notes)
    timeline.sort(key=lambda one: one.time_ns)
    is_complete = len(runs) < MOST_RUNS and max(len(spans), len(findings), len(notes)) < MOST_ROWS
    pairs = [(str(one[0]), str(one[1])) for one in items]
    return Incident(row, pairs, runs, spans, findings, notes, timeline, entry, radius, is_complete)


_SPANS: Final = (
    f"{lists.SPANS.select()} WHERE run IN (SELECT value FROM json_each(?)) AND event_type IS NOT NULL "  # noqa: S608 -- constants
    "ORDER BY start_ns, id LIMIT ?"
)
_FINDINGS: Final = (
    f"{FINDINGS.select()} WHERE run IN (SELECT value FROM json_each(?)) "  # noqa: S608 -- constants
    "ORDER BY timestamp, id LIMIT ?"
)
_NOTES: Final = f"{lists.NOTES.select()} WHERE subject = ? AND ref = ? ORDER BY id LIMIT ?"
_RUNS_OF: Final[dict[str, str]] = {
    "finding": "SELECT run FROM findings WHERE id = CAST(? AS INTEGER)",
    "trace": "SELECT id FROM run WHERE trace_id = ?",
    "session": "SELECT id FROM run WHERE session_id = ? ORDER BY start_ns",
    "group": (
        "SELECT DISTINCT run FROM (SELECT run FROM findings WHERE group_id = ? ORDER BY timestamp DESC LIMIT 1000)"
    ),
}


def _runs(connection: sqlite3.Connection, items: Iterable[tuple[str, str]]) -> list[int]:
    """Returns the runs that the items name, and then the other runs of their sessions."""
    found: dict[int, None] = {}
    for kind, ref in items:
        if kind in _RUNS_OF:
            rows = connection.execute(f"{_RUNS_OF[kind]} LIMIT ?", (ref, MOST_RUNS))
            found.update((row[0], None) for row in rows)
    sessions = connection.execute(
        "SELECT id FROM run WHERE session_id IN (SELECT DISTINCT session_id FROM run "
        "WHERE id IN (SELECT value FROM json_each(?)) AND session_id IS NOT NULL) ORDER BY start_ns LIMIT ?",
        (_json(found), MOST_RUNS),
    )
    found.update((row[0], None) for row in sessions)
    return list(found)[:MOST_RUNS]


def _call(span: SpanSummary) -> TimelineEntry:
    who = f"agent {span.agent_id}" if span.agent_id else ""
    outcome = "blocked" if span.action == "block" else "failed" if span.status == 2 else ""
    detail = ", ".join(part for part in (who, span.model or "", outcome) if part)
    return TimelineEntry(span.start_ns, "call", span.name, detail, None, span.trace_id, span.span_id)


def _found(finding: FindingRow) -> TimelineEntry:
    source = f", first said by {finding.source}" if finding.source else ""
    detail = f"{finding.subtype} {finding.target} at {finding.path}{source}"
    time_ns = time_ns_of(finding.timestamp)
    return TimelineEntry(
        time_ns, "finding", finding.rule_id, detail, finding.severity, finding.trace_id, finding.span_id
    )


def _decisions(connection: sqlite3.Connection, keys: str) -> list[TimelineEntry]:
    decisions = connection.execute(
        "SELECT d.time_ns, d.action, d.tool, d.enforced, d.rule, d.reason, run.trace_id, d.span_id FROM decision AS d "
        "JOIN run ON run.id = d.run WHERE d.run IN (SELECT value FROM json_each(?)) AND d.action <> 'allow' LIMIT ?",
        (keys, MOST_ROWS),
    )
    found = [
        TimelineEntry(one[0], "decision", f"{one[1]} {one[2] or ''}".strip(), _decided(*one[3:6]), None, *one[6:])
        for one in decisions
    ]
    approvals = connection.execute(
        "SELECT coalesce(a.decided_ns, a.created_ns), a.state, a.tool, a.decided_by, run.trace_id, a.span_id "
        "FROM approval AS a JOIN run ON run.id = a.run WHERE run.id IN (SELECT value FROM json_each(?)) LIMIT ?",
        (keys, MOST_ROWS),
    )
    found += (
        TimelineEntry(one[0], "approval", f"{one[2]} {one[1]}", f"by {one[3]}" if one[3] else "", None, *one[4:])
        for one in approvals
    )
    return found


def _decided(enforced: int, rule: str, reason: str) -> str:
    return f"{rule or 'default'}: {reason}" + ("" if enforced else " (recorded only)")


def _events(connection: sqlite3.Connection, incident: str) -> list[TimelineEntry]:
    """Returns what was done with the incident itself; a note is an entry of its own."""
    rows = connection.execute(
        "SELECT time_ns, event_type, data FROM event WHERE event_type IN (SELECT value FROM json_each(?)) "
        "AND CASE WHEN json_valid(data) THEN json_extract(data, '$.id') END = ? ORDER BY id LIMIT ?",
        (_json(_OWN_EVENTS), incident, MOST_ROWS),
    )
    found = []
    for time_ns, event_type, data in rows:
        values = decoded(data, {})
        what = [f"{name} {values[name]}" for name in ("state", "owner") if values.get(name)]
        by = f"by {values['by']}" if values.get("by") else ""
        found.append(TimelineEntry(time_ns, "event", event_type.replace("_", " "), ", ".join([*what, by]).strip(", ")))
    return found


def _json(values: Iterable[Any]) -> str:
    return msgspec.json.encode(list(values)).decode()
