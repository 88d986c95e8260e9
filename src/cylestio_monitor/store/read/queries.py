"""Connections that only read, and the numbers of the store: rows, delivery, agents and distributions."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from cylestio_monitor.store.read.lists import SPANS, SpanSummary
from cylestio_monitor.store.read.pages import MOST
from cylestio_monitor.store.read.values import capped_sum, to_ns
from cylestio_monitor.store.sqlite import database, files, schema
from cylestio_monitor.store.sqlite.rows import timestamp

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

    from cylestio_monitor.store.read.limits import ReadLimits

Row: TypeAlias = dict[str, Any]

_PRESENT: Final = capped_sum("events - removed")


@contextmanager
def connect(path: Path, limits: ReadLimits | None = None) -> Iterator[sqlite3.Connection]:
    """A connection that only reads.

    Args:
        path: The database.
        limits: On time and memory, where somebody else may have written the file.

    Raises:
        StoreError: There is no store there, or it cannot be read.
    """
    connection = database.connect_read_only(path, None if limits is None else limits.apply)
    try:
        yield connection
    finally:
        connection.close()


def flagged(connection: sqlite3.Connection, *, since: datetime, limit: int = MOST) -> list[SpanSummary]:
    """Reads spans with a finding since a time, newest first."""
    query = f"{SPANS.select()} WHERE severity_number > 0 AND start_ns >= ? ORDER BY start_ns DESC LIMIT ?"
    rows = connection.execute(query, (to_ns(since), max(0, min(limit, MOST))))
    return SPANS.rows(rows)


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
    """Returns the waiting and set-aside records: signal, reason (empty for waiting records), records, oldest time."""
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


def refused(connection: sqlite3.Connection, limit: int = -1) -> list[Row]:
    """Each record that was set aside: signal, reason, time, name, trace_id, span_id; the last two may be `None`.

    Args:
        connection: From `connect`.
        limit: Largest number of records, the oldest first; negative for all.
    """
    query = """
        SELECT outbox.signal, outbox.reason, coalesce(span.start_ns, event.time_ns, metric.time_ns) AS time,
            coalesce(span.name, event.event_type, 'metrics') AS name,
            coalesce(span.trace_id, event.trace_id) AS trace_id, coalesce(span.span_id, event.span_id) AS span_id
        FROM outbox
        LEFT JOIN span ON outbox.signal = 'traces' AND span.id = outbox.ref
        LEFT JOIN event ON outbox.signal = 'logs' AND event.id = outbox.ref
        LEFT JOIN metric ON outbox.signal = 'metrics' AND metric.id = outbox.ref
        WHERE outbox.reason IS NOT NULL ORDER BY 3 LIMIT ?
    """
    rows = [dict(row) for row in connection.execute(query, (limit,))]
    for row in rows:
        row["time"] = None if row["time"] is None else timestamp(row["time"])
    return rows


def delivery(connection: sqlite3.Connection) -> Row:
    """Returns waiting and set-aside records by signal, and the persistent counters (`sent.traces` and so on)."""
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
    """Returns events, alerts and first and last time of every agent, or of one, out of the hourly roll-up."""
    condition, values = ("", ()) if agent_id is None else ("WHERE agent_id = ?", (agent_id,))
    query = f"""
        SELECT nullif(agent_id, '') AS agent_id, {_PRESENT} AS events, min(first_ns) AS first_seen,
            max(last_ns) AS last_seen,
            {capped_sum("CASE alert WHEN 'suspicious' THEN events - removed END")} AS suspicious,
            {capped_sum("CASE alert WHEN 'dangerous' THEN events - removed END")} AS dangerous
        FROM usage {condition} GROUP BY 1 HAVING {_PRESENT} > 0 ORDER BY 1
    """  # noqa: S608 -- constants
    rows = [dict(row) for row in connection.execute(query, values)]
    for row in rows:
        row["first_seen"], row["last_seen"] = timestamp(row["first_seen"]), timestamp(row["last_seen"])
    return rows


def distribution(
    connection: sqlite3.Connection, column: Literal["event_type", "channel", "level"], agent_id: str | None = None
) -> dict[str, int]:
    """Returns how many events have each value of a column, the most frequent first."""
    condition, values = ("", ()) if agent_id is None else ("WHERE agent_id = ?", (agent_id,))
    query = (
        f"SELECT {column}, {_PRESENT} AS events FROM usage {condition} GROUP BY 1 "  # noqa: S608 -- constants
        f"HAVING {_PRESENT} > 0 ORDER BY 2 DESC, 1"
    )
    return {row[0]: row[1] for row in connection.execute(query, values)}
