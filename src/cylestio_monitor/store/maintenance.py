"""What a person starts by hand: remove old rows, tidy the file."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

from cylestio_monitor.errors import StoreError
from cylestio_monitor.store import database, forks, keys
from cylestio_monitor.store.chain import Chain
from cylestio_monitor.store.retention import Retention

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cylestio_monitor import config


def remove_before(path: Path, settings: config.Store, time_ns: int) -> int:
    """Removes spans, findings and events older than a time; returns how many spans and events went.

    Raises:
        StoreError: The store cannot be opened or written.
    """
    chain = Chain(keys.load(path)[0])
    with writable(path, settings) as connection, database.transaction(connection):
        return Retention(connection, chain).before(time_ns)


def optimize(path: Path, settings: config.Store) -> None:
    """Folds the log into the file, gives free pages back to the disk and refreshes the planner's statistics.

    Raises:
        StoreError: The store cannot be opened or written.
    """
    with writable(path, settings) as connection:
        connection.execute("PRAGMA incremental_vacuum").fetchall()
        connection.execute("PRAGMA optimize")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@contextmanager
def writable(path: Path, settings: config.Store) -> Iterator[sqlite3.Connection]:
    """A connection for one piece of work by hand; forks wait for it."""
    with forks.guard:
        try:
            connection = database.connect(path, settings)
            try:
                yield connection
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise StoreError(f"{path}: {error}") from error


def requeue(path: Path, settings: config.Store, signal: str | None = None) -> int:
    """Has what was set aside sent once more; returns how many records.

    Args:
        path: The database.
        settings: Its budget.
        signal: Of this signal only.

    Raises:
        StoreError: The store cannot be opened or written.
    """
    with writable(path, settings) as connection, database.transaction(connection):
        query = "UPDATE outbox SET reason = NULL WHERE reason IS NOT NULL AND (? IS NULL OR signal = ?)"
        return connection.execute(query, (signal, signal)).rowcount
