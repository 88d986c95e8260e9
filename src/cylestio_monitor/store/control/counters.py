"""Counters of limits in the store: a storage of the library `limits` that the processes of a machine share.

Every step is one transaction that holds the write lock from its start, so that processes never count past a limit. A
counter need not survive a power cut: it is not synced to the disk.
"""

from __future__ import annotations

import sqlite3
import time
import weakref
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

from limits.storage import MovingWindowSupport, Storage

from cylestio_monitor.errors import StoreError
from cylestio_monitor.store.sqlite import database, fork_guard

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cylestio_monitor import config

_SECOND_NS: Final = 1_000_000_000
_PATIENCE_S: Final = 5.0
"""Longest wait for the writes of other processes, after which the call counts as one that could not be judged."""
_SUM: Final = "SELECT coalesce(sum(amount), 0), min(start_ns) FROM limit_counter WHERE key = ? AND start_ns > ?"


class StoreCounters(Storage, MovingWindowSupport):  # type: ignore[misc]  # the library may not be installed
    """Counts in the table ``limit_counter``; keys of moving windows and of sums are apart.

    An entry of a moving window is a row of its own. A sum is one row that is replaced when it has expired.
    """

    STORAGE_SCHEME = None  # made by the set-up, not from a URI

    def __init__(self, path: Path, settings: config.StoreSettings) -> None:
        """Opens nothing yet.

        Args:
            path: The database.
            settings: Its budget.
        """
        super().__init__()
        self._path = path
        self._settings = settings
        self._open: list[sqlite3.Connection] = []  # at most one, closed when this object goes
        weakref.finalize(self, _close, self._open)
        self._inode: tuple[int, int] | None = None
        fork_guard.register(self)

    @property
    def base_exceptions(self) -> tuple[type[Exception], ...]:
        """The errors of this storage."""
        return (StoreError, sqlite3.Error)

    def incr(self, key: str, expiry: int, amount: int = 1) -> int:
        """Adds to a sum, which begins anew once it has expired; the sum.

        Args:
            key: The counter.
            expiry: Seconds after which a new sum expires.
            amount: The number that is added.
        """
        now_ns = time.time_ns()
        with self._transaction() as connection:
            connection.execute("DELETE FROM limit_counter WHERE key = ? AND expires_ns <= ?", (_sum(key), now_ns))
            connection.execute(
                "INSERT INTO limit_counter (key, start_ns, expires_ns, amount) VALUES (?, 0, ?, ?) "
                "ON CONFLICT (key, start_ns) DO UPDATE SET amount = amount + excluded.amount",
                (_sum(key), now_ns + expiry * _SECOND_NS, amount),
            )
            row = connection.execute("SELECT amount FROM limit_counter WHERE key = ?", (_sum(key),)).fetchone()
        return int(row[0])

    def get(self, key: str) -> int:
        """The value of a sum; 0 where it has expired."""
        return int(self._row(key)[0])

    def get_expiry(self, key: str) -> float:
        """Time at which a sum expires, seconds since the epoch; now where there is none."""
        return float(self._row(key)[1] / _SECOND_NS)

    def check(self) -> bool:
        """Returns whether the store can be written."""
        try:
            with self._transaction():
                return True
        except StoreError:
            return False

    def reset(self) -> int | None:
        """Removes all counters; how many there were."""
        with self._transaction() as connection:
            return int(connection.execute("DELETE FROM limit_counter").rowcount)

    def clear(self, key: str) -> None:
        """Removes the counters of a key."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM limit_counter WHERE key IN (?, ?)", (_sum(key), _window(key)))

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        """Adds to a moving window, unless it would hold more than its limit then; whether it was added.

        Args:
            key: The counter.
            limit: Most of it within the window.
            expiry: Length of the window, seconds.
            amount: The number that is added.
        """
        now_ns, name = time.time_ns(), _window(key)
        since_ns = now_ns - expiry * _SECOND_NS
        with self._transaction() as connection:
            if connection.execute(_SUM, (name, since_ns)).fetchone()[0] + amount > limit:
                return False
            connection.execute("DELETE FROM limit_counter WHERE key = ? AND start_ns <= ?", (name, since_ns))
            last = connection.execute("SELECT max(start_ns) FROM limit_counter WHERE key = ?", (name,)).fetchone()[0]
            start_ns = max(now_ns, (last or 0) + 1)  # two processes may read the same time
            connection.execute(
                "INSERT INTO limit_counter (key, start_ns, expires_ns, amount) VALUES (?, ?, ?, ?)",
                (name, start_ns, start_ns + expiry * _SECOND_NS, amount),
            )
        return True

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:  # noqa: ARG002 -- the library's signature
        """Begin of a moving window, seconds since the epoch, and the number in it. Arguments as of `acquire_entry`."""
        now_ns = time.time_ns()
        with self._connection() as connection:
            amount, start_ns = connection.execute(_SUM, (_window(key), now_ns - expiry * _SECOND_NS)).fetchone()
        return (now_ns if start_ns is None else start_ns) / _SECOND_NS, int(amount)

    def before_fork(self) -> None:
        """Closes the connection; the next use opens it again."""
        _close(self._open)

    def after_fork_in_child(self) -> None:
        """Forgets the connection of the parent."""
        while self._open:
            fork_guard.leave_open(self._open.pop())

    def _row(self, key: str) -> tuple[Any, Any]:
        now_ns = time.time_ns()
        query = "SELECT amount, expires_ns FROM limit_counter WHERE key = ? AND expires_ns > ?"
        with self._connection() as connection:
            row = connection.execute(query, (_sum(key), now_ns)).fetchone()
        return (0, now_ns) if row is None else (row[0], row[1])

    @contextmanager
    def _connection(self) -> Iterator[sqlite3.Connection]:
        """The connection, which stays open until a fork, an error, or another file in the place of this one."""
        with fork_guard.guard:
            if self._open and database.inode(self._path) != self._inode:
                self.before_fork()
            try:
                if not self._open:
                    self._open.append(database.connect(self._path, self._settings, _PATIENCE_S))
                    self._open[0].execute("PRAGMA synchronous = OFF")
                    self._inode = database.inode(self._path)
                yield self._open[0]
            except sqlite3.Error as error:
                self.before_fork()
                raise StoreError(f"{self._path}: {error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._connection() as connection, database.transaction(connection):
            yield connection


def _close(connections: list[sqlite3.Connection]) -> None:
    while connections:
        connections.pop().close()


def _sum(key: str) -> str:
    return f"sum:{key}"


def _window(key: str) -> str:
    return f"window:{key}"
