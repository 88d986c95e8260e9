"""A damaged file is set aside, a new one begun, and what can still be read of the old one carried over."""

from __future__ import annotations

import contextlib
import logging
import os
import sqlite3
import time
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cylestio_monitor.store.sqlite import database, files
from cylestio_monitor.store.sqlite.counters import INSERT_OUTBOX, count
from cylestio_monitor.store.sqlite.lease import Lease
from cylestio_monitor.store.sqlite.rows import (
    EVENT_COLUMNS,
    FINDING_COLUMNS,
    SPAN_COLUMNS,
    Event,
    SpanRow,
    checksum,
    digest,
    encode_json,
    event_row,
)

try:
    import fcntl
except ImportError:  # not on Windows, where a file in use cannot be moved away in the first place
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cylestio_monitor.store.audit.chain import Run
    from cylestio_monitor.store.ingest.writer import Writer

_logger = logging.getLogger(__name__)

WINDOW: Final = 200
"""Rows that are carried over at a time, between the groups that are written."""

DAMAGE_EVENT: Final = "store_damaged"

_TABLES: Final = {
    "span": f"id, checksum, source, common, {SPAN_COLUMNS}",
    "findings": f"id, checksum, NULL, NULL, {FINDING_COLUMNS}",
    "event": f"id, checksum, source, NULL, {EVENT_COLUMNS}",
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


class _Progress(msgspec.Struct):
    """How far a salvage came: the file's name, the table and its next row, and what was carried over so far."""

    file: str
    table: str = "span"
    first: int = 1
    counts: dict[str, int] = msgspec.field(
        default_factory=lambda: {"span": 0, "findings": 0, "event": 0, "unreadable": 0}
    )


class Salvage:
    """Carries rows over from a file that was set aside, a window at a time, oldest first."""

    def __init__(self, source: Path, writer: Writer, progress: _Progress | None = None) -> None:
        """Opens the old file.

        Args:
            source: Where it lies now.
            writer: Of the new one.
            progress: How far an earlier process came.
        """
        self._path = source
        self._writer = writer
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
    def resumed(cls, connection: sqlite3.Connection, writer: Writer) -> Salvage | None:
        """What a process that ended left undone; `None` where nothing is, or another process does it."""
        row = connection.execute("SELECT value FROM meta WHERE key = ?", (_KEY,)).fetchone()
        if row is None or not Lease("salvage.by").may_take(connection):
            return None
        progress = msgspec.json.decode(row[0], type=_Progress)
        source = writer.path.with_name(progress.file)
        if source.exists():
            return cls(source, writer, progress)
        with database.transaction(connection):
            connection.execute("DELETE FROM meta WHERE key = ?", (_KEY,))
        return None

    def step(self, target: sqlite3.Connection, run: Run) -> bool:
        """Carries one window over, in the caller's transaction; whether there is more for this process."""
        if not self._lease.take(target):
            self.close()
            return False
        self._counts = dict(self._progress.counts)
        self._window_now = self._window_now or next(self._windows, None)
        if self._window_now is not None:
            table, first, rows = self._window_now
            for row in rows:
                self._carry(target, run, table, row)
            self._note(target, _Progress(self._path.name, table, first + WINDOW, self._counts))
            return True
        target.execute("DELETE FROM meta WHERE key = ?", (_KEY,))
        self._lease.give_up(target)
        for table, number in self._counts.items():
            if number:
                count(target, f"salvaged.{table}", number)
        now = time.time_ns()
        event = Event(None, DAMAGE_EVENT, "STORE", "WARNING", now, {"file": self._path.name, **self._counts})
        self._writer.store_event(target, run, event_row(event), None)
        self.close()
        return False

    def begin(self, target: sqlite3.Connection) -> None:
        """Notes in the new file that there is something to carry over, in the caller's transaction."""
        if self._lease.take(target):
            self._note(target, self._progress)

    def carried(self) -> None:
        """The last step is committed; one that is not is done again."""
        if self._window_now is not None:
            table, first, _ = self._window_now
            self._progress = _Progress(self._path.name, table, first + WINDOW, self._counts)
            self._window_now = None

    @staticmethod
    def _note(target: sqlite3.Connection, progress: _Progress) -> None:
        target.execute("REPLACE INTO meta (key, value) VALUES (?, ?)", (_KEY, encode_json(progress).decode()))

    def close(self) -> None:
        """Lets go of the old file."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _walk(self) -> Iterator[tuple[str, int, list[Any]]]:
        tables = list(_TABLES)
        for table in tables[tables.index(self._progress.table) :]:
            columns = _TABLES[table]
            first, empty = self._progress.first if table == self._progress.table else 1, 0
            last = self._last(table)
            while (first <= last) if last is not None else (empty < _MOST_EMPTY):
                rows = self._window(table, columns, first)
                empty = 0 if rows else empty + 1
                if rows:
                    yield table, first, rows
                first += WINDOW

    def _last(self, table: str) -> int | None:
        try:
            assert self._connection is not None
            return int(self._connection.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0])  # noqa: S608
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

    def _carry(self, target: sqlite3.Connection, run: Run, table: str, row: tuple[Any, ...]) -> None:
        old, stored, source, common, *values = row
        try:
            if table == "span":
                bodies = [self._body(source), self._body(common)]
                if checksum(*values, *map(digest, bodies)) == stored:
                    span = SpanRow(bodies[0], bodies[1], values, (), values[12])
                    refs = self._writer.store_spans(target, run, self._writer.unknown(target, [span]))
                    self._queue(target, "traces", old, next(iter(refs), None))
                    self._counts["span"] += 1
                    return
            elif checksum(*values) == stored:
                if table == "findings":
                    self._writer.store_findings(target, run, [tuple(values)])
                else:
                    body = None if source is None else self._body(source)
                    self._queue(target, "logs", old, self._writer.store_event(target, run, tuple(values), body))
                self._counts[table] += 1
                return
        except (sqlite3.DatabaseError, TypeError) as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            _logger.debug("a row could not be carried over: %s", error)
        self._counts["unreadable"] += 1

    def _queue(self, target: sqlite3.Connection, signal: str, old: int, new: int | None) -> None:
        """What waited to be sent waits on; what was sent is not sent twice."""
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
        """An entry of `shared` of the old file."""
        known = self._bodies.get(number)
        if known is None:
            assert self._connection is not None
            row = self._connection.execute("SELECT body FROM shared WHERE id = ?", (number,)).fetchone()
            known = self._bodies[number] = row[0].encode() if row is not None and type(row[0]) is str else b""
        return known


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    """One process at a time; the file stays, as removing it would let a third one in."""
    lock = path.with_name(f"{path.name}.lock")
    files.check_file(lock)
    descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o600)
    try:
        if fcntl is not None:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _damaged(path: Path) -> bool:
    """Whether the file as it lies there now is broken; another process may have begun a new one."""
    try:
        connection = sqlite3.connect(path, timeout=database.BUSY_SECONDS, isolation_level=None)
        try:
            return bool(connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok")
        finally:
            connection.close()
    except sqlite3.Error as error:
        return database.is_damage(error)
