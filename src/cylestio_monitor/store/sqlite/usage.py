"""The keys of the hourly roll-up, for the writer that adds to it and the retention that counts what it removed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cylestio_monitor.sanitize import clean_text
from cylestio_monitor.store.sqlite.rows import FAILED

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

HOUR_NS: Final = 3_600_000_000_000
DAY_NS: Final = 24 * HOUR_NS

KEY: Final = "hour, agent_id, event_type, channel, level, alert, model, tool"
"""The primary key of `usage`; text that is NULL elsewhere is empty here."""

LABEL_BYTES: Final = 200
"""Longest text of a key: models and tools are named by servers."""


def label(value: str | None) -> str:
    """Returns the form of a text that is used in a key."""
    if not value:
        return ""
    return value if len(value) <= LABEL_BYTES else clean_text(value, LABEL_BYTES)


def span_key(
    start_ns: int,
    agent_id: str | None,
    event_type: str | None,
    channel: str | None,
    alert: str,
    status: int,
    model: str | None,
    tool: str | None,
) -> tuple[Any, ...]:
    """Returns the key of a monitored span."""
    level = "INFO"
    if status == FAILED:
        level = "ERROR"
    elif alert in {"dangerous", "suspicious"}:
        level = "WARNING"
    texts = (agent_id, event_type, channel, level, alert, model, tool)
    return (start_ns // HOUR_NS, *map(label, texts))


def event_key(
    time_ns: int, agent_id: str | None, event_type: str, channel: str, level: str, alert: str
) -> tuple[Any, ...]:
    """Returns the key of a logged event."""
    return (time_ns // HOUR_NS, *map(label, (agent_id, event_type, channel, level, alert, "", "")))


def count_removed(connection: sqlite3.Connection, removed: Iterable[tuple[Any, ...]]) -> None:
    """Counts rows that retention removes, in the caller's transaction.

    Args:
        connection: With an open transaction.
        removed: The key of each row.
    """
    counts: dict[tuple[Any, ...], int] = {}
    for key in removed:
        counts[key] = counts.get(key, 0) + 1
    condition = " AND ".join(f"{name} = ?" for name in KEY.split(", "))
    for key, number in counts.items():
        connection.execute(f"UPDATE usage SET removed = removed + ? WHERE {condition}", (number, *key))  # noqa: S608 -- constants
