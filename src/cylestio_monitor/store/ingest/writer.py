"""Commits groups: encodes what waits and writes it in one transaction, on one thread, with one connection.

Every row is sealed with a checksum, and what the audit trail covers enters its chain in the same transaction, so that
neither can stand without the other.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from typing import TYPE_CHECKING, Any, Final

from cylestio_monitor.errors import StoreError
from cylestio_monitor.store.audit import chain, checkpoint
from cylestio_monitor.store.ingest import interrupted, side_file
from cylestio_monitor.store.ingest.batch import Batch
from cylestio_monitor.store.ingest.grouping import FindingGroups
from cylestio_monitor.store.ingest.rollup import Runs
from cylestio_monitor.store.ingest.row_writer import RowWriter, SharedBodies
from cylestio_monitor.store.ingest.span_encoder import SpanEncoder
from cylestio_monitor.store.sqlite import database, fork_guard, keys, schema, search_index
from cylestio_monitor.store.sqlite.content import seal_text
from cylestio_monitor.store.sqlite.counters import count
from cylestio_monitor.store.sqlite.lease import current_process
from cylestio_monitor.store.sqlite.rows import Event, event_record, finding_records
from cylestio_monitor.store.upkeep import salvage, shared_gc
from cylestio_monitor.store.upkeep.retention import Place, Retention

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from cylestio_monitor import config
    from cylestio_monitor.store.audit.checkpoint import Checkpoint
    from cylestio_monitor.store.ingest.queue import PendingWrite
    from cylestio_monitor.store.sqlite.keys import Cipher

_logger = logging.getLogger(__name__)

_MOST_HANDED_OVER: Final = 4096


class Writer:
    """Writes to the file over one connection; the caller holds the guard of `fork_guard`."""

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
        self._cipher = cipher
        self._encoder = SpanEncoder(cipher)
        self._shared = SharedBodies()
        self._groups = FindingGroups(keys.derive(secret, "group"))
        self._runs = Runs()
        self._handed_over: dict[tuple[str, str], frozenset[tuple[Any, ...]]] = {}
        self._process = current_process()
        self._inode: tuple[int, int] | None = None
        self._connection: sqlite3.Connection | None = None
        self._salvage: salvage.Salvage | None = None
        try:
            self.connection()
        except sqlite3.DatabaseError as error:
            if database.is_damage(error):
                self.replace_damaged()
                self.connection()
            elif not database.is_busy(error):
                raise

    def connection(self, patience_s: float = database.BUSY_SECONDS) -> sqlite3.Connection:
        """Returns the open connection; it is opened again after a fork, or where the file was replaced.

        Args:
            patience_s: Longest wait for the lock of another process while it is opened, in seconds.

        Raises:
            sqlite3.Error: The file is damaged, or another process keeps it locked.
            StoreError: The file cannot be opened.
        """
        if self._connection is not None and self._inode != database.inode(self.path):
            self.close()
        if self._connection is None:
            self._connection = database.connect(self.path, self._settings, patience_s)
            self._inode = database.inode(self.path)
            self._forget()
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
        self._process = current_process()

    def write(self, group: Sequence[PendingWrite], patience_s: float = database.BUSY_SECONDS) -> None:
        """Commits a group, all or nothing.

        Args:
            group: The items.
            patience_s: Longest wait for the lock of another process, in seconds.

        Raises:
            sqlite3.Error: SQLite cannot write; nothing of the group is stored.
            StoreError: The file cannot be opened.
        """
        batch = self.encode(group)
        connection = self.connection(patience_s)
        if batch.is_empty:
            return
        urgent = any(pending.urgent for pending in group)
        connection.execute(f"PRAGMA busy_timeout = {int(patience_s * 1000)}")
        if urgent:
            # Syncing this commit brings every earlier one of the log to disk as well.
            connection.execute("PRAGMA synchronous = FULL")
        try:
            self._commit(connection, batch)
        finally:
            if urgent:
                connection.execute("PRAGMA synchronous = NORMAL")
        self._remember(batch)

    def encode(self, group: Sequence[PendingWrite], *, aside: bool = False) -> Batch:
        """Encodes the items of a group; needs no connection.

        Args:
            group: The items.
            aside: Whether another thread than the writer's may encode at the same time.
        """
        encoder = SpanEncoder(self._cipher) if aside else self._encoder
        spans = [pending for pending in group if pending.kind == "span"]
        if spans and self.resource is None:
            self.resource = spans[0].payload.resource
        batch = Batch(source=encoder.source(self.resource, None)[0], forward=sorted(self.forward))
        handed_over = dict(self._handed_over)
        for pending in group:
            if pending.kind == "findings":
                for finding in finding_records(*pending.payload):
                    if finding.excerpt:
                        finding.excerpt = seal_text(finding.excerpt, self._cipher)
                    key = (finding.trace_id, finding.span_id)
                    handed_over[key] = handed_over.get(key, frozenset()) | {finding.identity}
                    batch.findings.append((finding, pending.payload[-1]))
            elif pending.kind == "event":
                batch.events.append(event_record(pending.payload))
            elif pending.kind == "metric":
                batch.metrics.append(pending.payload)
            elif pending.kind == "record":
                batch.records.append(pending.payload)
        batch.spans = encoder.encode(((one.payload, one.size) for one in spans), handed_over)
        return batch

    def _remember(self, batch: Batch) -> None:
        """Keeps the findings of spans that have not ended: they come again with their span."""
        for finding, _ in batch.findings:
            key = (finding.trace_id, finding.span_id)
            self._handed_over[key] = self._handed_over.get(key, frozenset()) | {finding.identity}
        for span in batch.spans:
            self._handed_over.pop((span.record.trace_id, span.record.span_id), None)
        if len(self._handed_over) > _MOST_HANDED_OVER:
            self._handed_over.clear()

    def _commit(self, connection: sqlite3.Connection, batch: Batch, progress: tuple[str, int] | None = None) -> None:
        """Commits a batch; spans that are in the store already are left out.

        Args:
            connection: The connection.
            batch: The rows.
            progress: A side file's key in `meta`, and how far it is inserted then.
        """
        try:
            self._insert(connection, batch, progress, some_known=progress is not None)
        except sqlite3.IntegrityError:
            self._insert(connection, batch, progress, some_known=True)

    def _insert(
        self, connection: sqlite3.Connection, batch: Batch, progress: tuple[str, int] | None, *, some_known: bool
    ) -> None:
        try:
            with database.transaction(connection):
                rows = self.begin(connection, frozenset(batch.forward))
                if some_known:
                    batch.spans = rows.unknown(batch.spans)
                rows.prepare(batch.spans, batch.findings, batch.records)
                for finding, time_ns in batch.findings:
                    rows.store_findings([finding], time_ns)
                for record in batch.records:
                    rows.store_record(record, batch.source)
                rows.store_spans(batch.spans)
                for event in batch.events:
                    rows.store_event(event, batch.source)
                for data in batch.metrics:
                    connection.execute("INSERT INTO metric (time_ns, data) VALUES (?, ?)", (time.time_ns(), data))
                    connection.execute("INSERT INTO outbox (signal, ref) VALUES ('metrics', last_insert_rowid())")
                for name, number in batch.counters.items():
                    count(connection, name, number)
                if progress is not None:
                    connection.execute("REPLACE INTO meta (key, value) VALUES (?, ?)", progress)
                rows.finish()
        except BaseException:
            self._forget()  # an entry that was rolled back has no id
            raise

    def end_interrupted(self) -> int:
        """Writes spans for calls whose process has ended and returns their number; 0 where none is left."""
        connection = self.connection()
        if not interrupted.exist(connection):
            return 0
        total = 0
        for forwarded in (False, True):
            found = interrupted.spans(connection, forwarded=forwarded)
            total += len(found)
            if found:
                self._commit(connection, Batch(spans=found, forward=["traces"] if forwarded else []))
        return total

    def has_leftovers(self) -> bool:
        """Returns whether an earlier process left rows in a side file, or calls that did not end."""
        if side_file.waiting(self.path):
            return True
        return self._connection is not None and interrupted.exist(self._connection)

    def take_up(self) -> int:
        """Inserts one batch of a side file that no process writes any more.

        Returns:
            1 where a batch was inserted or a file was removed; 0 where nothing is left to do.

        Raises:
            sqlite3.Error: SQLite cannot write; the file stays.
            StoreError: The database cannot be opened.
        """
        for path in side_file.waiting(self.path):
            try:
                reader = side_file.Reader(path)
            except (OSError, StoreError) as error:
                _logger.debug("a side file is left alone: %s", error)
                continue
            try:
                self._take_up(reader)
            finally:
                reader.close()
            return 1
        return 0

    def _take_up(self, reader: side_file.Reader) -> None:
        connection = self.connection()
        key = f"pending.{reader.path.name}"
        row = connection.execute("SELECT value FROM meta WHERE key = ?", (key,)).fetchone()
        offset = row[0] if row is not None and type(row[0]) is int else 0
        for place, batch in reader.batches(offset):
            found = Batch(counters={"dropped.damaged side file": 1}) if batch is None else batch
            try:
                self._commit(connection, found, (key, place))
            except sqlite3.OperationalError:
                raise  # of the file, not of these rows
            except Exception as error:  # noqa: BLE001 -- one batch that cannot be stored must not keep the others back
                _logger.debug("a batch of a side file could not be stored: %s", type(error).__name__)
                self._commit(connection, Batch(counters={"dropped.not storable": 1}), (key, place))
        # In this order: a kill in between leaves an entry that nothing refers to, and no row comes twice.
        reader.path.unlink(missing_ok=True)
        with database.transaction(connection):
            connection.execute("DELETE FROM meta WHERE key = ?", (key,))

    def begin(self, connection: sqlite3.Connection, forward: frozenset[str] = frozenset()) -> RowWriter:
        """Returns the inserts of one transaction, which the caller has begun and commits.

        Args:
            connection: With an open transaction.
            forward: Signals whose rows enter the outbox in addition to those of this process.
        """
        schema.check(connection)
        swept = shared_gc.sweeps(connection)
        if swept != self._swept:
            self._shared.forget()
            self._swept = swept
        return RowWriter(
            connection,
            self.chain,
            groups=self._groups,
            runs=self._runs,
            shared=self._shared,
            forward=self.forward | forward,
            process=self._process,
        )

    def _forget(self) -> None:
        self._shared.forget()
        self._runs.forget()

    def count(self, numbers: Mapping[str, int]) -> None:
        """Adds to the counters of the file."""
        if numbers:
            connection = self.connection()
            with database.transaction(connection):
                trail = self.chain.begin(connection)
                for name, number in numbers.items():
                    count(connection, name, number)
                trail.finish()

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
                rows = self.begin(connection)
                data = {"checkpoint": made.line().decode().strip(), "seq": made.seq, "public_key": made.public_key}
                rows.store_event(event_record(Event(None, checkpoint.EVENT, "STORE", "INFO", time.time_ns(), data)))
                rows.finish()
        return made

    def replace_damaged(self) -> None:
        """Sets a damaged file aside and begins a new one; what reads of the old one follows by and by."""
        self.close()
        self._place = Place()
        target = salvage.set_aside(self.path)
        if target is not None:
            self._salvage = salvage.Salvage(target)
            connection = self.connection()
            with database.transaction(connection):
                self._salvage.begin(connection)

    def _continue_salvage(self, connection: sqlite3.Connection) -> int:
        assert self._salvage is not None
        try:
            with database.transaction(connection):
                more = self._salvage.step(self.begin(connection))
        except BaseException:
            self._forget()
            raise
        self._salvage.carried()
        if not more:
            self._salvage = None
        return 1

    def maintain(self, *, at_cap: bool = False) -> int:
        """Removes one chunk of rows beyond the age or size limit; returns the number of removed rows.

        Args:
            at_cap: The page limit is reached: rows are removed whatever their age.
        """
        connection = self.connection()
        if not at_cap:
            self._salvage = self._salvage or salvage.Salvage.resumed(connection, self.path)
            if self._salvage is not None:
                return self._continue_salvage(connection)
        with database.reserve(connection, self._settings), database.transaction(connection):
            retention = Retention(connection, self.chain, self._place)
            removed = retention.by_size(at_cap=at_cap)
            if not at_cap:
                removed += retention.by_age(self._settings, time.time_ns())
        if removed and not at_cap:
            connection.execute("PRAGMA incremental_vacuum(256)").fetchall()
        if not at_cap:
            self._sweep.step(connection)
        return removed

    def index(self) -> int:
        """Adds one chunk of stored spans to the full-text index and returns their number; 0 at the end."""
        connection = self.connection()
        if search_index.pending(connection):
            with database.transaction(connection):
                return search_index.step(connection)
        return 0
