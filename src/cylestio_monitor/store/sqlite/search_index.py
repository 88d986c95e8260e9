"""The full-text index over names and recorded content, filled between commits.

Indexing costs more than storing a span, so it does not happen in the transaction that stores it. `search.last` in
`meta` is the last span that is indexed; a search reads the rows after it directly. The index has no copy of the text:
to remove a span from it, the same text is computed again from the row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from cylestio_monitor.errors import StoreError
from cylestio_monitor.store.sqlite import content

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Iterator

LAST: Final = "search.last"
COLUMNS: Final = "id, name, agent_id, session_id, model, tool, content"
_CHUNK: Final = 200
_TEXT: Final = 64_000
"""Code points of content that are indexed of one span."""

_SKIPPED: Final = frozenset({"type", "role", "id", "mime_type", "finish_reason"})


def is_present(connection: sqlite3.Connection) -> bool:
    """Returns whether the file has a full-text index."""
    return connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'search'").fetchone() is not None


def last_indexed(connection: sqlite3.Connection) -> int:
    """Returns the id of the last span that is indexed; 0 for none."""
    row = connection.execute("SELECT value FROM meta WHERE key = ?", (LAST,)).fetchone()
    return row[0] if row is not None and type(row[0]) is int else 0


def pending(connection: sqlite3.Connection) -> bool:
    """Returns whether there are spans after the last indexed one; needs no lock."""
    if not is_present(connection):
        return False
    newest = connection.execute("SELECT coalesce(max(id), 0) FROM span").fetchone()[0]
    return bool(newest > last_indexed(connection))


def step(connection: sqlite3.Connection) -> int:
    """Indexes the next spans, in the caller's transaction.

    Args:
        connection: With an open transaction.

    Returns:
        The number of spans that were indexed; 0 at the end.
    """
    if not is_present(connection):
        return 0
    query = f"SELECT {COLUMNS} FROM span WHERE id > ? ORDER BY id LIMIT ?"  # noqa: S608 -- constants
    rows = connection.execute(query, (last_indexed(connection), _CHUNK)).fetchall()
    if rows:
        connection.executemany("INSERT INTO search (rowid, name, content) VALUES (?, ?, ?)", map(texts, rows))
        connection.execute("REPLACE INTO meta (key, value) VALUES (?, ?)", (LAST, rows[-1][0]))
    return len(rows)


def remove(connection: sqlite3.Connection, rows: Iterable[tuple[Any, ...]]) -> None:
    """Removes spans from the index, in the transaction that deletes them.

    Args:
        connection: With an open transaction.
        rows: The `COLUMNS` of each span.
    """
    if is_present(connection):
        last = last_indexed(connection)
        connection.executemany(
            "INSERT INTO search (search, rowid, name, content) VALUES ('delete', ?, ?, ?)",
            [texts(row) for row in rows if row[0] <= last],
        )


def rewind(connection: sqlite3.Connection) -> None:
    """Moves the mark back where the newest spans were removed: the next ones get their ids again."""
    connection.execute(
        "UPDATE meta SET value = min(value, (SELECT coalesce(max(id), 0) FROM span)) WHERE key = ?", (LAST,)
    )


def texts(row: tuple[Any, ...]) -> tuple[int, str, str]:
    """Returns id, names and content of a span as they are indexed; encrypted or damaged content is empty."""
    number, *names, packed = row
    try:
        recorded = content.unpack(packed, None)
    except StoreError:
        recorded = {}
    found: list[str] = []
    size = 0
    for text in _leaves(recorded.values()):
        found.append(text[: _TEXT - size])
        size += len(text)
        if size >= _TEXT:
            break
    return number, " ".join(name for name in names if type(name) is str), "\n".join(found)


def _leaves(values: Iterable[Any]) -> Iterator[str]:
    """Yields the texts of content attributes; an attribute that is JSON is read as such."""
    waiting: list[Any] = []
    for value in values:
        if not isinstance(value, str):
            waiting.append(value)
            continue
        try:
            waiting.append(msgspec.json.decode(value))
        except (msgspec.DecodeError, RecursionError):
            waiting.append(value)
    waiting.reverse()
    while waiting:
        value = waiting.pop()
        if isinstance(value, str):
            yield value
        elif isinstance(value, dict):
            waiting += [item for key, item in reversed(value.items()) if key not in _SKIPPED]
        elif isinstance(value, list):
            waiting += reversed(value)
