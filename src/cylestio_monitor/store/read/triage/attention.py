"""Counts of what waits for a person: open groups of findings, approvals and incidents."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import msgspec

from cylestio_monitor.store.read.lists import GROUPS, OPEN_GROUP

if TYPE_CHECKING:
    import sqlite3

    from cylestio_monitor.store.read.lists import GroupRow

MOST_COUNTED: Final = 1000
"""Counts stop here."""


class Waiting(msgspec.Struct, frozen=True):
    """Numbers of things that wait for a person, each at most `MOST_COUNTED`.

    Attributes:
        groups: Open groups of findings.
        approvals: Calls that wait for a decision.
        incidents: Open incidents.
    """

    groups: int
    approvals: int
    incidents: int


def waiting(connection: sqlite3.Connection) -> Waiting:
    """Counts what waits for a person now."""
    now = time.time_ns()

    def count(table: str, condition: str, *values: int) -> int:
        query = f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {condition} LIMIT ?)"  # noqa: S608 -- constants
        return int(connection.execute(query, (*values, MOST_COUNTED)).fetchone()[0])

    return Waiting(
        groups=count("finding_group", OPEN_GROUP, now),
        approvals=count("approval", "state = 'waiting' AND expires_ns > ?", now),
        incidents=count("incident", "state = 'open'"),
    )


class ChangedTool(msgspec.Struct, frozen=True):
    """A tool with a version of its definition that nobody has decided about and that is not its first.

    Attributes:
        server: The MCP server; empty for tools of the application.
        name: The tool.
        versions: Number of versions.
        first_ns: When the newest version was first seen, in ns since the epoch.
    """

    server: str
    name: str
    versions: int
    first_ns: int


def urgent_groups(connection: sqlite3.Connection, limit: int) -> list[GroupRow]:
    """Reads the open groups, the most severe first and of equal ones the last seen first."""
    query = f"{GROUPS.select()} WHERE {OPEN_GROUP} ORDER BY severity_number DESC, last_ns DESC LIMIT ?"
    return GROUPS.rows(connection.execute(query, (time.time_ns(), limit)))


def changed_tools(connection: sqlite3.Connection, limit: int) -> list[ChangedTool]:
    """Returns the tools whose definition has changed and whose newest version is not decided, the newest first."""
    rows = connection.execute(
        "SELECT server, name, versions, first_ns FROM (SELECT server, name, count(*) AS versions, "
        "max(first_ns) AS first_ns, state FROM tool_definition GROUP BY server, name HAVING versions > 1) "
        "WHERE state = 'seen' ORDER BY first_ns DESC LIMIT ?",  # SQLite takes `state` from the row of the maximum
        (limit,),
    )
    return [ChangedTool(*tuple(row)) for row in rows]


def last_ids(connection: sqlite3.Connection) -> tuple[int, int]:
    """Returns the ids of the last span and the last finding; 0 where there is none."""
    row = connection.execute(
        "SELECT coalesce((SELECT max(id) FROM span), 0), coalesce((SELECT max(id) FROM findings), 0)"
    ).fetchone()
    return int(row[0]), int(row[1])


def came_after(connection: sqlite3.Connection, ids: tuple[int, int]) -> tuple[int, int]:
    """Counts the monitored spans and the findings that came after these ids, each up to `MOST_COUNTED`.

    Args:
        connection: From `queries.connect`.
        ids: From `last_ids`.
    """
    row = connection.execute(
        "SELECT (SELECT count(*) FROM (SELECT 1 FROM span WHERE id > ? AND event_type IS NOT NULL LIMIT ?)), "
        "(SELECT count(*) FROM (SELECT 1 FROM findings WHERE id > ? LIMIT ?))",
        (ids[0], MOST_COUNTED, ids[1], MOST_COUNTED),
    ).fetchone()
    return int(row[0]), int(row[1])
