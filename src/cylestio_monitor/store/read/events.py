"""The events table as typed rows: filtered, in pages, and as they come."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import msgspec

from cylestio_monitor.store.read.pages import MOST, Cursor, Page
from cylestio_monitor.store.read.values import decoded, to_ns
from cylestio_monitor.store.sqlite import schema
from cylestio_monitor.store.sqlite.lease import is_gone
from cylestio_monitor.store.sqlite.rows import time_ns_of

if TYPE_CHECKING:
    import sqlite3
    from datetime import datetime

_EVENT_TEXT: Final = "event_type || ' ' || data"
_SPAN_TEXT: Final = (
    "event_type || ' ' || name || ' ' || attributes || ' ' || coalesce(model, '') || ' ' || coalesce(tool, '')"
    " || ' ' || trace_id"
)
_OPEN_TEXT: Final = "event_type || ' ' || name || ' ' || rules || ' ' || coalesce(tool, '') || ' ' || trace_id"


class EventRow(msgspec.Struct, frozen=True):
    """One row of the events table.

    Attributes:
        id: Unique; odd for spans, even for logged events, negative for calls that have not ended.
        agent_id: The agent.
        event_type: Such as ``llm_call``.
        channel: Such as ``LLM``.
        level: ``ERROR``, ``WARNING``, ``INFO`` or ``DEBUG``.
        timestamp: UTC, ``YYYY-MM-DD HH:MM:SS.ffffff``.
        data: The decoded JSON object. A call whose process has ended has ``status`` ``interrupted``.
    """

    id: int
    agent_id: str | None
    event_type: str
    channel: str
    level: str
    timestamp: str
    data: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFilter:
    """The events that are wanted; a filter that is `None` matches all.

    Attributes:
        agent_id: The agent.
        event_type: Such as ``llm_call``.
        channel: Such as ``LLM``; upper or lower case.
        level: Such as ``WARNING``; upper or lower case.
        alert: ``none``, ``suspicious`` or ``dangerous``.
        since: Not before this time.
        until: Before this time.
        text: A part of the data or of the event's type, upper or lower case.
        session_id: The session; of spans only.
        tool: The tool; of spans only.
    """

    agent_id: str | None = None
    event_type: str | None = None
    channel: str | None = None
    level: str | None = None
    alert: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    text: str | None = None
    session_id: str | None = None
    tool: str | None = None


@dataclass(frozen=True, slots=True)
class _EventTable:
    """One of the tables that the events view unites.

    Attributes:
        select: Its rows as the view shows them.
        table: The table.
        time: Its time column, in nanoseconds.
        level: The expression of the level.
        alert: The expression of the alert.
        text: The expression that a text is looked for in.
        columns: Filters that the table has columns for.
        condition: Which rows of the table are events.
    """

    select: str
    table: str
    time: str
    level: str
    alert: str
    text: str
    columns: frozenset[str]
    condition: str = "1"


_LABELS: Final = frozenset({"session_id", "tool"})
_PARTS: Final = (
    _EventTable(
        schema.LOGGED_EVENTS, "event", "time_ns", "level", "json_extract(data, '$.alert')", _EVENT_TEXT, frozenset()
    ),
    _EventTable(
        schema.SPAN_EVENTS, "span", "start_ns", schema.LEVEL, "alert", _SPAN_TEXT, _LABELS, "event_type IS NOT NULL"
    ),
    _EventTable(schema.OPEN_EVENTS, "open_call", "start_ns", schema.OPEN_LEVEL, "alert", _OPEN_TEXT, _LABELS),
)


def events(connection: sqlite3.Connection, where: EventFilter | None = None, *, limit: int = 100) -> list[EventRow]:
    """Reads events, newest first.

    Args:
        connection: From `queries.connect`.
        where: The filter.
        limit: Largest number of rows.
    """
    return event_page(connection, where, limit=limit).rows


def event_page(
    connection: sqlite3.Connection,
    where: EventFilter | None = None,
    *,
    cursor: Cursor | None = None,
    limit: int = 100,
) -> Page[EventRow]:
    """Reads one page of events, newest first.

    Args:
        connection: From `queries.connect`.
        where: The filter.
        cursor: From the page with newer rows.
        limit: Largest number of rows.
    """
    where = where or EventFilter()
    limit = max(0, min(limit, MOST))
    rows: list[EventRow] = []
    for part in _PARTS:
        if (where.session_id or where.tool) and not part.columns:
            continue
        conditions, values = _conditions(part, where)
        if cursor is not None:
            conditions.append(f"{part.time} < ?")
            values.append(time_ns_of(str(cursor.value)) + 1000)
        query = f"{_from(part, conditions)} ORDER BY {part.time} DESC, {part.table}.id DESC LIMIT ?"
        rows += _rows(connection, part, query, (*values, limit + 1))
    rows.sort(key=lambda row: (row.timestamp, row.id), reverse=True)
    if cursor is not None:
        rows = [row for row in rows if (row.timestamp, row.id) < (cursor.value, cursor.key)]
    page = Page(rows[:limit])
    if len(rows) > limit and page.rows:
        page.next = Cursor(page.rows[-1].timestamp, page.rows[-1].id)
    return page


def follow(
    connection: sqlite3.Connection, after: tuple[int, int] | None = None
) -> tuple[list[EventRow], tuple[int, int]]:
    """Reads the events that came since the last call, oldest first.

    Args:
        connection: From `queries.connect`.
        after: The position from the last call; without it nothing is returned but a position at the end.

    Returns:
        The events and the next position.
    """
    last = [
        int(connection.execute(f"SELECT coalesce(max(id), 0) FROM {part.table}").fetchone()[0])  # noqa: S608 -- constants
        for part in _PARTS[:2]
    ]
    if after is None:
        return [], (last[0], last[1])
    rows: list[EventRow] = []
    for part, first in zip(_PARTS, after, strict=False):
        query = f"{_from(part, ['id > ?'])} ORDER BY id LIMIT {MOST}"
        rows += _rows(connection, part, query, (first,))
    rows.sort(key=lambda row: (row.timestamp, row.id))
    return rows, (last[0], last[1])


def _from(part: _EventTable, conditions: list[str]) -> str:
    """Returns the SELECT of a part with conditions over the columns of its table."""
    select = part.select.partition(" WHERE ")[0]
    return f"{select} WHERE {' AND '.join([part.condition, *(_qualified(part, one) for one in conditions)])}"


def _qualified(part: _EventTable, condition: str) -> str:
    """Returns a condition whose id is that of the table and not the one that the view computes."""
    return f"{part.table}.{condition}" if condition.startswith("id ") else condition


def _conditions(part: _EventTable, where: EventFilter) -> tuple[list[str], list[Any]]:
    pairs: list[tuple[str, Any]] = [
        ("agent_id = ?", where.agent_id),
        ("event_type = ?", where.event_type),
        ("channel = ? COLLATE NOCASE", where.channel),
        (f"{part.level} = ? COLLATE NOCASE", where.level),
        (f"{part.alert} = ?", where.alert),
        (f"{part.time} >= ?", where.since and to_ns(where.since)),
        (f"{part.time} < ?", where.until and to_ns(where.until)),
        ("session_id = ?", where.session_id),
        ("tool = ?", where.tool),
        # `instr` takes the text as it is; LIKE would read its wildcards.
        (f"instr(lower({part.text}), ?) > 0", where.text and where.text.lower()),
    ]
    if part.columns and where.alert in {"suspicious", "dangerous"}:
        pairs.append(("severity_number > ?", 0))  # takes the index of flagged spans
    used = [pair for pair in pairs if pair[1] is not None]
    return [condition for condition, _ in used], [value for _, value in used]


def _rows(connection: sqlite3.Connection, part: _EventTable, query: str, values: tuple[Any, ...]) -> list[EventRow]:
    rows = [_row(tuple(row)) for row in connection.execute(query, values)]
    if part.table == "open_call" and rows:
        processes = dict(connection.execute("SELECT -id, process FROM open_call").fetchall())
        for row in rows:
            if is_gone(str(processes.get(row.id, ""))):
                row.data["status"] = "interrupted"
    return rows


def _row(values: tuple[Any, ...]) -> EventRow:
    number, agent_id, event_type, channel, level, moment, data = values
    found = decoded(data, {})
    return EventRow(number, agent_id, event_type, channel, level, moment, found if isinstance(found, dict) else {})
