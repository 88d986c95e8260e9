"""Commits groups: encodes what waits and writes it in one transaction, on one thread, with one connection.

Every row is sealed with a checksum, and what the audit trail covers enters its chain in the same transaction, so that
neither can stand without the other.
"""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any, Final

from cylestio_monitor.store.audit import chain, checkpoint
from cylestio_monitor.store.ingest.span_encoder import SpanEncoder
from cylestio_monitor.store.sqlite import database, fork_guard, schema
from cylestio_monitor.store.sqlite.counters import INSERT_OUTBOX, count
from cylestio_monitor.store.sqlite.rows import (
    EVENT_COLUMNS,
    FINDING_COLUMNS,
    SPAN_COLUMNS,
    Event,
    SpanRow,
    digest,
    event_row,
    finding_rows,
    seal,
    seal_span,
)
from cylestio_monitor.store.upkeep import salvage, shared_gc
from cylestio_monitor.store.upkeep.retention import Place, Retention

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cylestio_monitor import config
    from cylestio_monitor.store.audit.checkpoint import Checkpoint
    from cylestio_monitor.store.ingest.queue import Kind, PendingWrite
    from cylestio_monitor.store.sqlite.keys import Cipher


_INTO_SPAN: Final = f"INSERT INTO span (id, source, common, {SPAN_COLUMNS}, seq, checksum)"
_INTO_OUTBOX: Final = "INSERT OR IGNORE INTO outbox (signal, ref)"


def _insert(table: str, columns: str, conflict: str = "") -> str:
    marks = ", ".join("?" * (columns.count(",") + 3))
    return f"INSERT {conflict} INTO {table} ({columns}, seq, checksum) VALUES ({marks})"  # noqa: S608 -- constants


_INSERT_FINDING: Final = _insert("findings", FINDING_COLUMNS, "OR IGNORE")
_INSERT_EVENT: Final = _insert("event", f"{EVENT_COLUMNS}, source")
_MOST_SHARED: Final = 4096


