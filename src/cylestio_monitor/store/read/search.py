"""Full-text search over names and recorded content."""

from __future__ import annotations

import re
import sqlite3
from typing import TYPE_CHECKING, Final

from cylestio_monitor.store.read.lists import SPANS, SpanSummary
from cylestio_monitor.store.sqlite import search_index

if TYPE_CHECKING:
    from collections.abc import Sequence

_AROUND: Final = 80  # code points before a word, and half of those after it
_WORD: Final = re.compile(r"\w+")
_TAIL: Final = 2000
"""Most spans that are not indexed yet and are read one by one."""


def search(
    connection: sqlite3.Connection, text: str, *, before: int | None = None, limit: int = 50
) -> list[SpanSummary]:
    """Finds spans whose name, agent, session, model, tool or recorded content holds all words of a text.

    Content that is encrypted is not searched.

    Args:
        connection: From `queries.connect`.
        text: Words; a part in double quotes is a phrase, a word that ends in ``*`` a prefix.
        before: Only spans with a smaller id: the id of the last row of the page before.
        limit: Largest number of spans, newest first.
    """
    query = match_expression(text)
    if not query:
        return []
    end = before if before is not None else 1 << 62
    last = _last_indexed(connection)
    ids = _unindexed(connection, query, last, end, limit)
    if len(ids) < limit and last:
        rows = connection.execute(
            "SELECT rowid FROM search WHERE search MATCH ? AND rowid < ? ORDER BY rowid DESC LIMIT ?",
            (query, end, limit - len(ids)),
        )
        ids += [row[0] for row in rows]
    marks = ", ".join("?" * len(ids))
    found = connection.execute(f"{SPANS.select()} WHERE id IN ({marks}) ORDER BY id DESC", ids)
    return SPANS.rows(found)


def unsearched(connection: sqlite3.Connection) -> int:
    """Returns the number of spans that no search finds now: not indexed yet, and too many to be read one by one."""
    last = _last_indexed(connection)
    query = "SELECT max(0, count(*) - ?) FROM span WHERE id > ?"
    return int(connection.execute(query, (_TAIL, last)).fetchone()[0])


def excerpts(connection: sqlite3.Connection, ids: Sequence[int], text: str) -> dict[int, str]:
    """The recorded text around the first of the words, by id of the span; a span whose names hold it has none.

    Args:
        connection: From `queries.connect`.
        ids: Spans that `search` found.
        text: The words.
    """
    words = [found.casefold() for found in _WORD.findall(text)]
    marks = ", ".join("?" * len(ids))
    rows = connection.execute(f"SELECT {search_index.COLUMNS} FROM span WHERE id IN ({marks})", list(ids))  # noqa: S608 -- constants
    found: dict[int, str] = {}
    for row in rows:
        number, _names, content = search_index.texts(tuple(row))
        folded = content.casefold()
        places = [place for word in words if (place := folded.find(word)) >= 0]
        if places:
            start = max(0, min(places) - _AROUND)
            piece = " ".join(content[start : min(places) + 2 * _AROUND].split())
            found[number] = ("\u2026" if start else "") + piece
    return found


def match_expression(text: str) -> str:
    """Returns the FTS5 expression of a text; its own syntax is quoted, so that any text is allowed."""
    terms: list[str] = []
    for number, part in enumerate(text.replace("\x00", " ").split('"')):
        words = [part] if number % 2 else part.split()
        for word in words:
            is_prefix = word.endswith("*") and not number % 2
            cleaned = word.rstrip("*") if is_prefix else word
            if any(character.isalnum() for character in cleaned):
                terms.append(f'"{cleaned}"' + ("*" if is_prefix else ""))
    return " AND ".join(terms)


def _last_indexed(connection: sqlite3.Connection) -> int:
    """Returns the id of the last span that the index finds; 0 where there is no index."""
    return search_index.last_indexed(connection) if search_index.is_present(connection) else 0


def _unindexed(connection: sqlite3.Connection, query: str, last: int, end: int, limit: int) -> list[int]:
    """Searches spans that came after the last one that is indexed, with an index in memory."""
    rows = connection.execute(
        f"SELECT {search_index.COLUMNS} FROM span WHERE id > ? AND id < ? ORDER BY id DESC LIMIT ?",  # noqa: S608 -- constants
        (last, end, _TAIL),
    ).fetchall()
    if not rows:
        return []
    memory = sqlite3.connect(":memory:")
    try:
        memory.execute("CREATE VIRTUAL TABLE search USING fts5(name, content)")
        memory.executemany(
            "INSERT INTO search (rowid, name, content) VALUES (?, ?, ?)",
            (search_index.texts(tuple(row)) for row in rows),
        )
        wanted = "SELECT rowid FROM search WHERE search MATCH ? ORDER BY rowid DESC LIMIT ?"
        return [row[0] for row in memory.execute(wanted, (query, limit))]
    except sqlite3.OperationalError:  # a SQLite without FTS5
        words = [word.strip('"*').lower() for word in query.split(" AND ")]
        texts = ((row[0], " ".join(search_index.texts(tuple(row))[1:]).lower()) for row in rows)
        return [number for number, text in texts if all(word in text for word in words)][:limit]
    finally:
        memory.close()
