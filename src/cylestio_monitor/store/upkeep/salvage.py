"""A damaged file is set aside, a new one begun, and what can still be read of the old one carried over."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import msgspec

from cylestio_monitor.store.sqlite import database, files
from cylestio_monitor.store.sqlite.counters import INSERT_OUTBOX, count
from cylestio_monitor.store.sqlite.lease import Lease
from cylestio_monitor.store.sqlite.rows import (
    EncodedSpan,
    Event,
    EventRecord,
    FindingRecord,
    SpanRecord,
    digest,
    encode_json,
    event_record,
    seal_record,
    time_ns_of,
)

try:
    import fcntl
except ImportError:  # not on Windows, where a file in use cannot be moved away in the first place
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path
    from typing import Protocol

    class SalvageTarget(Protocol):
        """The inserts of one transaction, as `ingest` makes them."""

        connection: sqlite3.Connection

        def prepare(
            self, spans: Iterable[EncodedSpan], findings: Iterable[tuple[FindingRecord, int]], records: Iterable[Any]
        ) -> None:
            """Finds or creates the runs of everything that will be inserted."""

        def unknown(self, spans: Sequence[EncodedSpan]) -> list[EncodedSpan]:
            """Returns the spans that the store does not have."""

        def store_spans(self, spans: Sequence[EncodedSpan]) -> list[int]:
            """Inserts spans and returns their ids."""

        def store_findings(self, findings: Iterable[FindingRecord], time_ns: int) -> None:
            """Inserts findings."""

        def store_event(self, record: EventRecord, source: bytes | None = None) -> int:
            """Inserts an event and returns its id."""

        def finish(self) -> None:
            """Writes totals and the entries of the audit trail."""


_logger = logging.getLogger(__name__)

WINDOW: Final = 200
"""Rows that are carried over at a time, between the groups that are written."""

DAMAGE_EVENT: Final = "store_damaged"

_RECORDS: Final[dict[str, type[SpanRecord | FindingRecord | EventRecord]]] = {
    "span": SpanRecord,
    "findings": FindingRecord,
    "event": EventRecord,
}
_KEY: Final = "salvage"
_MOST_EMPTY: Final = 50
"""Windows without a row after which the end is reached, where the file does not say."""


def set_aside(path: Path) -> Path | None:
    """Moves a damaged file out of the way; `None` where another process has done so already."""
    with _lock(path):
        if not _damaged(path):
            return None
        target = files.set_aside(path, time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + f"-{os.getpid()}")
    _logger.warning("The store was damaged; it now lies at %s, and a new one is begun", target)
    return target


class _Sound(NamedTuple):
    """A row that was read whole: its id in the damaged file, and what is inserted."""

    old: int
    record: SpanRecord | FindingRecord | EventRecord
    span: EncodedSpan | None = None
    source: bytes | None = None


class _Progress(msgspec.Struct):
    """The progress of a salvage: the file's name, the table, its next row, and the numbers of rows copied so far."""

    file: str
    table: str = "span"
    first: int = 1
    counts: dict[str, int] = msgspec.field(
        default_factory=lambda: {"span": 0, "findings": 0, "event": 0, "unreadable": 0}
    )