class Writer:
    """The one who writes. Not for several threads at once: the guard of `forks` is held by the caller."""

    def __init__(self, path: Path, settings: config.StoreSettings, secret: bytes, cipher: Cipher | None) -> None:
        """Opens the file.

        Args:
            path: The database.
            settings: Its budget.
            secret: The deployment's secret, for the audit trail.
            cipher: What seals content, where it is encrypted at rest.

        Raises:
            StoreError: Nothing can be written there.
        """
        self.path = path
        self.forward: frozenset[str] = frozenset()
        self.resource: Any = None
        self.chain = chain.Chain(secret)
        self._secret = secret
        self._place = Place()
        self._sweep = shared_gc.Sweep()
        self._swept = 0
        self._settings = settings
        self._encoder = SpanEncoder(cipher)
        self._shared: dict[bytes, tuple[int, bytes]] = {}
        self._inode: tuple[int, int] | None = None
        self._connection: sqlite3.Connection | None = None
        self._salvage: salvage.Salvage | None = None
        try:
            self.connection()
        except sqlite3.DatabaseError as error:
            if not database.is_damage(error):
                raise
            self.replace_damaged()
            self.connection()

    def connection(self) -> sqlite3.Connection:
        """The open connection; opened anew after a fork, or where the file was replaced."""
        if self._connection is not None and self._inode != database.inode(self.path):
            self.close()
        if self._connection is None:
            self._connection = database.connect(self.path, self._settings)
            self._inode = database.inode(self.path)
            self._shared.clear()
        return self._connection

    def close(self) -> None:
        """Closes the connection; the last one of the machine folds the log into the file."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()

    def finish(self) -> None:
        """Closes for good; a salvage that is not through by now is taken up by the next process."""
        self.close()
        if self._salvage is not None:
            self._salvage.close()

    def abandon(self) -> None:
        """Lets go of an inherited connection without closing it."""
        fork_guard.leave_open(self._connection)
        self._connection = None

    def write(self, group: Sequence[PendingWrite]) -> None:
        """Commits the group, all or nothing.

        Raises:
            sqlite3.Error: What SQLite says; nothing of the group is stored then.
            StoreError: The file cannot be opened.
        """
        spans = [ticket for ticket in group if ticket.kind == "span"]
        if spans and self.resource is None:
            self.resource = spans[0].payload.resource
        rows = self._encoder.encode((ticket.payload, ticket.size) for ticket in spans)
        others = [(ticket.kind, self._encode(ticket)) for ticket in group if ticket.kind not in {"span", "barrier"}]
        connection = self.connection()
        if not rows and not others:
            return
        urgent = any(ticket.urgent for ticket in group)
        if urgent:
            # Syncing this commit brings every earlier one of the log to disk as well.
            connection.execute("PRAGMA synchronous = FULL")
        try:
            try:
                self._commit(connection, rows, others)
            except sqlite3.IntegrityError:  # some came before, by another road
                self._commit(connection, self.unknown(connection, rows), others)
        finally:
            if urgent:
                connection.execute("PRAGMA synchronous = NORMAL")

    def _commit(
        self, connection: sqlite3.Connection, rows: Sequence[SpanRow], others: Sequence[tuple[Kind, Any]]
    ) -> None:
        try:
            with database.transaction(connection):
                run = self._begin(connection)
                refs = self.store_spans(connection, run, rows)
                if "traces" in self.forward:
                    database.insert(connection, _INTO_OUTBOX, [("traces", ref) for ref in refs])
                for kind, payload in others:
                    self._store(connection, run, kind, payload)
                run.finish()
        except BaseException:
            self._shared.clear()  # an entry that was rolled back has no id
            raise

    def _begin(self, connection: sqlite3.Connection) -> chain.Run:
        """What every transaction that adds records begins with."""
        schema.check(connection)
        swept = shared_gc.sweeps(connection)
        if swept != self._swept:
            self._shared.clear()
            self._swept = swept
        return self.chain.begin(connection)

    def count(self, numbers: Mapping[str, int]) -> None:
        """Adds to the counters of the file."""
        if numbers:
            connection = self.connection()
            with database.transaction(connection):
                for name, number in numbers.items():
                    count(connection, name, number)

    def seal(self) -> Checkpoint | None:
        """Signs what the audit trail gained since the last checkpoint, where it gained more than that one's event.

        Raises:
            StoreError: The package `cryptography` is not installed.
        """
        connection = self.connection()
        if checkpoint.unsealed(connection) < 2:
            return None
        signer = checkpoint.Signer(self._secret)
        with database.transaction(connection):
            made = signer.make(connection)
            if made is not None:
                run = self._begin(connection)
                data = {"checkpoint": made.line().decode().strip(), "seq": made.seq, "public_key": made.public_key}
                row = event_row(Event(None, checkpoint.EVENT, "STORE", "INFO", time.time_ns(), data))
                ref = self.store_event(connection, run, row, None)
                run.finish()
                if "logs" in self.forward:
                    connection.execute(INSERT_OUTBOX, ("logs", ref))
        return made

    def replace_damaged(self) -> None:
        """Sets a damaged file aside and begins a new one; what reads of the old one follows by and by."""
        self.close()
        self._place = Place()
        target = salvage.set_aside(self.path)
        if target is not None:
            self._salvage = salvage.Salvage(target, self)
            connection = self.connection()
            with database.transaction(connection):
                self._salvage.begin(connection)

    def _salvage_on(self, connection: sqlite3.Connection) -> int:
        assert self._salvage is not None
        with database.transaction(connection):
            run = self._begin(connection)
            more = self._salvage.step(connection, run)
            run.finish()
        self._salvage.carried()
        if not more:
            self._salvage = None
        return 1

    def maintain(self, *, at_cap: bool = False) -> int:
        """Removes one chunk of what is too old, or too much; returns how many rows went.

        Args:
            at_cap: The page budget is used up: something has to go, whatever its age.
        """
        connection = self.connection()
        if not at_cap:
            self._salvage = self._salvage or salvage.Salvage.resumed(connection, self)
            if self._salvage is not None:
                return self._salvage_on(connection)
        with database.transaction(connection):
            retention = Retention(connection, self.chain, self._place)
            removed = retention.by_size(at_cap=at_cap)
            if not at_cap:
                removed += retention.by_age(self._settings, time.time_ns())
        if removed and not at_cap:
            connection.execute("PRAGMA incremental_vacuum(256)").fetchall()
        if not at_cap:
            self._sweep.step(connection)
        return removed

    def _encode(self, ticket: PendingWrite) -> Any:
        if ticket.kind == "findings":
            return finding_rows(*ticket.payload)
        return event_row(ticket.payload) if ticket.kind == "event" else ticket.payload

    def _store(self, connection: sqlite3.Connection, run: chain.Run, kind: Kind, payload: Any) -> None:
        if kind == "findings":
            self.store_findings(connection, run, payload)
        elif kind == "event":
            ref = self.store_event(connection, run, payload, self._encoder.source(self.resource, None)[0])
            if "logs" in self.forward:
                connection.execute(INSERT_OUTBOX, ("logs", ref))
        else:
            connection.execute("INSERT INTO metric (time_ns, data) VALUES (?, ?)", (time.time_ns(), payload))
            connection.execute("INSERT INTO outbox (signal, ref) VALUES ('metrics', last_insert_rowid())")

    def store_spans(self, connection: sqlite3.Connection, run: chain.Run, rows: Sequence[SpanRow]) -> list[int]:
        """Adds spans with their findings and their entries in the audit trail.

        Returns:
            Their ids.

        Raises:
            sqlite3.IntegrityError: One of them is in the store already; see `unknown`.
        """
        first = connection.execute("SELECT coalesce(max(id), 0) + 1 FROM span").fetchone()[0]
        records = []
        for ref, row in enumerate(rows, first):
            source, source_digest = self._share(connection, row.source)
            common, common_digest = self._share(connection, row.common)
            checksum, leaf = seal_span(row.values, source_digest, common_digest)
            seq = None
            if row.event_type is not None:
                seq = run.next_seq
                run.add("span", ref, leaf)
            records.append((ref, source, common, *row.values, seq, checksum))
            if row.findings:
                self.store_findings(connection, run, row.findings)
        database.insert(connection, _INTO_SPAN, records)
        return [record[0] for record in records]

    def unknown(self, connection: sqlite3.Connection, rows: Sequence[SpanRow]) -> list[SpanRow]:
        """The rows that the store does not have, each once."""
        query = "SELECT 1 FROM span WHERE trace_id = ? AND span_id = ?"
        new = {tuple(row.values[:2]): row for row in reversed(rows)}
        known = {key for key in new if connection.execute(query, key).fetchone() is not None}
        return [row for key, row in reversed(new.items()) if key not in known]

    def store_findings(self, connection: sqlite3.Connection, run: chain.Run, rows: Sequence[tuple[Any, ...]]) -> None:
        """Adds findings with their entries in the audit trail; known ones are left alone."""
        for row in rows:
            checksum, leaf = seal(*row)
            cursor = connection.execute(_INSERT_FINDING, (*row, run.next_seq, checksum))
            if cursor.rowcount:
                run.add("finding", cursor.lastrowid or 0, leaf)

    def store_event(
        self, connection: sqlite3.Connection, run: chain.Run, row: tuple[Any, ...], source: bytes | None
    ) -> int:
        """Adds an event with its entry in the audit trail; returns its id."""
        number = None if source is None else self._share(connection, source)[0]
        checksum, leaf = seal(*row)
        ref = connection.execute(_INSERT_EVENT, (*row, number, run.next_seq, checksum)).lastrowid or 0
        run.add("event", ref, leaf)
        return ref

    def _share(self, connection: sqlite3.Connection, body: bytes) -> tuple[int, bytes]:
        """The id of the body in `shared`, and its digest; it is added where it is new."""
        known = self._shared.get(body)
        if known is None:
            key = digest(body)
            connection.execute("INSERT OR IGNORE INTO shared (digest, body) VALUES (?, ?)", (key, body.decode()))
            number = connection.execute("SELECT id FROM shared WHERE digest = ?", (key,)).fetchone()[0]
            if len(self._shared) >= _MOST_SHARED:
                self._shared.clear()
            known = self._shared[body] = (number, key)
        return known
