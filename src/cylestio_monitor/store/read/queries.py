"""Everything that is read from the store: for the command line, the documented helpers and the pages.

Each function takes a connection that only reads, as `connect` gives it, and returns plain values.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from cylestio_monitor.model import SEVERITIES, SEVERITY_NUMBER
from cylestio_monitor.store.sqlite import database, files, schema
from cylestio_monitor.store.sqlite.rows import timestamp

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
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
    return [finding(row) for row in connection.execute(query, (*values, _bounded(limit)))]


def flagged(connection: sqlite3.Connection, *, since: datetime, limit: int = MOST) -> list[Row]:
    """Spans with a finding since a time, the newest first: identity, name, severity and labels."""
    query = (
        "SELECT id, trace_id, span_id, name, start_ns, end_ns, alert, severity_number, agent_id, session_id, "
        "operation, model, tool, action FROM span WHERE severity_number > 0 AND start_ns >= ? "
        "ORDER BY start_ns DESC LIMIT ?"
    )
    return [dict(row) for row in connection.execute(query, (to_ns(since), _bounded(limit)))]


def status(connection: sqlite3.Connection, path: Path) -> Row:
    """Counts for `cylestio status`: what is stored, what waits to be sent, what was sent, quarantined and dropped."""

    def count(query: str) -> int:
        return int(connection.execute(query).fetchone()[0])

    return {
        "path": str(path),
        "schema": count("PRAGMA user_version"),
        "disk_bytes": files.size_on_disk(path),
        "spans": count("SELECT count(*) FROM span"),
        "flagged": count("SELECT count(*) FROM span WHERE severity_number > 0"),
        "findings": count("SELECT count(*) FROM findings"),
        "events": count("SELECT count(*) FROM event"),
        "audit": count("SELECT count(*) FROM audit"),
        **delivery(connection),
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


def refused(connection: sqlite3.Connection) -> list[Row]:
    """Each record that was set aside: signal, reason, time, name, trace_id, span_id; the last two may be `None`."""
    query = """
        SELECT outbox.signal, outbox.reason, coalesce(span.start_ns, event.time_ns, metric.time_ns) AS time,
            coalesce(span.name, event.event_type, 'metrics') AS name,
            coalesce(span.trace_id, event.trace_id) AS trace_id, coalesce(span.span_id, event.span_id) AS span_id
        FROM outbox
        LEFT JOIN span ON outbox.signal = 'traces' AND span.id = outbox.ref
        LEFT JOIN event ON outbox.signal = 'logs' AND event.id = outbox.ref
        LEFT JOIN metric ON outbox.signal = 'metrics' AND metric.id = outbox.ref
        WHERE outbox.reason IS NOT NULL ORDER BY 3
    """
    rows = [dict(row) for row in connection.execute(query)]
    for row in rows:
        row["time"] = None if row["time"] is None else timestamp(row["time"])
    return rows


def delivery(connection: sqlite3.Connection) -> Row:
    """What waits and was set aside, by signal; and the counters that outlive processes (`sent.traces` and so on)."""
    waiting = {signal: {"queued": 0, "quarantined": 0} for signal in schema.SIGNALS}
    for row in connection.execute(
        "SELECT signal, count(*) AS total, count(reason) AS quarantined FROM outbox GROUP BY 1"
    ):
        waiting[row["signal"]] = {"queued": row["total"] - row["quarantined"], "quarantined": row["quarantined"]}
    counters = {
        row["key"].partition(".")[2]: row["value"]
        for row in connection.execute("SELECT key, value FROM meta WHERE key GLOB 'count.*'")
    }
    return {"delivery": waiting, "counters": counters}


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
    return {**dict(row), "data": decoded(row["data"], {})}


def finding(row: sqlite3.Row) -> Row:
    """A row of `findings` with its lists decoded."""
    known = {**dict(row), "owasp": decoded(row["owasp"], []), "atlas": decoded(row["atlas"], [])}
    del known["checksum"]
    return known


def decoded(text: str | None, default: Any) -> Any:
    """The JSON of a column; a damaged one shall not hide the rows around it."""
    try:
        return default if text is None else msgspec.json.decode(text)
    except msgspec.DecodeError:
        return default


def to_ns(moment: datetime) -> int:
    """Nanoseconds since the epoch; a time without a zone is UTC, as everything in the store."""
    aware = moment if moment.tzinfo else moment.replace(tzinfo=timezone.utc)
    delta = aware - datetime(1970, 1, 1, tzinfo=timezone.utc)
    return (delta.days * 86_400 + delta.seconds) * 1_000_000_000 + delta.microseconds * 1000


def _text_of(moment: datetime) -> str:
    return timestamp(to_ns(moment))


def _bounded(limit: int) -> int:
    return max(0, min(limit, MOST))
