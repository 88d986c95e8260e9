"""What goes when room or time runs out: the oldest benign spans first, findings last, and a record of what went."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from cylestio_monitor.store.records import encode_json, seal, timestamp

if TYPE_CHECKING:
    import sqlite3

    from cylestio_monitor import config
    from cylestio_monitor.store.chain import Chain

DAY_NS: Final = 86_400_000_000_000
CHUNK: Final = 1000
"""Most rows of one deletion: the writer shall not be held up for longer than a few milliseconds."""

HIGH_WATER: Final = 0.9
"""Part of the page budget above which the oldest go."""

GAP_EVENT: Final = "store_gap"

INSERT_OUTBOX: Final = "INSERT OR IGNORE INTO outbox (signal, ref) VALUES (?, ?)"


class Removed(NamedTuple):
    """What one pass removed; `unsent` of them had not been sent."""

    spans: int = 0
    findings: int = 0
    events: int = 0
    unsent: int = 0


class Retention:
    """Removes rows, condenses their entries of the audit trail and counts them, in the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection, chain: Chain) -> None:
        """Works on one connection.

        Args:
            connection: With an open transaction.
            chain: The audit trail.
        """
        self._connection = connection
        self._chain = chain

    def by_age(self, settings: config.Store, now_ns: int) -> int:
        """Removes one chunk of what is older than the settings allow; returns how many rows went."""
        old = now_ns - settings.keep_findings_days * DAY_NS
        benign = self._spans("severity_number = 0 AND start_ns < ?", now_ns - settings.keep_days * DAY_NS, CHUNK)
        flagged = self._spans("start_ns < ?", old, CHUNK)
        events = self._events("time_ns < ?", old, CHUNK)
        return sum(self._record("age", removed) for removed in (benign, flagged, events))

    def by_size(self, *, at_cap: bool = False) -> int:
        """Removes one chunk where the file is near its page budget, or at once where it is at it.

        In this order: benign spans that were sent, benign ones that wait to be sent, events, spans with findings.

        Returns:
            How many rows went.
        """
        if not at_cap and usage(self._connection) < HIGH_WATER:
            return 0
        sent = "NOT EXISTS (SELECT 1 FROM outbox WHERE signal = 'traces' AND ref = span.id)"
        return (
            self._record("size", self._spans(f"severity_number = ? AND {sent}", 0, CHUNK))
            or self._record("size", self._spans("severity_number = ?", 0, CHUNK))
            or self._record("size", self._events("event_type <> ?", GAP_EVENT, CHUNK))
            or self._record("size", self._spans("severity_number > ?", 0, CHUNK))
        )

    def before(self, time_ns: int) -> int:
        """Removes everything older than a time, whatever it holds; returns how many spans and events went."""
        spans = self._spans("start_ns < ?", time_ns, -1)
        events = self._events("time_ns < ?", time_ns, -1)
        self._record("request", spans)
        self._record("request", events)
        return spans.spans + events.events

    def _spans(self, condition: str, value: int, limit: int) -> Removed:
        query = f"SELECT id, seq, trace_id, span_id FROM span WHERE {condition} ORDER BY id LIMIT ?"  # noqa: S608 -- constants
        rows = self._connection.execute(query, (value, limit)).fetchall()
        if not rows:
            return Removed()
        numbers = [row[1] for row in rows if row[1] is not None]
        findings = 0
        for _, _, trace_id, span_id in rows:
            gone = self._connection.execute(
                "SELECT seq FROM findings WHERE trace_id = ? AND span_id = ?", (trace_id, span_id)
            ).fetchall()
            if gone:
                self._connection.execute("DELETE FROM findings WHERE trace_id = ? AND span_id = ?", (trace_id, span_id))
                numbers += [row[0] for row in gone if row[0] is not None]
                findings += len(gone)
        ids = [(row[0],) for row in rows]
        self._connection.executemany("DELETE FROM span WHERE id = ?", ids)
        unsent = self._connection.executemany(
            "DELETE FROM outbox WHERE signal = 'traces' AND ref = ? AND reason IS NULL", ids
        ).rowcount
        self._connection.executemany("DELETE FROM outbox WHERE signal = 'traces' AND ref = ?", ids)
        self._chain.condense(self._connection, numbers)
        return Removed(spans=len(rows), findings=findings, unsent=max(0, unsent))

    def _events(self, condition: str, value: int | str, limit: int) -> Removed:
        query = f"SELECT id, seq FROM event WHERE {condition} ORDER BY id LIMIT ?"  # noqa: S608 -- constants
        rows = self._connection.execute(query, (value, limit)).fetchall()
        if not rows:
            return Removed()
        ids = [(row[0],) for row in rows]
        self._connection.executemany("DELETE FROM event WHERE id = ?", ids)
        unsent = self._connection.executemany(
            "DELETE FROM outbox WHERE signal = 'logs' AND ref = ? AND reason IS NULL", ids
        ).rowcount
        self._connection.executemany("DELETE FROM outbox WHERE signal = 'logs' AND ref = ?", ids)
        self._chain.condense(self._connection, [row[1] for row in rows if row[1] is not None])
        return Removed(events=len(rows), unsent=max(0, unsent))

    def _record(self, reason: str, removed: Removed) -> int:
        """Adds to today's gap record of this reason, or begins one, and to the counters; returns the rows."""
        rows = removed.spans + removed.findings + removed.events
        if not rows:
            return 0
        now = time.time_ns()
        earlier = self._connection.execute(
            "SELECT id, data FROM event WHERE event_type = ? AND timestamp >= ? AND json_extract(data, '$.reason') = ?",
            (GAP_EVENT, timestamp(now)[:10], reason),
        ).fetchone()
        counts: dict[str, Any] = removed._asdict()
        if earlier is not None:
            self._connection.execute("DELETE FROM event WHERE id = ?", (earlier[0],))
            known = msgspec.json.decode(earlier[1], type=dict[str, Any])
            counts = {name: number + int(known.get(name, 0)) for name, number in counts.items()}
        data = encode_json({"reason": reason, **counts}).decode()
        level = "WARNING" if counts["unsent"] else "INFO"
        values = (None, GAP_EVENT, "STORE", level, timestamp(now), now, data, None, None)
        self._connection.execute(
            "INSERT INTO event (agent_id, event_type, channel, level, timestamp, time_ns, data, trace_id, span_id, "
            "checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (*values, seal(*values)[0]),
        )
        count(self._connection, f"removed.{reason}", rows)
        if removed.unsent:
            count(self._connection, "dropped.unsent", removed.unsent)
        return rows


def usage(connection: sqlite3.Connection) -> float:
    """The part of the page budget that is in use, from 0 to 1."""
    pages, free, most = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count", "max_page_count")
    )
    return (pages - free) / max(1, most)


def count(connection: sqlite3.Connection, name: str, number: int) -> None:
    """Adds to a counter that outlives the process; `queries.status` shows it."""
    connection.execute(
        "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = value + excluded.value",
        (f"count.{name}", number),
    )
