"""Decisions of people and of the store itself, out of the audit trail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

from cylestio_monitor.store.read.pages import Cursor, Listing, Page, read_page

if TYPE_CHECKING:
    import sqlite3

TYPES: Final = (
    "finding_group_changed",
    "silence_added",
    "note_added",
    "incident_opened",
    "incident_changed",
    "incident_exported",
    "tool_definition_decided",
    "approval_requested",
    "approval_allowed",
    "approval_denied",
    "approval_expired",
    "approval_used",
    "approval_refused",
    "policy_decision",
)
"""Types of the events that record a decision."""


class ChangeRow(msgspec.Struct, frozen=True):
    """One event of the audit trail.

    Attributes:
        id: Its id.
        seq: Its number in the trail.
        event_type: Its type, of `TYPES`.
        time_ns: In ns since the epoch.
        agent_id: The agent.
        data: Its data as JSON.
    """

    id: int
    seq: int | None
    event_type: str
    time_ns: int
    agent_id: str | None
    data: str


CHANGES: Final = Listing(
    ChangeRow,
    "event",
    "timestamp",
    "id",
    {"types": "event_type IN (SELECT value FROM json_each(?))", "event_type": "event_type = ?"},
)


def changes(
    connection: sqlite3.Connection, *, cursor: Cursor | None = None, limit: int = 50, event_type: str | None = None
) -> Page[ChangeRow]:
    """Reads what was done, the newest first.

    Args:
        connection: From `queries.connect`.
        cursor: Where the page begins.
        limit: Largest number of rows.
        event_type: Only events of this type.
    """
    types = msgspec.json.encode(TYPES).decode() if event_type is None else None
    filters = {"types": types, "event_type": event_type}
    return read_page(connection, CHANGES, filters, cursor=cursor, limit=limit)
