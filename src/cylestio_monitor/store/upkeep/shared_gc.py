"""Takes out of `shared` what no record refers to any more.

Nothing counts the references: that would cost every span something. Now and then a walk over the spans, a window at a
time between groups, notes what is in use; its end runs under the write lock, so that nothing is added behind its back.
Writers remember ids of `shared`, so a sweep changes a number in `meta` that each of them compares before it writes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cylestio_monitor.store.sqlite import database
from cylestio_monitor.store.sqlite.rows import encode_json

if TYPE_CHECKING:
    import sqlite3

_KEY: Final = "shared.sweeps"
_WORTH_IT: Final = 1000
"""Entries that came since the last sweep, from which another one begins."""

_WINDOW: Final = 5000
_MOST: Final = 10_000


def sweeps(connection: sqlite3.Connection) -> int:
    """Returns the number of sweeps that removed rows; ids read before the last such sweep may no longer exist."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (_KEY,)).fetchone()
    return 0 if row is None else int(row[0])


class Sweep:
    """One walk after the other."""

    def __init__(self) -> None:
        """Begins at the oldest span."""
        self._swept = 0
        self._place = 0
        self._used: set[int] = set()

    def step(self, connection: sqlite3.Connection) -> int:
        """Looks at one window, in no transaction; returns how many entries were taken out."""
        newest = connection.execute("SELECT coalesce(max(id), 0) FROM shared").fetchone()[0]
        if newest - self._swept < _WORTH_IT:
            return 0
        if self._walk(connection) == _WINDOW:
            return 0
        with database.transaction(connection):
            while self._walk(connection) == _WINDOW:
                pass
            self._used.update(
                number for (number,) in connection.execute("SELECT DISTINCT source FROM event WHERE source NOTNULL")
            )
            # The newest stays: its id shall never be given again.
            known = connection.execute("SELECT id FROM shared WHERE id < ?", (newest,)).fetchall()
            unused = [number for (number,) in known if number not in self._used][:_MOST]
            if unused:
                gone = encode_json(unused).decode()
                connection.execute("DELETE FROM shared WHERE id IN (SELECT value FROM json_each(?))", (gone,))
                connection.execute("REPLACE INTO meta (key, value) VALUES (?, ?)", (_KEY, sweeps(connection) + 1))
        self._swept = newest if len(unused) < _MOST else 0
        self._place, self._used = 0, set()
        return len(unused)

    def _walk(self, connection: sqlite3.Connection) -> int:
        query = "SELECT id, source, common FROM span WHERE id > ? ORDER BY id LIMIT ?"
        rows = connection.execute(query, (self._place, _WINDOW)).fetchall()
        for number, source, common in rows:
            self._place = number
            self._used.add(source)
            self._used.add(common)
        return len(rows)
