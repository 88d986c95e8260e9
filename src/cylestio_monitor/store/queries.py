"""Everything that is read from the store: for the command line, the documented helpers and the pages.

Each function takes a connection that only reads, as `connect` gives it, and returns plain values.
"""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from cylestio_monitor.errors import StoreError
from cylestio_monitor.model import SEVERITIES, SEVERITY_NUMBER
from cylestio_monitor.store import content, database, files, keys, schema
from cylestio_monitor.store.records import timestamp

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator, Mapping
    from pathlib import Path

Row: TypeAlias = dict[str, Any]

_EVENT_TEXT: Final = "event_type || ' ' || data"
_SPAN_TEXT: Final = (
    "event_type || ' ' || name || ' ' || attributes || ' ' || coalesce(model, '') || ' ' || coalesce(tool, '')"
    " || ' ' || trace_id"
)

MOST: Final = 10_000
"""Most rows of one answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """Which events are asked for; what is `None` does not matter.

    Attributes:
        agent_id: The agent.
        event_type: Such as ``llm_call``.
        channel: Such as ``LLM``; upper or lower case.
        level: Such as ``WARNING``; upper or lower case.
        alert: ``none``, ``suspicious`` or ``dangerous``.
        since: Not before this time.
        until: Before this time.
        text: A part of the data or of the event's type, upper or lower case.
    """

    agent_id: str | None = None
    event_type: str | None = None
    channel: str | None = None
    level: str | None = None
    alert: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None


@dataclass(slots=True)
class SpanNode:
    """One span of a trace with the spans below it.

    Attributes:
        span: The row of the `spans` view; `attributes`, `events`, `links` and `resource` decoded, and the content
            attributes among the attributes.
        findings: Its rows of `findings`.
        children: By start.
    """

    span: Row
    findings: list[Row]
    children: list[SpanNode] = field(default_factory=list)


@contextmanager
def connect(path: Path) -> Iterator[sqlite3.Connection]:
    """A connection that only reads.

    Raises:
        StoreError: There is no store there, or it cannot be read.
    """
    connection = database.connect_read_only(path)
    try:
        yield connection
    finally:
        connection.close()


def events(connection: sqlite3.Connection, where: EventFilter | None = None, *, limit: int = 100) -> list[Row]:
    """Rows of the events table, the newest first, `data` decoded.

    Args:
        connection: From `connect`.
        where: Which ones; all without it.
        limit: Most rows.
    """
    where = where or EventFilter()
    rows: list[Row] = []
    for select, joint, logged in ((schema.LOGGED_EVENTS, "WHERE", True), (schema.SPAN_EVENTS, "AND", False)):
        conditions, values = _conditions(where, logged=logged)
        condition = f" {joint} {' AND '.join(conditions)}" if conditions else ""
        table = "event" if logged else "span"
        query = f"{select}{condition} ORDER BY {table}.id DESC LIMIT ?"
        rows += [_event(row) for row in connection.execute(query, (*values, _bounded(limit)))]
    rows.sort(key=lambda row: (row["timestamp"], row["id"]), reverse=True)
    return rows[:limit]


def follow(connection: sqlite3.Connection, after: tuple[int, int] | None = None) -> tuple[list[Row], tuple[int, int]]:
    """Events that came since the last call, the oldest first.

    Args:
        connection: From `connect`.
        after: The cursor of the last call; without it nothing is returned but a cursor at the end.

    Returns:
        The events and the next cursor.
    """
    last = tuple(
        connection.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0]  # noqa: S608 -- constants
        for table in ("event", "span")
    )
    end = (int(last[0]), int(last[1]))
    if after is None:
        return [], end
    rows: list[Row] = []
    for select, joint, table, first in (
        (schema.LOGGED_EVENTS, "WHERE", "event", after[0]),
        (schema.SPAN_EVENTS, "AND", "span", after[1]),
    ):
        query = f"{select} {joint} {table}.id > ? ORDER BY {table}.id LIMIT {MOST}"
        rows += [_event(row) for row in connection.execute(query, (first,))]
    rows.sort(key=lambda row: (row["timestamp"], row["id"]))
    return rows, end


def findings(
    connection: sqlite3.Connection,
    *,
    limit: int = 100,
    severity: str | None = None,
    category: str | None = None,
    rule: str | None = None,
    agent_id: str | None = None,
    since: datetime | None = None,
) -> list[Row]:
    """Rows of the findings table, the newest first, `owasp` and `atlas` as lists.

    Args:
        connection: From `connect`.
        limit: Most rows.
        severity: The lowest severity that counts.
        category: Such as ``secret``.
        rule: A rule id, or a prefix ending in ``.*``.
        agent_id: The agent.
        since: Not before this time.
    """
    conditions: list[str] = ["1"]
    values: list[Any] = []
    if severity is not None:
        wanted = SEVERITIES[SEVERITY_NUMBER[severity] :]
        conditions.append(f"severity IN ({', '.join('?' * len(wanted))})")
        values += wanted
    for column, value in (("category", category), ("agent_id", agent_id)):
        if value is not None:
            conditions.append(f"{column} = ?")
            values.append(value)
    if rule is not None:
        prefix = rule.removesuffix("*")
        conditions.append("substr(rule_id, 1, ?) = ?" if prefix != rule else "length(rule_id) = ? AND rule_id = ?")
        values += [len(prefix), prefix]
    if since is not None:
        conditions.append("timestamp >= ?")
        values.append(_text_of(since))
    condition = " AND ".join(conditions)
    query = f"SELECT * FROM findings WHERE {condition} ORDER BY timestamp DESC, id DESC LIMIT ?"  # noqa: S608
    return [_finding(row) for row in connection.execute(query, (*values, _bounded(limit)))]


def flagged(connection: sqlite3.Connection, *, since: datetime, limit: int = MOST) -> list[Row]:
    """Spans with a finding since a time, the newest first: identity, name, severity and labels."""
    query = (
        "SELECT id, trace_id, span_id, name, start_ns, end_ns, alert, severity_number, agent_id, session_id, "
        "operation, model, tool, action FROM span WHERE severity_number > 0 AND start_ns >= ? "
        "ORDER BY start_ns DESC LIMIT ?"
    )
    return [dict(row) for row in connection.execute(query, (to_ns(since), _bounded(limit)))]


def trace(connection: sqlite3.Connection, trace_id: str, path: Path | None = None) -> list[SpanNode]:
    """One trace as trees, the roots by start; a span whose parent is not in the store is a root.

    Args:
        connection: From `connect`.
        trace_id: 32 hexadecimal digits, or enough of the first ones to be the only such trace.
        path: The database, where encrypted content shall be opened with the key of the environment.

    Raises:
        StoreError: Several traces begin with these digits.
    """
    prefix = trace_id.lower()
    found = connection.execute(
        "SELECT DISTINCT trace_id FROM span WHERE trace_id >= ? AND trace_id < ? LIMIT 2", (prefix, prefix + "g")
    ).fetchall()
    if len(found) > 1:
        raise StoreError(f"several traces begin with {trace_id}")
    if not found:
        return []
    cipher = _cipher(path)
    nodes: dict[str, SpanNode] = {}
    for row in connection.execute("SELECT * FROM spans WHERE trace_id = ? ORDER BY start_ns, id", (found[0][0],)):
        nodes[row["span_id"]] = SpanNode(span(row, cipher), [])
    for finding in connection.execute("SELECT * FROM findings WHERE trace_id = ? ORDER BY id", (found[0][0],)):
        if finding["span_id"] in nodes:
            nodes[finding["span_id"]].findings.append(_finding(finding))
    roots: list[SpanNode] = []
    for node in nodes.values():
        parent = nodes.get(node.span["parent_span_id"] or "")
        (roots if parent is None or parent is node else parent.children).append(node)
    return _without_circles(roots, nodes)


def _without_circles(roots: list[SpanNode], nodes: Mapping[str, SpanNode]) -> list[SpanNode]:
    """The roots, and one for each circle: spans from elsewhere may name each other as their parents."""
    reached: set[str] = set()
    waiting = list(roots)
    for first in nodes.values():
        while waiting:
            node = waiting.pop()
            reached.add(node.span["span_id"])
            waiting += node.children
        if first.span["span_id"] not in reached:
            nodes[first.span["parent_span_id"]].children.remove(first)
            roots.append(first)
            waiting.append(first)
    return roots


def span(row: sqlite3.Row, cipher: keys.Cipher | None = None) -> Row:
    """A row of the `spans` view with its JSON decoded and its content among the attributes."""
    decoded = dict(row)
    for name in ("attributes", "events", "links", "resource"):
        decoded[name] = _decoded(decoded[name], {} if name in {"attributes", "resource"} else [])
    try:
        decoded["attributes"].update(content.unpack(decoded.pop("content"), cipher))
    except StoreError as error:
        decoded["content_error"] = str(error)
    return decoded


def traces(connection: sqlite3.Connection, *, limit: int = 20) -> list[Row]:
    """The newest traces: id, name of the first span, start, number of spans, highest severity."""
    newest: dict[str, None] = {}
    for (trace_id,) in connection.execute("SELECT trace_id FROM span ORDER BY id DESC"):
        newest[trace_id] = None
        if len(newest) >= _bounded(limit):
            break
    rows = []
    for trace_id in newest:
        row = connection.execute(
            "SELECT trace_id, name, min(start_ns) AS start_ns, max(end_ns) AS end_ns, count(*) AS spans, "
            "max(severity_number) AS severity_number FROM span WHERE trace_id = ?",
            (trace_id,),
        ).fetchone()
        rows.append({**dict(row), "severity": SEVERITIES[row["severity_number"]]})
    return rows


def status(connection: sqlite3.Connection, path: Path) -> Row:
    """Counts for `cylestio status`: what is stored, what waits to be sent, what was sent, quarantined and dropped."""

    def count(query: str) -> int:
        return int(connection.execute(query).fetchone()[0])

    waiting = {signal: {"queued": 0, "quarantined": 0} for signal in schema.SIGNALS}
    for row in connection.execute(
        "SELECT signal, count(*) AS total, count(reason) AS quarantined FROM outbox GROUP BY 1"
    ):
        waiting[row["signal"]] = {"queued": row["total"] - row["quarantined"], "quarantined": row["quarantined"]}
    counters = {
        row["key"].partition(".")[2]: row["value"]
        for row in connection.execute("SELECT key, value FROM meta WHERE key GLOB 'count.*'")
    }
    return {
        "path": str(path),
        "schema": count("PRAGMA user_version"),
        "disk_bytes": files.size_on_disk(path),
        "spans": count("SELECT count(*) FROM span"),
        "flagged": count("SELECT count(*) FROM span WHERE severity_number > 0"),
        "findings": count("SELECT count(*) FROM findings"),
        "events": count("SELECT count(*) FROM event"),
        "audit": count("SELECT count(*) FROM audit"),
        "delivery": waiting,
        "counters": counters,
    }


def outbox(connection: sqlite3.Connection) -> list[Row]:
    """What waits to be sent and what was set aside: signal, reason (empty for what waits), records, oldest time."""
    query = """
        SELECT outbox.signal, coalesce(outbox.reason, '') AS reason, count(*) AS records,
            min(coalesce(span.start_ns, event.time_ns, metric.time_ns)) AS oldest_ns
        FROM outbox
        LEFT JOIN span ON outbox.signal = 'traces' AND span.id = outbox.ref
        LEFT JOIN event ON outbox.signal = 'logs' AND event.id = outbox.ref
        LEFT JOIN metric ON outbox.signal = 'metrics' AND metric.id = outbox.ref
        GROUP BY 1, 2 ORDER BY 1, 2
    """
    rows = [dict(row) for row in connection.execute(query)]
    for row in rows:
        oldest = row.pop("oldest_ns")
        row["oldest"] = None if oldest is None else timestamp(oldest)
    return rows


def agent_stats(connection: sqlite3.Connection, agent_id: str | None = None) -> list[Row]:
    """Events, alerts and first and last time of every agent, or of one."""
    condition = "" if agent_id is None else "WHERE agent_id = ?"
    query = f"""
        SELECT agent_id, count(*) AS events, min(timestamp) AS first_seen, max(timestamp) AS last_seen,
            count(CASE WHEN json_extract(data, '$.alert') = 'suspicious' THEN 1 END) AS suspicious,
            count(CASE WHEN json_extract(data, '$.alert') = 'dangerous' THEN 1 END) AS dangerous
        FROM events {condition} GROUP BY agent_id ORDER BY agent_id
    """  # noqa: S608 -- constants
    return [dict(row) for row in connection.execute(query, () if agent_id is None else (agent_id,))]


def distribution(
    connection: sqlite3.Connection, column: Literal["event_type", "channel", "level"], agent_id: str | None = None
) -> dict[str, int]:
    """How many events have each value of a column, the most frequent first."""
    condition, values = ("", ()) if agent_id is None else ("WHERE agent_id = ?", (agent_id,))
    query = f"SELECT {column}, count(*) FROM events {condition} GROUP BY 1 ORDER BY 2 DESC, 1"  # noqa: S608 -- constants
    return {row[0]: row[1] for row in connection.execute(query, values)}


def _conditions(where: EventFilter, *, logged: bool) -> tuple[list[str], list[Any]]:
    """The filter over the columns of `event`, or over those of `span`."""
    pairs: list[tuple[str, Any]] = [
        ("agent_id = ?", where.agent_id),
        ("event_type = ?", where.event_type),
        ("channel = ? COLLATE NOCASE", where.channel),
        ("level = ? COLLATE NOCASE" if logged else f"{schema.LEVEL} = ? COLLATE NOCASE", where.level),
        ("json_extract(data, '$.alert') = ?" if logged else "alert = ?", where.alert),
        ("time_ns >= ?" if logged else "start_ns >= ?", where.since and to_ns(where.since)),
        ("time_ns < ?" if logged else "start_ns < ?", where.until and to_ns(where.until)),
    ]
    if where.text is not None:
        # `instr` takes the text as it is; LIKE would read its wildcards.
        haystack = _EVENT_TEXT if logged else _SPAN_TEXT
        pairs.append((f"instr(lower({haystack}), ?) > 0", where.text.lower()))
    if not logged and where.alert in {"suspicious", "dangerous"}:
        pairs.append(("severity_number > ?", 0))  # takes the index of flagged spans
    used = [pair for pair in pairs if pair[1] is not None]
    return [condition for condition, _ in used], [value for _, value in used]


def _event(row: sqlite3.Row) -> Row:
    return {**dict(row), "data": _decoded(row["data"], {})}


def _finding(row: sqlite3.Row) -> Row:
    finding = {**dict(row), "owasp": _decoded(row["owasp"], []), "atlas": _decoded(row["atlas"], [])}
    del finding["checksum"]
    return finding


def _decoded(text: str | None, default: Any) -> Any:
    """The JSON of a column; a damaged one shall not hide the rows around it."""
    try:
        return default if text is None else msgspec.json.decode(text)
    except msgspec.DecodeError:
        return default


def _cipher(path: Path | None) -> keys.Cipher | None:
    if path is None or not os.environ.get(keys.KEY_VARIABLE):
        return None
    return keys.Cipher(keys.load(path)[0])


def to_ns(moment: datetime) -> int:
    """Nanoseconds since the epoch; a time without a zone is UTC, as everything in the store."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    delta = aware - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000_000 + delta.microseconds * 1000


def _text_of(moment: datetime) -> str:
    return timestamp(to_ns(moment))


def _bounded(limit: int) -> int:
    return max(0, min(limit, MOST))