class Salvage:
    """Carries rows over from a file that was set aside, a window at a time, oldest first."""

    def __init__(self, source: Path, progress: _Progress | None = None) -> None:
        """Opens the damaged file.

        Args:
            source: Its path now.
            progress: The progress of an earlier process.
        """
        self._path = source
        self._lease = Lease("salvage.by")
        self._bodies: dict[int, bytes] = {}
        self._progress = progress or _Progress(source.name)
        self._counts = dict(self._progress.counts)
        self._windows = self._walk()
        self._window_now: tuple[str, int, list[Any]] | None = None
        self._connection: sqlite3.Connection | None = None
        with contextlib.suppress(sqlite3.Error):
            self._connection = sqlite3.connect(source, isolation_level=None, check_same_thread=False)
            self._connection.text_factory = database.as_text
            self._connection.execute("PRAGMA query_only = ON")
            # Without this SQLite reads nothing at all of a file that is shorter than its header says.
            self._connection.execute("PRAGMA writable_schema = ON")
        self._unsent = self._waiting()

    @classmethod
    def resumed(cls, connection: sqlite3.Connection, path: Path) -> Salvage | None:
        """Returns the salvage that an earlier process left unfinished.

        Args:
            connection: To the new file.
            path: The new file.

        Returns:
            `None` where nothing is left, or another process works on it.
        """
        row = connection.execute("SELECT value FROM meta WHERE key = ?", (_KEY,)).fetchone()
        if row is None or not Lease("salvage.by").may_take(connection):
            return None
        try:
            progress = msgspec.json.decode(row[0], type=_Progress)
        except (msgspec.MsgspecError, TypeError):
            progress = None
        source = None if progress is None else path.with_name(progress.file)
        # A name with a folder in it was not written by us.
        if source is not None and source.parent == path.parent and source.exists():
            return cls(source, progress)
        with database.transaction(connection):
            connection.execute("DELETE FROM meta WHERE key = ?", (_KEY,))
        return None

    def step(self, target: SalvageTarget) -> bool:
        """Carries one window over, in the caller's transaction.

        Args:
            target: The inserts of the transaction.

        Returns:
            Whether there is more for this process.
        """
        if not self._lease.take(target.connection):
            self.close()
            return False
        self._counts = dict(self._progress.counts)
        self._window_now = self._window_now or next(self._windows, None)
        if self._window_now is not None:
            table, first, rows = self._window_now
            self._carry(target, table, rows)
            target.finish()
            self._note(target.connection, _Progress(self._path.name, table, first + WINDOW, self._counts))
            return True
        target.connection.execute("DELETE FROM meta WHERE key = ?", (_KEY,))
        self._lease.give_up(target.connection)
        for table, number in self._counts.items():
            if number:
                count(target.connection, f"salvaged.{table}", number)
        now = time.time_ns()
        event = Event(None, DAMAGE_EVENT, "STORE", "WARNING", now, {"file": self._path.name, **self._counts})
        target.store_event(event_record(event))
        target.finish()
        self.close()
        return False

    def begin(self, target: sqlite3.Connection) -> None:
        """Notes in the new file that rows are to be carried over, in the caller's transaction."""
        if self._lease.take(target):
            self._note(target, self._progress)

    def carried(self) -> None:
        """Confirms that the last step is committed; an unconfirmed step is repeated."""
        if self._window_now is not None:
            table, first, _ = self._window_now
            self._progress = _Progress(self._path.name, table, first + WINDOW, self._counts)
            self._window_now = None

    @staticmethod
    def _note(target: sqlite3.Connection, progress: _Progress) -> None:
        target.execute("REPLACE INTO meta (key, value) VALUES (?, ?)", (_KEY, encode_json(progress).decode()))

    def close(self) -> None:
        """Closes the damaged file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _walk(self) -> Iterator[tuple[str, int, list[Any]]]:
        tables = list(_RECORDS)
        for table in tables[tables.index(self._progress.table) :]:
            columns = self._columns(table)
            first, empty = self._progress.first if table == self._progress.table else 1, 0
            last = self._last(table)
            while (first <= last) if last is not None else (empty < _MOST_EMPTY):
                rows = self._window(table, columns, first)
                empty = 0 if rows else empty + 1
                if rows:
                    yield table, first, rows
                first += WINDOW

    def _columns(self, table: str) -> str:
        """Returns what is selected of a table; a column that came with a later version is NULL."""
        known: set[str] = set()
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                known = {row[1] for row in self._connection.execute(f"PRAGMA table_info({table})")}
        wanted = ("id", "checksum", "source", "common")
        if table == "findings":  # its column `source` is part of the record
            wanted = ("id", "checksum", "", "")
        names = (*wanted, *_RECORDS[table].__struct_fields__)
        return ", ".join(f'"{name}"' if not known or name in known else "NULL" for name in names)

    def _last(self, table: str) -> int | None:
        try:
            assert self._connection is not None
            return int(self._connection.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0])  # noqa: S608 -- constants
        except (sqlite3.Error, AssertionError):
            return None

    def _window(self, table: str, columns: str, first: int) -> list[Any]:
        if self._connection is None:
            return []
        query = f"SELECT {columns} FROM {table} WHERE id BETWEEN ? AND ?"  # noqa: S608 -- constants
        try:
            return self._connection.execute(query, (first, first + WINDOW - 1)).fetchall()
        except sqlite3.Error:
            rows: list[Any] = []
            for number in range(first, first + WINDOW):
                try:
                    rows += self._connection.execute(query, (number, number)).fetchall()
                except sqlite3.Error:
                    continue
            return rows

    def _carry(self, target: SalvageTarget, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
        """Inserts the rows of a window whose checksum is right, and counts the others."""
        sound = [one for one in (self._record(table, row) for row in rows) if one is not None]
        spans, findings = [], []
        if table == "span":
            spans = target.unknown([one.span for one in sound if one.span is not None])
        elif table == "findings":
            findings = [
                (one.record, time_ns_of(one.record.timestamp)) for one in sound if isinstance(one.record, FindingRecord)
            ]
        target.prepare(spans, findings, ())
        refs = dict(zip(map(_identity, spans), target.store_spans(spans), strict=True))
        for finding, time_ns in findings:
            target.store_findings([finding], time_ns)
        for one in sound:
            if one.span is not None:
                self._queue(target.connection, "traces", one.old, refs.get(_identity(one.span)))
            elif isinstance(one.record, EventRecord):
                self._queue(target.connection, "logs", one.old, target.store_event(one.record, one.source))
        self._counts[table] += len(sound)
        self._counts["unreadable"] += len(rows) - len(sound)

    def _record(self, table: str, row: tuple[Any, ...]) -> _Sound | None:
        """Returns a row whose types and checksum are right; `None` for any other."""
        old, stored, source, common, *values = row
        try:
            record = msgspec.convert(values, _RECORDS[table])
            if isinstance(record, SpanRecord):
                bodies = (self._body(source), self._body(common))
                if seal_record(record, *map(digest, bodies))[0] == stored:
                    return _Sound(old, record, EncodedSpan(*bodies, record))
            elif seal_record(record)[0] == stored:
                return _Sound(old, record, source=None if source is None else self._body(source))
        except (sqlite3.DatabaseError, msgspec.ValidationError, TypeError) as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            _logger.debug("a row could not be carried over: %s", type(error).__name__)
        return None

    def _queue(self, target: sqlite3.Connection, signal: str, old: int, new: int | None) -> None:
        """Queues a record in the new outbox that waited in the old one; what was sent is not sent twice."""
        if new is not None and (signal, old) in self._unsent:
            target.execute(INSERT_OUTBOX, (signal, new))

    def _waiting(self) -> set[tuple[str, int]]:
        found: set[tuple[str, int]] = set()
        if self._connection is not None:
            with contextlib.suppress(sqlite3.Error):
                for row in self._connection.execute("SELECT signal, ref FROM outbox WHERE reason IS NULL"):
                    found.add(row)
        return found

    def _body(self, number: int) -> bytes:
        """Returns an entry of `shared` of the damaged file."""
        known = self._bodies.get(number)
        if known is None:
            assert self._connection is not None
            row = self._connection.execute("SELECT body FROM shared WHERE id = ?", (number,)).fetchone()
            known = self._bodies[number] = row[0].encode() if row is not None and type(row[0]) is str else b""
        return known


def _identity(span: EncodedSpan) -> tuple[str, str]:
    return span.record.trace_id, span.record.span_id


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """One process at a time; the file stays, as removing it would let a third one in."""
    descriptor = files.open_lock(path.with_name(f"{path.name}.lock"))
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _damaged(path: Path) -> bool:
    """Returns whether the file now at the path is corrupt; another process may have created a new one."""
    try:
        connection = sqlite3.connect(path, timeout=database.BUSY_SECONDS, isolation_level=None)
        try:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok")
        finally:
            connection.close()
    except sqlite3.Error as error:
        return database.is_damage(error)
