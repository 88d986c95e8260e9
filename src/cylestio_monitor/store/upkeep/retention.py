"""What goes when room or time runs out: the oldest benign spans first, findings last, and a record of what went."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from cylestio_monitor.store.sqlite.counters import GAP_EVENT, count
from cylestio_monitor.store.sqlite.rows import encode_json, seal, timestamp

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from cylestio_monitor import config
    from cylestio_monitor.store.audit.chain import Chain

DAY_NS: Final = 86_400_000_000_000
CHUNK: Final = 1000
"""Most rows of one deletion: the writer shall not be held up for longer than a few milliseconds."""

_WINDOW: Final = 5000
_OLD_FLAGGED: Final = "SELECT id, seq, trace_id, span_id FROM span WHERE severity_number > 0 AND start_ns < ? LIMIT ?"
_NEXT: Final = "SELECT id, seq, trace_id, span_id, severity_number, start_ns FROM span WHERE id > ? ORDER BY id LIMIT ?"
_NEXT_BENIGN: Final = (
    "SELECT id, seq, trace_id, span_id, EXISTS "
    "(SELECT 1 FROM outbox WHERE signal = 'traces' AND ref = span.id AND reason IS NULL) "
    "FROM span WHERE severity_number = 0 AND id > ? ORDER BY id LIMIT ?"
)

HIGH_WATER: Final = 0.9
"""Part of the page budget above which the oldest go."""


class Removed(NamedTuple):
    """What one pass removed; `unsent` of them had not been sent."""

    spans: int = 0
    findings: int = 0
    events: int = 0
    unsent: int = 0


@dataclass(slots=True)
class Place:
    """How far passes over the spans came; without it each would begin at rows that have to stay.

    Attributes:
        by_age: The last span that was looked at for its age.
        by_size: The last benign span that was removed for room.
    """

    by_age: int = 0
    by_size: int = 0


class Retention:
    """Removes rows, condenses their entries of the audit trail and counts them, in the caller's transaction."""

    def __init__(self, connection: sqlite3.Connection, chain: Chain, place: Place | None = None) -> None:
        """Works on one connection.

        Args:
            connection: With an open transaction.
            chain: The audit trail.
            place: How far earlier passes came; none starts at the oldest row.
        """
        self._connection = connection
        self._chain = chain
        self._place = Place() if place is None else place

    def by_age(self, settings: config.StoreSettings, now_ns: int) -> int:
        """Removes of one chunk what is older than the settings allow; returns how many rows went."""
        old = now_ns - settings.keep_findings_days * DAY_NS
        flagged = self._remove_spans(self._connection.execute(_OLD_FLAGGED, (old, CHUNK)).fetchall())
        events = self._events("timestamp < ?", timestamp(old), CHUNK)
        return self._record("age", self._old_benign(now_ns - settings.keep_days * DAY_NS)) + sum(
            self._record("age", removed) for removed in (flagged, events)
        )

    def by_size(self, *, at_cap: bool = False) -> int:
        """Removes one chunk where the file is near its page budget, or at once where it is at it.

        In this order: benign spans that were sent, benign ones that wait to be sent, events, spans with findings.

        Returns:
            How many rows went.
        """
        if not at_cap and usage(self._connection) < HIGH_WATER:
            return 0
        return (
            self._record("size", self._oldest_benign())
            or self._record("size", self._events("event_type <> ?", GAP_EVENT, CHUNK))
            or self._record("size", self._spans("severity_number > ?", 0, CHUNK))
        )

    def _old_benign(self, before_ns: int) -> Removed:
        """Walks on from where the last pass ended: rows come in the order of their time, but for a few."""
        rows = self._connection.execute(_NEXT, (self._place.by_age, CHUNK)).fetchall()
        if rows:
            self._place.by_age = rows[-1][0] if rows[-1][-1] < before_ns else rows[0][0] - 1
        return self._remove_spans([row[:4] for row in rows if row[4] == 0 and row[5] < before_ns])

    def _oldest_benign(self) -> Removed:
        """The oldest benign spans; of a window of them first those that do not wait to be sent."""
        rows = self._connection.execute(_NEXT_BENIGN, (self._place.by_size, _WINDOW)).fetchall()
        if not rows and self._place.by_size:
            self._place.by_size = 0
            rows = self._connection.execute(_NEXT_BENIGN, (0, _WINDOW)).fetchall()
        sent = [row for row in rows if not row[4]][:CHUNK]
        chosen = sent or rows[:CHUNK]
        if len(sent) == len(rows) or chosen is not sent:
            self._place.by_size = chosen[-1][0] if chosen else 0
        return self._remove_spans([row[:4] for row in chosen])

    def before(self, time_ns: int) -> int:
        """Removes everything older than a time, whatever it holds; returns how many spans and events went."""
        spans = self._spans("start_ns < ?", time_ns, -1)
        events = self._events("time_ns < ?", time_ns, -1)
        self._record("request", spans)
        self._record("request", events)
        return spans.spans + events.events

    def _spans(self, condition: str, value: int, limit: int) -> Removed:
        query = f"SELECT id, seq, trace_id, span_id FROM span WHERE {condition} ORDER BY id LIMIT ?"  # noqa: S608 -- constants
        return self._remove_spans(self._connection.execute(query, (value, limit)).fetchall())

    def _remove_spans(self, rows: Sequence[tuple[Any, ...]]) -> Removed:
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
