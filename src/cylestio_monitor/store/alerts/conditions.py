"""Conditions over findings, and the group that a finding belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

import msgspec

from cylestio_monitor.model import SEVERITY_NUMBER
from cylestio_monitor.store.sqlite.rows import time_ns_of, timestamp
from cylestio_monitor.store.sqlite.usage import DAY_NS, HOUR_NS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable

    from cylestio_monitor import config

MOST: Final = 10_000
"""Largest number of findings that are read for one rate."""

_PERIOD_NS: Final = {"minute": HOUR_NS // 60, "hour": HOUR_NS, "day": DAY_NS}
_GROUPS: Final = {
    "rule": "rule_id",
    "category": "category",
    "agent": "agent_id",
    "session": "session_id",
    "user": "user_id",
    "tool": "tool",
    "group": "group_id",
}


class AlertedFinding(NamedTuple):
    """The columns of a finding that conditions and messages use."""

    id: int
    timestamp: str
    rule_id: str
    category: str
    severity: str
    subtype: str
    target: str
    action: str | None
    agent_id: str | None
    session_id: str | None
    user_id: str | None
    tool: str | None
    group_id: str | None
    service_name: str | None
    trace_id: str
    span_id: str

    @property
    def severity_number(self) -> int:
        """0 to 4."""
        return SEVERITY_NUMBER.get(self.severity, 0)

    @property
    def time_ns(self) -> int:
        """Nanoseconds since the epoch."""
        return time_ns_of(self.timestamp)


COLUMNS: Final = ", ".join(f"findings.{name}" for name in AlertedFinding._fields[:-2]) + ", run.trace_id, span_id"
"""The columns of an `AlertedFinding`, of `findings` joined with `run`."""


def fits(condition: config.ConditionSettings, finding: AlertedFinding) -> bool:
    """Returns whether a finding fits every criterion of a condition; its rate is another question."""
    return (
        finding.severity_number >= SEVERITY_NUMBER[condition.severity]
        and (not condition.categories or finding.category in condition.categories)
        and _matches(condition.rules, finding.rule_id)
        and _matches(condition.agents, finding.agent_id or "")
    )


def _matches(patterns: Iterable[str], text: str) -> bool:
    """Returns whether a text is one of the patterns, or begins with one that ends in ``*``; true without patterns."""
    patterns = tuple(patterns)
    return not patterns or any(text.startswith(one[:-1]) if one.endswith("*") else text == one for one in patterns)


def group_of(condition: config.ConditionSettings, finding: AlertedFinding) -> dict[str, str | None]:
    """Returns the values that findings of one alert have in common, by the words of `group_by`."""
    return {word: getattr(finding, _GROUPS[word]) for word in condition.group_by}


def group_key(group: dict[str, str | None]) -> str:
    """Returns the text that identifies a group."""
    return msgspec.json.encode(sorted(group.items())).decode()


def reaches_count(connection: sqlite3.Connection, condition: config.ConditionSettings, finding: AlertedFinding) -> bool:
    """Returns whether enough findings of the group came in the period that ends with this one.

    Args:
        connection: To the store.
        condition: A condition that the finding fits.
        finding: The finding, which counts too.
    """
    if condition.count == 1:
        return True
    group = group_of(condition, finding)
    where = "".join(f" AND findings.{_GROUPS[word]} IS ?" for word in group)
    begin = timestamp(max(0, finding.time_ns - _PERIOD_NS[condition.within]))
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM findings JOIN run ON run.id = findings.run WHERE timestamp > ? AND timestamp <= ? "  # noqa: S608 -- constants
        f"AND findings.id <= ?{where} ORDER BY timestamp DESC LIMIT ?",
        (begin, finding.timestamp, finding.id, *group.values(), MOST),
    )
    count = 0
    for row in rows:
        count += fits(condition, AlertedFinding(*row))
        if count >= condition.count:
            return True
    return False
