"""Maintenance commands: remove old rows, compact the file, retry or discard the records a collector refused."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

from cylestio_monitor.store.audit.chain import Chain
from cylestio_monitor.store.delivery.batch import IN_DOUBT
from cylestio_monitor.store.sqlite import database, keys
from cylestio_monitor.store.upkeep.retention import Retention

if TYPE_CHECKING:
    from pathlib import Path

    from cylestio_monitor import config

_LONGEST_PAUSE_S: Final = 0.1
_SET_ASIDE: Final = "reason IS NOT NULL AND (? IS NULL OR signal = ?)"


def remove_before(path: Path, settings: config.StoreSettings, time_ns: int) -> int:
    """Removes spans, findings and events older than a time, in chunks between which other processes may write.

    Returns:
        The number of spans and events that were removed.

    Raises:
        StoreError: The store cannot be opened or written.
    """
    chain = Chain(keys.load(path)[0])
    total = 0
    with database.writable(path, settings) as connection:
        while True:
            started = time.monotonic()
            with database.transaction(connection):
                removed = Retention(connection, chain).before(time_ns)
            total += removed
            if not removed:
                return total
            # As long as the lock was held: writers that wait for it poll, and would hardly ever meet a free one.
            time.sleep(min(time.monotonic() - started, _LONGEST_PAUSE_S))


def optimize(path: Path, settings: config.StoreSettings) -> None:
    """Folds the log into the file, gives free pages back to the disk and refreshes the planner's statistics.

    Raises:
        StoreError: The store cannot be opened or written.
    """
    with database.writable(path, settings) as connection:
        connection.execute("PRAGMA incremental_vacuum").fetchall()
        connection.execute("PRAGMA optimize")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def requeue(path: Path, settings: config.StoreSettings, signal: str | None = None, *, in_doubt: bool = False) -> int:
    """Has what was set aside sent once more; returns how many records.

    Args:
        path: The database.
        settings: Its budget.
        signal: Of this signal only.
        in_doubt: Also of batches of which a collector took a part without saying which: it gets that part twice.

    Raises:
        StoreError: The store cannot be opened or written.
    """
    with database.writable(path, settings) as connection, database.transaction(connection):
        query = f"UPDATE outbox SET reason = NULL WHERE {_SET_ASIDE} AND (? OR reason NOT LIKE ?)"  # noqa: S608 -- constant
        return connection.execute(query, (signal, signal, in_doubt, f"%{IN_DOUBT}")).rowcount


def give_up(path: Path, settings: config.StoreSettings, signal: str | None = None) -> int:
    """Takes what was set aside out of the outbox; spans and events stay in the store. Returns how many records.

    Args:
        path: The database.
        settings: Its budget.
        signal: Of this signal only.

    Raises:
        StoreError: The store cannot be opened or written.
    """
    with database.writable(path, settings) as connection, database.transaction(connection):
        refs = f"SELECT ref FROM outbox WHERE signal = 'metrics' AND {_SET_ASIDE}"  # noqa: S608 -- constant
        connection.execute(f"DELETE FROM metric WHERE id IN ({refs})", (signal, signal))  # noqa: S608 -- constant
        return connection.execute(f"DELETE FROM outbox WHERE {_SET_ASIDE}", (signal, signal)).rowcount  # noqa: S608 -- constant
