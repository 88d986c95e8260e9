"""Retention by age and size: removes the oldest benign spans first and findings last, and records each removal."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from cylestio_monitor.store.sqlite import search_index, usage
from cylestio_monitor.store.sqlite.counters import GAP_EVENT, count
from cylestio_monitor.store.sqlite.rows import EVENT_COLUMNS, EventRecord, encode_json, seal_record, timestamp

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence

    from cylestio_monitor import config
    from cylestio_monitor.store.audit.chain import Chain

CHUNK: Final = 1000
"""Most rows of one deletion: the writer shall not be held up for longer than a few milliseconds."""

_WINDOW: Final = 5000
_EACH: Final = "SELECT value FROM json_each(?)"
_OLD: Final = "SELECT id FROM span WHERE start_ns < ? ORDER BY start_ns LIMIT ?"
_OLD_FLAGGED: Final = "SELECT id FROM span WHERE severity_number > 0 AND start_ns < ? ORDER BY start_ns LIMIT ?"
_FLAGGED: Final = "SELECT id FROM span WHERE severity_number > 0 ORDER BY start_ns LIMIT ?"
_NEXT: Final = "SELECT id, severity_number, start_ns FROM span WHERE id > ? ORDER BY id LIMIT ?"
_NEXT_BENIGN: Final = (
    "SELECT id, EXISTS (SELECT 1 FROM outbox WHERE signal = 'traces' AND ref = span.id AND reason IS NULL) "
    "FROM span WHERE severity_number = 0 AND id > ? ORDER BY id LIMIT ?"
)
_SPAN_FACTS: Final = (
    f"SELECT {search_index.COLUMNS}, seq, run, start_ns, agent_id, event_type, channel, alert, status, model, tool "  # noqa: S608 -- constants
    f"FROM span WHERE id IN ({_EACH})"
)
_FINDINGS_OF: Final = (
    "SELECT findings.id, findings.seq FROM span JOIN findings ON findings.run = span.run "  # noqa: S608 -- constants
    f"AND findings.span_id = span.span_id WHERE span.id IN ({_EACH})"
)
_OF_SPANS: Final = ("part", "value_origin", "call_facts", "decision")
"""Tables whose rows go with their span."""

_EMPTY_RUNS: Final = (
    f"DELETE FROM run WHERE id IN ({_EACH}) AND NOT EXISTS (SELECT 1 FROM span WHERE span.run = run.id) "  # noqa: S608 -- constants
    "AND NOT EXISTS (SELECT 1 FROM findings WHERE findings.run = run.id)"
)
_OLD_DEFINITIONS: Final = """
DELETE FROM tool_definition WHERE id IN (SELECT id FROM tool_definition WHERE state = 'seen' AND last_ns < ? LIMIT ?)
"""
"""Versions that nobody decided about and that no process has met since."""
_OLD_ENTITIES: Final = (
    "DELETE FROM entity WHERE (kind, name) IN (SELECT kind, name FROM entity WHERE kind = ? AND last_ns < ? LIMIT ?)"
)
_GAP_OF_TODAY: Final = (
    "SELECT id, seq, data FROM event WHERE event_type = ? AND timestamp >= ? AND json_extract(data, '$.reason') = ?"
)
_INSERT_GAP: Final = f"INSERT INTO event ({EVENT_COLUMNS}, seq, checksum) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 -- constants

HIGH_WATER: Final = 0.9
"""Part of the page budget above which the oldest go."""


class Removed(NamedTuple):
    """The numbers of rows one pass removed; `unsent` of them had not been sent."""

    spans: int = 0
    findings: int = 0
    events: int = 0
    unsent: int = 0


@dataclass(slots=True)
class Place:
    """The position of the passes over the spans; without it each pass would scan rows again that must stay.

    Attributes:
        by_age: The last span whose age was checked.
        by_size: The last benign span that was removed to free space.
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
        """Removes one chunk of rows that are older than the settings allow.

        Returns:
            The number of spans, findings and events that were removed.
        """
        old = now_ns - settings.keep_findings_days * usage.DAY_NS
        flagged = self._remove_spans(self._ids(_OLD_FLAGGED, old, CHUNK))
        events = self._remove_events("timestamp < ?", timestamp(old))
        self._remove_totals(old, now_ns)
        return self._record("age", self._old_benign(now_ns - settings.keep_days * usage.DAY_NS)) + sum(
            self._record("age", removed) for removed in (flagged, events)
        )

    def by_size(self, *, at_cap: bool = False) -> int:
        """Removes one chunk of rows where the file is near its page budget, or at once where it is at it.

        The order is: benign spans that were sent, benign spans that wait to be sent, events, spans with findings.

        Returns:
            The number of spans, findings and events that were removed.
        """
        if not at_cap and usage_of_budget(self._connection) < HIGH_WATER:
            return 0
        return (
            self._record("size", self._oldest_benign())
            or self._record("size", self._remove_events("event_type <> ?", GAP_EVENT))
            or self._record("size", self._remove_spans(self._ids(_FLAGGED, CHUNK)))
        )

    def before(self, time_ns: int) -> int:
        """Removes one chunk of rows older than a time, with or without findings.

        Returns:
            The number of spans and events that were removed; 0 where none is left.
        """
        spans = self._remove_spans(self._ids(_OLD, time_ns, CHUNK))
        events = self._remove_events("timestamp < ?", timestamp(time_ns))
        self._record("request", spans)
        self._record("request", events)
        return spans.spans + events.events

    def _ids(self, query: str, *values: int) -> list[int]:
        return [row[0] for row in self._connection.execute(query, values)]

    def _old_benign(self, before_ns: int) -> Removed:
        """Continues where the last pass ended: rows come nearly in the order of their time."""
        rows = self._connection.execute(_NEXT, (self._place.by_age, CHUNK)).fetchall()
        if rows:
            self._place.by_age = rows[-1][0] if _is_before(rows[-1][2], before_ns) else rows[0][0] - 1
        return self._remove_spans([row[0] for row in rows if row[1] == 0 and _is_before(row[2], before_ns)])

    def _oldest_benign(self) -> Removed:
        """Removes the oldest benign spans; of a window of them first those that do not wait to be sent."""
        rows = self._connection.execute(_NEXT_BENIGN, (self._place.by_size, _WINDOW)).fetchall()
        if not rows and self._place.by_size:
            self._place.by_size = 0
            rows = self._connection.execute(_NEXT_BENIGN, (0, _WINDOW)).fetchall()
        sent = [row for row in rows if not row[1]][:CHUNK]
        chosen = sent or rows[:CHUNK]
        if len(sent) == len(rows) or chosen is not sent:
            self._place.by_size = chosen[-1][0] if chosen else 0
        return self._remove_spans([row[0] for row in chosen])

    def _remove_spans(self, ids: Sequence[int]) -> Removed:
        if not ids:
            return Removed()
        chosen = encode_json(ids).decode()
        rows = self._connection.execute(_SPAN_FACTS, (chosen,)).fetchall()
        search_index.remove(self._connection, [row[:7] for row in rows])
        usage.count_removed(self._connection, [usage.span_key(*row[9:]) for row in rows if row[11] is not None])
        findings = self._connection.execute(_FINDINGS_OF, (chosen,)).fetchall()
        numbers = [row[1] for row in (*findings, *(row[6:8] for row in rows)) if type(row[1]) is int]
        if findings:
            gone = encode_json([row[0] for row in findings]).decode()
            self._connection.execute(f"DELETE FROM findings WHERE id IN ({_EACH})", (gone,))  # noqa: S608 -- constants
        for table in _OF_SPANS:
            self._connection.execute(
                f"DELETE FROM {table} WHERE (run, span_id) IN (SELECT run, span_id FROM span WHERE id IN ({_EACH}))",  # noqa: S608 -- constants
                (chosen,),
            )
        self._connection.execute(f"DELETE FROM span WHERE id IN ({_EACH})", (chosen,))  # noqa: S608 -- constants
        search_index.rewind(self._connection)
        self._connection.execute(_EMPTY_RUNS, (encode_json(sorted({row[8] for row in rows})).decode(),))
        unsent = self._remove_from_outbox("traces", chosen)
        self._chain.condense(self._connection, numbers)
        return Removed(spans=len(rows), findings=len(findings), unsent=unsent)

    def _remove_events(self, condition: str, value: str) -> Removed:
        query = (
            "SELECT id, seq, time_ns, agent_id, event_type, channel, level, "  # noqa: S608 -- constants
            f"CASE WHEN json_valid(data) THEN json_extract(data, '$.alert') END FROM event WHERE {condition} LIMIT ?"
        )
        rows = self._connection.execute(query, (value, CHUNK)).fetchall()
        if not rows:
            return Removed()
        chosen = encode_json([row[0] for row in rows]).decode()
        usage.count_removed(self._connection, [usage.event_key(*row[2:]) for row in rows])
        self._connection.execute(f"DELETE FROM event WHERE id IN ({_EACH})", (chosen,))  # noqa: S608 -- constants
        unsent = self._remove_from_outbox("logs", chosen)
        self._chain.condense(self._connection, [row[1] for row in rows if type(row[1]) is int])
        return Removed(events=len(rows), unsent=unsent)

    def _remove_from_outbox(self, signal: str, chosen: str) -> int:
        """Removes entries and returns how many of them waited to be sent."""
        condition = f"signal = ? AND ref IN ({_EACH})"
        delete = f"DELETE FROM outbox WHERE {condition}"  # noqa: S608 -- constants
        unsent = self._connection.execute(f"{delete} AND reason IS NULL", (signal, chosen)).rowcount
        self._connection.execute(delete, (signal, chosen))
        return max(0, unsent)

    def _remove_totals(self, old_ns: int, now_ns: int) -> None:
        """Removes totals of times from which no row is left, and with them expired counters and old tool versions."""
        self._connection.execute("DELETE FROM usage WHERE hour < ?", (old_ns // usage.HOUR_NS,))
        for kind in ("agent", "session", "user", "tool"):
            self._connection.execute(_OLD_ENTITIES, (kind, old_ns, CHUNK))
        self._connection.execute(_OLD_DEFINITIONS, (old_ns, CHUNK))
        self._connection.execute("DELETE FROM limit_counter WHERE expires_ns < ?", (now_ns,))

    def _record(self, reason: str, removed: Removed) -> int:
        """Adds to today's gap event of this reason, or begins one, and to the counters; returns the rows."""
        rows = removed.spans + removed.findings + removed.events
        if not rows:
            return 0
        now = time.time_ns()
        earlier = self._connection.execute(_GAP_OF_TODAY, (GAP_EVENT, timestamp(now)[:10], reason)).fetchone()
        counts: dict[str, Any] = removed._asdict()
        if earlier is not None:
            self._connection.execute("DELETE FROM event WHERE id = ?", (earlier[0],))
            self._chain.condense(self._connection, [earlier[1]] if type(earlier[1]) is int else [])
            known = msgspec.json.decode(earlier[2], type=dict[str, Any])
            counts = {name: number + int(known.get(name, 0)) for name, number in counts.items()}
        data = encode_json({"reason": reason, **counts}).decode()
        level = "WARNING" if counts["unsent"] else "INFO"
        record = EventRecord(None, GAP_EVENT, "STORE", level, timestamp(now), now, data)
        trail = self._chain.begin(self._connection)
        checksum, leaf = seal_record(record)
        values = (*msgspec.structs.astuple(record), trail.next_seq, checksum)
        ref = self._connection.execute(_INSERT_GAP, values).lastrowid or 0
        trail.add("event", ref, leaf)
        count(self._connection, f"removed.{reason}", rows)
        if removed.unsent:
            count(self._connection, "dropped.unsent", removed.unsent)
        trail.finish()
        return rows


def _is_before(time_ns: object, before_ns: int) -> bool:
    """Compares as SQLite does: a time that was made something else than a number is after all numbers."""
    return isinstance(time_ns, (int, float)) and time_ns < before_ns


def usage_of_budget(connection: sqlite3.Connection) -> float:
    """Returns the part of the page budget that is in use, from 0 to 1."""
    pages, free, most = (
        int(connection.execute(f"PRAGMA {name}").fetchone()[0])
        for name in ("page_count", "freelist_count", "max_page_count")
    )
    return (pages - free) / max(1, most)
