"""The outbox as rows: what waits, what was delivered, what was set aside, and who sends."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from cylestio_monitor.errors import StoreError
from cylestio_monitor.store.delivery import metric_queue, otlp_encoder, span_decoder
from cylestio_monitor.store.sqlite import database, fork_guard, schema
from cylestio_monitor.store.sqlite.counters import count
from cylestio_monitor.store.sqlite.lease import LEASE_S, Lease
from cylestio_monitor.store.sqlite.rows import EVENT_COLUMNS, SPAN_COLUMNS, encode_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from cylestio_monitor.store.store import Store

_REQUEST_BYTES: Final = 2_000_000
"""Stored bytes of one request: unpacked it stays below the 4 MiB that gRPC servers take by default."""

_SPAN_QUERY: Final = (
    f"SELECT outbox.ref, length(attributes) + coalesce(length(events), 0) + 3 * coalesce(length(content), 0), "  # noqa: S608 -- constants
    f"source, common, checksum, {SPAN_COLUMNS} FROM outbox LEFT JOIN span ON span.id = outbox.ref "
    "WHERE signal = 'traces' AND reason IS NULL AND outbox.ref > ? ORDER BY outbox.ref LIMIT ?"
)
_EVENT_QUERY: Final = (
    f"SELECT outbox.ref, length(data), source, checksum, {EVENT_COLUMNS} FROM outbox "  # noqa: S608 -- constants
    "LEFT JOIN event ON event.id = outbox.ref "
    "WHERE signal = 'logs' AND reason IS NULL AND outbox.ref > ? ORDER BY outbox.ref LIMIT ?"
)
_METRIC_QUERY: Final = (
    "SELECT outbox.ref, length(data), data FROM outbox LEFT JOIN metric ON metric.id = outbox.ref "
    "WHERE signal = 'metrics' AND reason IS NULL AND outbox.ref > ? ORDER BY outbox.ref LIMIT ?"
)

_EACH: Final = "SELECT value FROM json_each(?)"
"""One statement for a list of ids: it lets go of the interpreter once."""


class OutboxEntry(NamedTuple):
    """One thing to send.

    Attributes:
        ref: The id of its row.
        record: What the exporter takes; `None` where the row cannot be read, and the reason says why.
        reason: Why it cannot be sent, where it cannot.
    """

    ref: int
    record: Any
    reason: str = ""


class OutboxTable:
    """Reads and changes the outbox over a connection of its own, opened when first needed."""

    def __init__(self, store: Store) -> None:
        """Opens nothing yet.

        Args:
            store: Whose outbox it is.
        """
        self._store = store
        self._lease = Lease("sender")
        self._connection: sqlite3.Connection | None = None
        self._encoder: otlp_encoder.Encoder | None = None
        self._lead_until = 0.0
        self._inode: tuple[int, int] | None = None

    def lead(self) -> bool:
        """Takes or renews the lease; whether this process is the one that sends."""
        now = time.monotonic()
        if now < self._lead_until:
            return True
        with fork_guard.guard:
            connection = self._open()
            if not self._lease.may_take(connection):
                return False
            with database.transaction(connection):
                led = self._lease.take(connection)
        self._lead_until = now + LEASE_S / 4 if led else 0.0
        return led

    def leave(self) -> None:
        """Gives up the lease and closes."""
        with fork_guard.guard:
            connection = self._open()
            with database.transaction(connection):
                self._lease.give_up(connection)
            self.close()
        self._lead_until = 0.0

    def read(self, signal: str, limit: int) -> list[OutboxEntry]:
        """The oldest entries that wait, at most `limit` of them and no more than a request holds."""
        with fork_guard.guard:
            connection = self._open()
            assert self._encoder is not None
            encoder = self._encoder
            query = {"traces": _SPAN_QUERY, "logs": _EVENT_QUERY, "metrics": _METRIC_QUERY}[signal]
            rows = _that_fit(_fetch(connection, query, (0, 1 if signal == "metrics" else limit)))
            if signal != "metrics":
                shared = {number for row in rows for number in row[2 : 4 if signal == "traces" else 3]}
                encoder.load(shared - {None})
        # Without the guard: the writer need not wait until all of it is encoded.
        return [_entry(encoder, signal, row) for row in rows]

    def batch(self, signal: str, entries: Sequence[OutboxEntry]) -> Any:
        """The records as the exporter of the signal takes them."""
        if signal == "metrics":
            return entries[0].record
        records = [entry.record for entry in entries]
        return otlp_encoder.SpanBatch(records) if signal == "traces" else records

    def sent(self, signal: str, entries: Sequence[OutboxEntry]) -> None:
        """Takes delivered entries out, and counts them."""
        with fork_guard.guard:
            connection = self._open()
            with database.transaction(connection):
                refs = _refs(entries)
                connection.execute(f"DELETE FROM outbox WHERE signal = ? AND ref IN ({_EACH})", (signal, refs))  # noqa: S608 -- constant
                if signal == "metrics":  # only the outbox reads the metric table
                    connection.execute(f"DELETE FROM metric WHERE id IN ({_EACH})", (refs,))  # noqa: S608 -- constant
                count(connection, f"sent.{signal}", len(entries))
                self._lease.take(connection)

    def set_aside(self, signal: str, entries: Sequence[OutboxEntry], reason: str, *, sent: int = 0) -> None:
        """Keeps entries that shall not be sent again, with the reason.

        Args:
            signal: Whose.
            entries: Which.
            reason: Why.
            sent: How many of them the collector has taken all the same.
        """
        with fork_guard.guard:
            connection = self._open()
            with database.transaction(connection):
                connection.execute(
                    f"UPDATE outbox SET reason = ? WHERE signal = ? AND ref IN ({_EACH})",  # noqa: S608 -- constant
                    (reason, signal, _refs(entries)),
                )
                count(connection, f"quarantined.{signal}", len(entries) - sent)
                if sent:
                    count(connection, f"sent.{signal}", sent)
                self._lease.take(connection)

    def newest(self) -> dict[str, int]:
        """The newest entry that waits, by signal."""
        with fork_guard.guard:
            query = "SELECT signal, max(ref) FROM outbox WHERE reason IS NULL GROUP BY signal"
            return dict(self._open().execute(query).fetchall())

    def sent_up_to(self, marks: dict[str, int]) -> bool:
        """Returns whether every record up to these marks was sent or set aside."""
        query = "SELECT 1 FROM outbox WHERE signal = ? AND ref <= ? AND reason IS NULL LIMIT 1"
        with fork_guard.guard:
            connection = self._open()
            return all(connection.execute(query, mark).fetchone() is None for mark in marks.items())

    def close(self) -> None:
        """Closes the connection."""
        connection, self._connection, self._encoder = self._connection, None, None
        if connection is not None:
            connection.close()

    def abandon(self) -> None:
        """Lets go of an inherited connection without closing it."""
        fork_guard.leave_open(self._connection)
        self._connection = self._encoder = None

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None and self._inode != database.inode(self._store.path):
            self.close()
        if self._connection is None:
            self._connection = database.connect(self._store.path, self._store.settings)
            self._inode = database.inode(self._store.path)
            self._encoder = otlp_encoder.Encoder(span_decoder.Rebuilder(self._connection, self._store.cipher))
        return self._connection


def _refs(entries: Sequence[OutboxEntry]) -> str:
    return encode_json([entry.ref for entry in entries]).decode()


def _fetch(connection: sqlite3.Connection, query: str, values: tuple[int, ...]) -> list[Sequence[Any]]:
    """All rows; fast as long as no text among them is damaged."""
    connection.text_factory = str
    try:
        return connection.execute(query, values).fetchall()
    except sqlite3.OperationalError:
        connection.text_factory = database.as_text
        return connection.execute(query, values).fetchall()
    finally:
        connection.text_factory = database.as_text


def _that_fit(rows: Sequence[Sequence[Any]]) -> list[Sequence[Any]]:
    """The first rows, as many as one request holds, at least one; the second value of each is its length."""
    size = 0
    for number, row in enumerate(rows):
        size += row[1] or 0
        if number and size > _REQUEST_BYTES:
            return list(rows[:number])
    return list(rows)


def _entry(encoder: otlp_encoder.Encoder, signal: str, row: Sequence[Any]) -> OutboxEntry:
    ref, length, *values = row
    if length is None:
        return OutboxEntry(ref, None, "the row is missing")
    try:
        if signal == "traces":
            stored = span_decoder.StoredRow(values[0], values[1], values[2], values[3:])
            return OutboxEntry(ref, encoder.record(stored))
        record = encoder.rebuilder.record(values) if signal == "logs" else metric_queue.unpack(values[0])
        return OutboxEntry(ref, record)
    except Exception as error:  # noqa: BLE001 -- whatever a damaged row makes of it: the others shall be sent
        return OutboxEntry(ref, None, str(error) if isinstance(error, StoreError) else "the row is damaged")


def counts(connection: sqlite3.Connection) -> dict[str, dict[str, int]]:
    """By signal: queued, quarantined, sent since the store began."""
    numbers = {signal: {"queued": 0, "quarantined": 0, "sent": 0} for signal in schema.SIGNALS}
    rows = connection.execute("SELECT signal, count(*), count(reason) FROM outbox GROUP BY signal").fetchall()
    for signal, total, quarantined in rows:
        numbers[signal].update(queued=total - quarantined, quarantined=quarantined)
    for key, value in connection.execute("SELECT key, value FROM meta WHERE key GLOB 'count.sent.*'").fetchall():
        numbers[key.rpartition(".")[2]]["sent"] = value
    return numbers
