"""Opens the file: private, in WAL mode, within its budget, of this version."""

from __future__ import annotations

import functools
import sqlite3
from contextlib import contextmanager
from itertools import chain
from operator import methodcaller
from typing import TYPE_CHECKING, Any, Final

from cylestio_monitor.errors import StoreError
from cylestio_monitor.store.sqlite import files, fork_guard, schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from cylestio_monitor import config

PAGE_BYTES: Final = 8192
RESERVE: Final = 8
"""One in so many pages of the budget is left for the removal of rows."""
BUSY_SECONDS: Final = 1.0
"""Longest wait for another process's write, after which the caller tries again later."""
_MIB = 1 << 20

as_text: Final = methodcaller("decode", "utf-8", "replace")
"""Decodes text that a flipped bit has made invalid UTF-8; the checksum of the row then reports the damage. The default
of `sqlite3` would fail the whole query."""

_ROWS: Final = (64, 16, 4, 1) if sqlite3.sqlite_version_info >= (3, 32) else (16, 4, 1)
"""Rows of one statement; before 3.32 SQLite took no more than 999 values at a time."""


def connect(path: Path, settings: config.StoreSettings, patience_s: float = BUSY_SECONDS) -> sqlite3.Connection:
    """Opens a connection that may write, in autocommit mode; creates or migrates the file.

    A file that needs neither is opened without the write lock, so that another process may hold the lock.

    Args:
        path: The database.
        settings: Its budget.
        patience_s: Longest wait for the lock of another process, in seconds.

    Raises:
        StoreError: Nothing can be written there, or the file is not ours.
        sqlite3.DatabaseError: The file is damaged, or another process keeps it locked; see `is_damage`, `is_busy`.
    """
    files.prepare(path)
    try:
        connection = sqlite3.connect(path, timeout=patience_s, isolation_level=None, check_same_thread=False)
    except sqlite3.OperationalError as error:
        raise StoreError(f"{path}: {error}") from error
    connection.text_factory = as_text
    try:
        _prepare_new(connection)
        connection.executescript(
            "PRAGMA synchronous = NORMAL;"
            # A larger log than usual: under load the pages of the identity index are written once, not every time.
            f"PRAGMA wal_autocheckpoint = {16 * _MIB // PAGE_BYTES};"
            f"PRAGMA journal_size_limit = {32 * _MIB};"
            "PRAGMA cache_size = -8000;"
            "PRAGMA temp_store = MEMORY;"
            "PRAGMA cell_size_check = ON;"
        )
        _limit(connection, settings, reserved=True)
        schema.install(connection)
    except StoreError as error:
        connection.close()
        raise StoreError(f"{path}: {error}") from error
    except sqlite3.OperationalError as error:
        connection.close()
        if is_damage(error) or is_busy(error):
            raise
        raise StoreError(f"{path}: {error}") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare_new(connection: sqlite3.Connection) -> None:
    """Sets what is set once in the life of a file; each of these statements would take the write lock."""
    if connection.execute("PRAGMA user_version").fetchone()[0] == 0:
        connection.execute(f"PRAGMA page_size = {PAGE_BYTES}")
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        connection.execute("PRAGMA journal_mode = WAL")


def connect_read_only(path: Path, prepare: Callable[[sqlite3.Connection], None] | None = None) -> sqlite3.Connection:
    """A connection that only reads, for queries; rows are `sqlite3.Row`.

    Args:
        path: The database.
        prepare: Called with the connection before anything is read.

    Raises:
        StoreError: There is no such file, or it cannot be read.
    """
    if not path.exists():
        raise StoreError(f"{path}: there is no store yet")
    files.check_readable(path)
    try:
        connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)
        connection.text_factory = as_text
        connection.execute("PRAGMA query_only = ON")
        if prepare is not None:
            prepare(connection)
        if connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'meta' AND type = 'table'").fetchone() is None:
            raise sqlite3.OperationalError("no such table: meta")
    except sqlite3.Error as error:
        raise StoreError(f"{path}: {error}") from error
    connection.row_factory = sqlite3.Row
    return connection


@contextmanager
def writable(path: Path, settings: config.StoreSettings) -> Iterator[sqlite3.Connection]:
    """A connection for one administrative operation; a fork waits until it is closed.

    Raises:
        StoreError: The file cannot be opened or written.
    """
    with fork_guard.guard:
        try:
            connection = connect(path, settings)
            try:
                yield connection
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise StoreError(f"{path}: {error}") from error


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """One transaction that holds the write lock from its start: a lock taken late fails instead of waiting."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def insert(connection: sqlite3.Connection, into: str, rows: Sequence[tuple[Any, ...]], after: str = "") -> None:
    """Inserts rows, many with one statement.

    Every statement releases the interpreter, and a thread that computes then keeps it for 5 ms. With a statement per
    row the writer would fall behind an application that computes.

    Args:
        connection: With an open transaction.
        into: ``INSERT INTO table (columns)``.
        rows: The values, of one length.
        after: An ``ON CONFLICT`` clause.
    """
    start = 0
    for size in _ROWS:
        while len(rows) - start >= size:
            values = list(chain.from_iterable(rows[start : start + size]))
            connection.execute(_statement(into, len(rows[0]), size, after), values)
            start += size


@functools.cache
def _statement(into: str, width: int, size: int, after: str) -> str:
    row = f"({', '.join('?' * width)})"
    return f"{into} VALUES {', '.join([row] * size)} {after}"


def inode(path: Path) -> tuple[int, int] | None:
    """Returns device and inode of the file at the path, or `None`; a connection compares them to detect a new file."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def is_damage(error: sqlite3.Error) -> bool:
    """Returns whether the error means that the file is corrupt, as opposed to busy, full or unreachable."""
    text = str(error)
    return "malformed" in text or "not a database" in text or "file is encrypted" in text


def is_busy(error: BaseException) -> bool:
    """Returns whether the error means that another connection holds the lock."""
    return isinstance(error, sqlite3.OperationalError) and ("locked" in str(error) or "busy" in str(error))


@contextmanager
def reserve(connection: sqlite3.Connection, settings: config.StoreSettings) -> Iterator[None]:
    """Lets a transaction use the whole page budget: to remove a row from the full-text index takes pages, too."""
    _limit(connection, settings, reserved=False)
    try:
        yield
    finally:
        _limit(connection, settings, reserved=True)


def _limit(connection: sqlite3.Connection, settings: config.StoreSettings, *, reserved: bool) -> None:
    """Sets the page budget, with or without the reserve. SQLite keeps it above what is in use."""
    pages = settings.max_mb * _MIB // int(connection.execute("PRAGMA page_size").fetchone()[0])
    connection.execute(f"PRAGMA max_page_count = {pages - pages // RESERVE if reserved else pages}")


def is_full(error: sqlite3.Error) -> bool:
    """Returns whether the error means that the page limit or the disk is exhausted."""
    return "is full" in str(error)
