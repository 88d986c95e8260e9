"""The documented helpers over the local store: read events, count them, write one, clean up.

Each takes the database of the running monitor, or the one that the settings name. Times without a zone are UTC.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import msgspec

from cylestio_monitor import config
from cylestio_monitor.store import Event, Store, admin
from cylestio_monitor.store.read import queries
from cylestio_monitor.store.read.events import EventFilter, events
from cylestio_monitor.store.read.values import to_ns

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from contextlib import AbstractContextManager
    from pathlib import Path
    from sqlite3 import Connection

__all__ = [
    "DatabaseManager",
    "cleanup_old_events",
    "get_agent_stats",
    "get_channel_distribution",
    "get_db_manager",
    "get_db_path",
    "get_event_type_distribution",
    "get_events_by_channel",
    "get_events_by_level",
    "get_events_by_timeframe",
    "get_events_by_type",
    "get_events_last_days",
    "get_events_last_hours",
    "get_level_distribution",
    "get_recent_events",
    "log_to_db",
    "optimize_database",
    "search_events",
]


class DatabaseManager:
    """Reads one store.

    Attributes:
        path: The database file.
    """

    def __init__(self, path: Path) -> None:
        """Nothing is opened yet.

        Args:
            path: The database file.
        """
        self.path = path

    def connect(self) -> AbstractContextManager[Connection]:
        """A connection that only reads, for the time of a ``with`` block; rows are `sqlite3.Row`.

        Raises:
            StoreError: There is no store there, or it cannot be read.
        """
        return queries.connect(self.path)

    def query(self, sql: str, parameters: tuple[Any, ...] | Mapping[str, Any] = ()) -> Iterator[dict[str, Any]]:
        """The rows of a SELECT as dictionaries."""
        with self.connect() as connection:
            yield from (dict(row) for row in connection.execute(sql, parameters))


def get_db_path() -> str:
    """The path of the database file, whether or not it exists yet."""
    return str(_path())


def get_db_manager() -> DatabaseManager:
    """A reader of the store, for queries of one's own."""
    return DatabaseManager(_path())


def log_to_db(
    agent_id: str | None,
    event_type: str,
    data: Mapping[str, Any] | None = None,
    channel: str = "SYSTEM",
    level: str = "INFO",
    timestamp: datetime | None = None,
) -> bool:
    """Writes one event and waits until it is stored, at most two seconds.

    Args:
        agent_id: The agent it belongs to.
        event_type: What happened, such as ``user_login``.
        data: JSON-like; what is not is sanitised.
        channel: Where, such as ``SYSTEM``.
        level: Such as ``INFO``.
        timestamp: When; now without it.

    Returns:
        Whether it is stored.

    Raises:
        StoreError: The store cannot be opened.
    """
    time_ns = time.time_ns() if timestamp is None else to_ns(timestamp)
    event = Event(agent_id, event_type, channel, level.upper(), time_ns, data or {})
    running = Store.running()
    if running is not None:
        return running.add_event(event).wait(2.0)
    store = Store.open(_path(), config.load().settings.store)
    try:
        ticket = store.add_event(event)
        store.flush(2.0)
        return ticket.durable
    finally:
        store.close()


def get_recent_events(agent_id: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
    """The newest events, of one agent or of all."""
    return _events(limit, agent_id=agent_id)


def get_events_by_type(event_type: str, agent_id: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
    """The newest events of a type, such as ``llm_call``."""
    return _events(limit, event_type=event_type, agent_id=agent_id)


def get_events_by_channel(channel: str, agent_id: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
    """The newest events of a channel, such as ``LLM``."""
    return _events(limit, channel=channel, agent_id=agent_id)


def get_events_by_level(level: str, agent_id: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
    """The newest events of a level, such as ``WARNING``."""
    return _events(limit, level=level, agent_id=agent_id)


def get_events_by_timeframe(
    start: datetime, end: datetime | None = None, agent_id: str | None = None, limit: int = 1000
) -> list[dict[str, Any]]:
    """Events from `start` up to, and without, `end`; the newest first."""
    return _events(limit, since=start, until=end, agent_id=agent_id)


def get_events_last_hours(hours: float, agent_id: str | None = None, limit: int = 1000) -> list[dict[str, Any]]:
    """Events of the last hours, the newest first."""
    return _events(limit, since=_ago(hours=hours), agent_id=agent_id)


def get_events_last_days(days: float, agent_id: str | None = None, limit: int = 1000) -> list[dict[str, Any]]:
    """Events of the last days, the newest first."""
    return _events(limit, since=_ago(days=days), agent_id=agent_id)


def search_events(query: str, agent_id: str | None = None, limit: int = 100) -> list[dict[str, Any]]:
    """Events whose type or data holds a text, in upper or lower case; the newest first."""
    return _events(limit, text=query, agent_id=agent_id)


def get_agent_stats(agent_id: str | None = None) -> list[dict[str, Any]]:
    """Of every agent, or of one: events, alerts, first and last time."""
    with queries.connect(_path()) as connection:
        return queries.agent_stats(connection, agent_id)


def get_event_type_distribution(agent_id: str | None = None) -> dict[str, int]:
    """Returns the number of events of each type, the most frequent first."""
    with queries.connect(_path()) as connection:
        return queries.distribution(connection, "event_type", agent_id)


def get_channel_distribution(agent_id: str | None = None) -> dict[str, int]:
    """Returns the number of events of each channel, the most frequent first."""
    with queries.connect(_path()) as connection:
        return queries.distribution(connection, "channel", agent_id)


def get_level_distribution(agent_id: str | None = None) -> dict[str, int]:
    """Returns the number of events of each level, the most frequent first."""
    with queries.connect(_path()) as connection:
        return queries.distribution(connection, "level", agent_id)


def cleanup_old_events(days: int = 30) -> int:
    """Removes spans, findings and events older than `days` days; returns the number of removed spans and events.

    The audit trail keeps one entry for the removed rows, and an event of type ``store_gap`` counts them.

    Raises:
        StoreError: The store cannot be opened.
    """
    return admin.remove_before(_path(), config.load().settings.store, to_ns(_ago(days=days)))


def optimize_database() -> None:
    """Folds the log into the file, gives free pages back to the disk and refreshes the planner's statistics.

    Raises:
        StoreError: The store cannot be opened.
    """
    admin.optimize(_path(), config.load().settings.store)


def _path() -> Path:
    running = Store.running()
    return config.database_path(config.load().settings) if running is None else running.path


def _events(limit: int, **where: Any) -> list[dict[str, Any]]:
    with queries.connect(_path()) as connection:
        return [msgspec.structs.asdict(row) for row in events(connection, EventFilter(**where), limit=limit)]


def _ago(**span: float) -> datetime:
    return datetime.now(timezone.utc) - timedelta(**span)
