"""Totals out of the hourly roll-up: by agent, model, tool, type, channel, level, hour or day."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import msgspec

from cylestio_monitor.store.read.values import capped_sum
from cylestio_monitor.store.sqlite.usage import HOUR_NS

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Mapping, Sequence

By: TypeAlias = Literal["agent_id", "model", "tool", "event_type", "channel", "level", "alert", "hour", "day"]

_SUMMED: Final = 9  # amounts of a group that are summed; two times follow
_SUSPICIOUS: Final = capped_sum("CASE alert WHEN 'suspicious' THEN events END")
_DANGEROUS: Final = capped_sum("CASE alert WHEN 'dangerous' THEN events END")
_AMOUNTS: Final = (
    f"{capped_sum('events')} AS events, {capped_sum('removed')}, {_SUSPICIOUS}, {_DANGEROUS}, {capped_sum('failed')}, "
    f"{capped_sum('duration_ns')}, {capped_sum('input_tokens')}, {capped_sum('output_tokens')}, sum(cost), "
    "min(first_ns), max(last_ns)"
)
_KEYS: Final[dict[str, str]] = {"day": "hour / 24"}


class AgentToolUse(msgspec.Struct, frozen=True):
    """The calls of one tool by one agent.

    Attributes:
        agent_id: The agent; empty where no call names one.
        tool: The tool.
        calls: Its calls.
        failed: Failed ones.
        suspicious: With alert ``suspicious``.
        dangerous: With alert ``dangerous``.
        last_ns: The latest, nanoseconds since the epoch.
    """

    agent_id: str
    tool: str
    calls: int
    failed: int
    suspicious: int
    dangerous: int
    last_ns: int


class CarriedValues(msgspec.Struct, frozen=True):
    """Values that only one tool had said, in the calls of one agent.

    Attributes:
        agent_id: The agent; empty where no run names one.
        tool: The tool that said them, with its server in front where it has one.
        values: Their number.
    """

    agent_id: str
    tool: str
    values: int


class UsageTotal(msgspec.Struct, frozen=True):
    """The totals of one group.

    Attributes:
        key: The agent, model and so on; for ``hour`` and ``day`` the number of hours or days since the epoch.
        events: Monitored spans and logged events.
        removed: The part of them that retention has removed.
        suspicious: With alert ``suspicious``.
        dangerous: With alert ``dangerous``.
        failed: Failed calls.
        duration_ns: Sum of the durations, in nanoseconds.
        input_tokens: Input tokens.
        output_tokens: Output tokens.
        cost: In the currency of `control.prices`.
        first_ns: The earliest, nanoseconds since the epoch.
        last_ns: The latest, nanoseconds since the epoch.
    """

    key: str | int
    events: int
    removed: int
    suspicious: int
    dangerous: int
    failed: int
    duration_ns: int
    input_tokens: int
    output_tokens: int
    cost: float
    first_ns: int
    last_ns: int

    @property
    def stored(self) -> int:
        """Number of rows that the store still has."""
        return max(0, self.events - self.removed)


def usage(
    connection: sqlite3.Connection,
    by: By,
    *,
    since_ns: int | None = None,
    until_ns: int | None = None,
    agent_id: str | None = None,
    tool: str | None = None,
    limit: int = 200,
) -> list[UsageTotal]:
    """Sums the hours of a period, the largest groups first; hours and days in their order.

    Args:
        connection: From `queries.connect`.
        by: What the hours are grouped by.
        since_ns: Begin of the period, rounded down to the hour.
        until_ns: End of the period, rounded up to the hour.
        agent_id: Only of this agent.
        tool: Only calls of this tool.
        limit: Largest number of groups.
    """
    key = _KEYS.get(by, by)
    order = "1" if by in {"hour", "day"} else "2 DESC, 1"
    first = 0 if since_ns is None else since_ns // HOUR_NS
    end = 1 << 62 if until_ns is None else -(-until_ns // HOUR_NS)
    query = f"""
        SELECT {key}, {_AMOUNTS}
        FROM usage WHERE hour >= ? AND hour < ? AND (? IS NULL OR agent_id = ?)
            AND (? IS NULL OR tool = ?)
        GROUP BY 1 ORDER BY {order} LIMIT ?
    """  # noqa: S608 -- constants
    rows = connection.execute(query, (first, end, agent_id, agent_id, tool, tool, limit))
    return [UsageTotal(*row) for row in rows]


def tool_uses(
    connection: sqlite3.Connection, *, since_ns: int, agent_id: str | None = None, limit: int = 500
) -> list[AgentToolUse]:
    """Counts the calls by agent and tool out of the hourly roll-up, the most frequent first.

    Args:
        connection: The store.
        since_ns: Begin of the period, rounded down to the hour.
        agent_id: Only of this agent.
        limit: Largest number of rows.
    """
    query = f"""
        SELECT agent_id, tool, {capped_sum("events")}, {capped_sum("failed")},
            {_SUSPICIOUS}, {_DANGEROUS}, max(last_ns)
        FROM usage WHERE hour >= ? AND tool != '' AND (? IS NULL OR agent_id = ?)
        GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT ?
    """  # noqa: S608 -- constants
    return [AgentToolUse(*row) for row in connection.execute(query, (since_ns // HOUR_NS, agent_id, agent_id, limit))]


def carried_values(
    connection: sqlite3.Connection, *, since_ns: int, agent_id: str | None = None, limit: int = 500
) -> list[CarriedValues]:
    """Counts the values that calls took from the result of a tool and that nobody else had said, the most first.

    Args:
        connection: The store.
        since_ns: Not of runs before this time, in ns since the epoch.
        agent_id: Only of this agent.
        limit: Largest number of rows.
    """
    query = """
        SELECT coalesce(run.agent_id, ''), substr(origin, 6), count(*)
        FROM run JOIN value_origin ON value_origin.run = run.id
        WHERE run.start_ns >= ? AND origin GLOB 'tool:*' AND (? IS NULL OR run.agent_id = ?)
        GROUP BY 1, 2 ORDER BY 3 DESC, 1, 2 LIMIT ?
    """
    return [CarriedValues(*row) for row in connection.execute(query, (since_ns, agent_id, agent_id, limit))]


def usage_by_each(
    connection: sqlite3.Connection,
    keys: Sequence[By],
    *,
    since_ns: int | None = None,
    agent_id: str | None = None,
    limit: int = 200,
) -> dict[By, list[UsageTotal]]:
    """Sums the hours of a period by several things at once, as `usage` does by each: the hours are read only once.

    Args:
        connection: From `queries.connect`.
        keys: What the hours are grouped by.
        since_ns: Begin of the period, rounded down to the hour.
        agent_id: Only of this agent.
        limit: Largest number of groups of each.
    """
    columns = ", ".join(_KEYS.get(key, key) for key in keys)
    numbers = ", ".join(str(place + 1) for place in range(len(keys)))
    query = f"""
        SELECT {columns}, {_AMOUNTS}
        FROM usage WHERE hour >= ? AND (? IS NULL OR agent_id = ?) GROUP BY {numbers}
    """  # noqa: S608 -- constants
    first = 0 if since_ns is None else since_ns // HOUR_NS
    found: dict[By, dict[str | int, list[Any]]] = {key: {} for key in keys}
    for row in connection.execute(query, (first, agent_id, agent_id)):
        amounts = row[len(keys) :]
        for key, value in zip(keys, row, strict=False):
            known = found[key].get(value)
            if known is None:
                found[key][value] = list(amounts)
                continue
            for place in range(_SUMMED):
                known[place] += amounts[place]
            known[-2], known[-1] = min(known[-2], amounts[-2]), max(known[-1], amounts[-1])
    return {key: _ordered(key, found[key])[:limit] for key in keys}


def _ordered(by: By, groups: Mapping[str | int, list[Any]]) -> list[UsageTotal]:
    rows = [UsageTotal(key, *amounts) for key, amounts in groups.items()]
    if by in {"hour", "day"}:
        return sorted(rows, key=lambda row: row.key)
    return sorted(rows, key=lambda row: (-row.events, row.key))


def flagged_hours(
    connection: sqlite3.Connection, since_ns: int, agent_id: str | None = None
) -> list[tuple[int, int, int]]:
    """Counts the calls and events with a finding: hours since the epoch, suspicious and dangerous ones.

    Args:
        connection: From `queries.connect`.
        since_ns: Begin of the period, rounded down to the hour.
        agent_id: Only of this agent.
    """
    query = (
        f"SELECT hour, {_SUSPICIOUS}, {_DANGEROUS} FROM usage "  # noqa: S608 -- constants
        "WHERE alert IN ('suspicious', 'dangerous') AND hour >= ? AND (? IS NULL OR agent_id = ?) GROUP BY hour"
    )
    return [tuple(row) for row in connection.execute(query, (since_ns // HOUR_NS, agent_id, agent_id))]


def agent_days(
    connection: sqlite3.Connection, agents: Sequence[str], since_ns: int
) -> dict[tuple[str, int], tuple[int, int, int]]:
    """Counts the calls and events of agents on each day: all, suspicious and dangerous ones.

    Args:
        connection: From `queries.connect`.
        agents: The agents.
        since_ns: Begin of the period, rounded down to the hour.

    Returns:
        The counts by agent and number of days since the epoch.
    """
    query = (
        f"SELECT agent_id, hour / 24, {capped_sum('events')}, {_SUSPICIOUS}, {_DANGEROUS} FROM usage "  # noqa: S608 -- constants
        "WHERE hour >= ? AND agent_id IN (SELECT value FROM json_each(?)) GROUP BY 1, 2"
    )
    rows = connection.execute(query, (since_ns // HOUR_NS, msgspec.json.encode(list(agents)).decode()))
    return {(agent, day): (events, suspicious, dangerous) for agent, day, events, suspicious, dangerous in rows}
