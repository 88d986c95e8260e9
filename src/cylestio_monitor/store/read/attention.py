"""Counts of what waits for a person: open groups of findings, approvals and incidents."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    import sqlite3

MOST_COUNTED: Final = 1000
"""Counts stop here."""

OPEN_GROUP: Final = "(state IN ('open', 'in_review') OR until_ns <= ?)"
"""The condition for a group that is not done with: open, in review, or dismissed until a time that has passed."""


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
