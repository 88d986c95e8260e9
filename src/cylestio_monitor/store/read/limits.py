"""Limits for a store that somebody else may have written: how long it is read, and how much memory that takes.

A view can be replaced by one without an end, a generated column can make a gigabyte out of nothing. A command that
opens such a file ends with an error instead of filling the memory or the disk.
"""

from __future__ import annotations

import sqlite3
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from cylestio_monitor.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Iterator

SECONDS: Final = 30.0
"""Longest time that SQLite computes without a pause."""

_TEXT_BYTES: Final = 1 << 30
_VALUE_BYTES: Final = 128 << 20
_LIMIT_LENGTH: Final = 0
"""`sqlite3.SQLITE_LIMIT_LENGTH`, which Python 3.10 does not have."""

_HEAP_BYTES: Final = 1 << 30
_PAUSE_S: Final = 0.5
_STEPS: Final = 100_000
"""Instructions of SQLite's machine between two looks at the clock, which are some milliseconds."""


class ReadLimits:
    """The limits of one connection. After a pause, as a command that follows the store makes it, they begin anew."""

    def __init__(self, seconds: float | None = None, text_bytes: int = _TEXT_BYTES) -> None:
        """Begins now.

        Args:
            seconds: Longest time that SQLite computes without a pause; `SECONDS` by default.
            text_bytes: Most bytes of text that are read in that time.
        """
        self._seconds = SECONDS if seconds is None else seconds
        self._text_bytes = text_bytes
        self._text_left = text_bytes
        self._begun = self._seen = time.monotonic()

    def apply(self, connection: sqlite3.Connection) -> None:
        """Sets the limits; the one on SQLite's memory holds for the whole process."""
        connection.execute("PRAGMA cell_size_check = ON")
        connection.execute("PRAGMA temp_store = MEMORY")  # the limit on memory holds for a sort without an end too
        connection.execute(f"PRAGMA hard_heap_limit = {_HEAP_BYTES}")
        if hasattr(connection, "setlimit"):  # from Python 3.11 on
            connection.setlimit(_LIMIT_LENGTH, _VALUE_BYTES)
        connection.text_factory = self._text
        connection.set_progress_handler(self._is_over, _STEPS)

    def _is_over(self) -> bool:
        now = time.monotonic()
        if now - self._seen > _PAUSE_S:
            self._begun, self._text_left = now, self._text_bytes
        self._seen = now
        return now - self._begun > self._seconds

    def _text(self, data: bytes) -> str:
        self._text_left -= len(data)
        if self._text_left < 0:
            raise StoreError(f"more than {self._text_bytes >> 20} MiB of text would be read")
        return data.decode("utf-8", "replace")


@contextmanager
def explained(path: object) -> Iterator[None]:
    """Turns the errors of a file that is damaged, hostile or too large into one that names the file.

    Args:
        path: The database, for the message.

    Raises:
        StoreError: SQLite reported an error, or a limit was reached.
    """
    try:
        yield
    except MemoryError as error:
        raise StoreError(f"{path}: reading it takes more memory than is allowed") from error
    except sqlite3.Error as error:
        if "interrupted" in str(error):
            raise StoreError(f"{path}: reading it takes longer than is allowed") from error
        raise StoreError(f"{path}: {error}") from error
