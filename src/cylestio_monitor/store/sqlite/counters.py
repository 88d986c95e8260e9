"""Counters in `meta` that outlive the process, and names that several parts of the store write."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3

GAP_EVENT: Final = "store_gap"
"""Type of the event that counts what retention removed."""

INSERT_OUTBOX: Final = "INSERT OR IGNORE INTO outbox (signal, ref) VALUES (?, ?)"


def count(connection: sqlite3.Connection, name: str, number: int) -> None:
    """Adds to a counter of the file, in the caller's transaction; `queries.status` returns it.

    Args:
        connection: With an open transaction.
        name: The counter, such as ``sent.traces``.
        number: The amount to add.
    """
    connection.execute(
        "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = value + excluded.value",
        (f"count.{name}", number),
    )
