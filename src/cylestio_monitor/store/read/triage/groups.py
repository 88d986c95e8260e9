"""Groups of findings as they are read: the list, one group with its occurrences, and where else its text is.

An occurrence is a run in which the flagged text was seen. Every query reads at most `MOST_READ` findings, the newest.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from cylestio_monitor.model import SEVERITY_NUMBER
from cylestio_monitor.store.read import lists
from cylestio_monitor.store.read.pages import Cursor, Page, read_page
from cylestio_monitor.store.read.values import decoded
from cylestio_monitor.store.sqlite.rows import time_ns_of, timestamp
from cylestio_monitor.store.sqlite.usage import DAY_NS

if TYPE_CHECKING:
    import sqlite3

    from cylestio_monitor.store.read.lists import GroupRow, NoteRow

MOST_READ: Final = 2000
"""Largest number of findings that one query reads."""

_NEWEST: Final = (
    "SELECT id, run, span_id, timestamp, rule_id, category, severity, owasp, atlas, match_hash, agent_id, action "
    "FROM findings WHERE group_id = ? ORDER BY timestamp DESC LIMIT ?"
)


class Occurrence(msgspec.Struct, frozen=True):
    """One run in which the text of a group was seen.

    Attributes:
        run: The run's key in the store.
        trace_id: Its trace.
        span_id: The span where the text came first.
        first: Time of its first finding, UTC.
        agent_id: The agent.
        findings: Number of findings.
        calls: Number of calls that the text was part of.
        action: The strictest action on one of the findings.
        tools: Tools that were called with words of this text, by name.
    """

    run: int
    trace_id: str
    span_id: str
    first: str
    agent_id: str | None
    findings: int
    calls: int
    action: str
    tools: list[str]


class MatchedRule(msgspec.Struct, frozen=True):
    """One rule that matches the text of a group.

    Attributes:
        rule_id: The rule.
        severity: Severity of its findings.
        category: Their category.
        findings: Their number.
        owasp: OWASP ids.
        atlas: MITRE ATLAS ids.
    """

    rule_id: str
    severity: str
    category: str
    findings: int
    owasp: list[str]
    atlas: list[str]


class SameText(msgspec.Struct, frozen=True):
    """Another group in which the same match was found, by keyed hash.

    Attributes:
        group_id: The group.
        rule_id: The rule.
        subtype: The surface.
        agent_id: The agent.
        findings: Number of findings.
    """

    group_id: str
    rule_id: str
    subtype: str
    agent_id: str | None
    findings: int


class GroupChange(msgspec.Struct, frozen=True):
    """One decision about a group, out of the audit trail. Attributes as of `store.triage.set_group_state`."""

    time_ns: int
    state: str
    by: str
    reason: str


class GroupDetails(msgspec.Struct, frozen=True):
    """One group and what the store knows about it.

    Attributes:
        row: The group.
        occurrences: The newest runs, at most 50.
        runs: Number of runs among the findings that were read.
        acted: The part of them in which a tool was called with words of the text.
        blocked: The part of them in which a call was refused.
        texts: Number of different matches of its top rule.
        agents: The agents, by name.
        rules: The rules that match the text, the most severe first.
        same: Other groups with the same match.
        days: Number of runs by day, for each of the last 7 days: its begin in ns since the epoch, and the number.
        changes: The decisions, the newest first.
        notes: The notes, the newest first.
        is_complete: False where the group has more findings than were read.
    """

    row: GroupRow
    occurrences: list[Occurrence]
    runs: int
    acted: int
    blocked: int
    texts: int
    agents: list[str]
    rules: list[MatchedRule]
    same: list[SameText]
    days: list[tuple[int, int]]
    changes: list[GroupChange]
    notes: list[NoteRow]
    is_complete: bool


def group_page(
    connection: sqlite3.Connection, *, cursor: Cursor | None = None, limit: int = 50, **filters: Any
) -> Page[GroupRow]:
    """Reads groups, the last seen first.

    Args:
        connection: From `queries.connect`.
        cursor: Where the page begins.
        limit: Largest number of rows.
        filters: ``since_ns``, ``until_ns``, ``group_id``, ``rule_id``, ``category``, ``source``, ``state``, ``tool``,
            ``min_severity``, ``of_agent``, ``open_at_ns`` (only groups that are open at this time).
    """
    return read_page(connection, lists.GROUPS, filters, cursor=cursor, limit=limit)


def runs_of(connection: sqlite3.Connection, group_id: str) -> int:
    """Counts the runs in which the text of a group was seen, among the newest `MOST_READ` findings."""
    query = f"SELECT count(DISTINCT run) FROM ({_NEWEST})"  # noqa: S608 -- constants
    return int(connection.execute(query, (group_id, MOST_READ)).fetchone()[0])


def acted_in(connection: sqlite3.Connection, group: GroupRow) -> int:
    """Counts the runs of a group in which a tool was called with words of its text."""
    if group.source is None:
        return 0
    query = f"SELECT count(DISTINCT run) FROM value_origin WHERE origin = ? AND run IN (SELECT run FROM ({_NEWEST}))"  # noqa: S608 -- constants
    return int(connection.execute(query, (group.source, group.group_id, MOST_READ)).fetchone()[0])


def details(connection: sqlite3.Connection, row: GroupRow, now_ns: int) -> GroupDetails:
    """Reads what the store knows about one group.

    Args:
        connection: From `queries.connect`.
        row: The group.
        now_ns: Now, in ns since the epoch.
    """
    group_id = row.group_id
    found = connection.execute(_NEWEST, (group_id, MOST_READ)).fetchall()
    by_run: dict[int, list[sqlite3.Row]] = {}
    for one in found:
        by_run.setdefault(one["run"], []).append(one)
    tools = _followed(connection, row, list(by_run))
    top = [one for one in found if one["rule_id"] == row.rule_id]
    return GroupDetails(
        row=row,
        occurrences=_occurrences(connection, dict(list(by_run.items())[:50]), tools),
        runs=len(by_run),
        acted=len(tools),
        blocked=sum(any(one["action"] == "block" for one in members) for members in by_run.values()),
        texts=len({one["match_hash"] for one in top if one["match_hash"]}) or 1,
        agents=sorted({one["agent_id"] for one in found if one["agent_id"]}),
        rules=_rules(found),
        same=_same(connection, group_id, top),
        days=_days(by_run, now_ns),
        changes=_changes(connection, group_id),
        notes=list(reversed(read_page(connection, lists.NOTES, {"subject": "group", "ref": group_id}, limit=100).rows)),
        is_complete=len(found) < MOST_READ,
    )


def _occurrences(
    connection: sqlite3.Connection, by_run: dict[int, list[sqlite3.Row]], tools: dict[int, list[str]]
) -> list[Occurrence]:
    marks = ", ".join("?" * len(by_run))
    traces = dict(connection.execute(f"SELECT id, trace_id FROM run WHERE id IN ({marks})", list(by_run)).fetchall())  # noqa: S608 -- placeholders
    strictness = {"block": 3, "modify": 2, "audit": 1}
    return [
        Occurrence(
            run=run,
            trace_id=traces.get(run, ""),
            span_id=members[-1]["span_id"],
            first=members[-1]["timestamp"],
            agent_id=members[-1]["agent_id"],
            findings=len(members),
            calls=len({one["span_id"] for one in members}),
            action=max((one["action"] or "allow" for one in members), key=lambda name: strictness.get(name, 0)),
            tools=tools.get(run, []),
        )
        for run, members in by_run.items()
    ]


def _followed(connection: sqlite3.Connection, group: GroupRow, runs: list[int]) -> dict[int, list[str]]:
    """Returns the tools that were called with words of the group's source, by run."""
    if group.source is None or not runs:
        return {}
    found: dict[int, list[str]] = {}
    rows = connection.execute(
        "SELECT DISTINCT v.run, coalesce(f.tool, s.tool) FROM value_origin AS v "
        "LEFT JOIN call_facts AS f ON f.run = v.run AND f.span_id = v.span_id "
        "LEFT JOIN span AS s ON s.trace_id = v.trace_id AND s.span_id = v.span_id "
        "WHERE v.origin = ? AND v.run IN (SELECT value FROM json_each(?)) LIMIT ?",
        (group.source, msgspec.json.encode(runs).decode(), MOST_READ),
    )
    for run, tool in rows:
        found.setdefault(run, []).append(tool or "a tool")
    return found


def _rules(found: list[sqlite3.Row]) -> list[MatchedRule]:
    by_rule: dict[str, list[sqlite3.Row]] = {}
    for one in found:
        by_rule.setdefault(one["rule_id"], []).append(one)
    rules = [
        MatchedRule(
            rule_id=rule_id,
            severity=members[0]["severity"],
            category=members[0]["category"],
            findings=len(members),
            owasp=_texts(members[0]["owasp"]),
            atlas=_texts(members[0]["atlas"]),
        )
        for rule_id, members in by_rule.items()
    ]
    return sorted(rules, key=lambda rule: (-SEVERITY_NUMBER.get(rule.severity, 0), rule.rule_id))[:100]


def _texts(text: str) -> list[str]:
    found = decoded(text, [])
    return [str(one) for one in found] if isinstance(found, list) else []


def _same(connection: sqlite3.Connection, group_id: str, top: list[sqlite3.Row]) -> list[SameText]:
    match_hash = next((one["match_hash"] for one in top if one["match_hash"]), "")
    if not match_hash:
        return []
    rows = connection.execute(
        "SELECT group_id, rule_id, subtype, agent_id, count(*) FROM (SELECT group_id, rule_id, subtype, agent_id "
        "FROM findings WHERE match_hash = ? ORDER BY timestamp DESC LIMIT ?) "
        "WHERE group_id <> ? GROUP BY 1, 2, 3, 4 ORDER BY 5 DESC LIMIT 20",
        (match_hash, MOST_READ, group_id),
    )
    return [SameText(*tuple(row)) for row in rows]


def _days(by_run: dict[int, list[sqlite3.Row]], now_ns: int) -> list[tuple[int, int]]:
    today = now_ns // DAY_NS * DAY_NS
    days = {timestamp(today - back * DAY_NS)[:10]: 0 for back in range(6, -1, -1)}
    for members in by_run.values():
        day = members[-1]["timestamp"][:10]
        if day in days:
            days[day] += 1
    return [(time_ns_of(f"{day} 00:00:00.000000"), number) for day, number in days.items()]


def _changes(connection: sqlite3.Connection, group_id: str) -> list[GroupChange]:
    rows = connection.execute(
        "SELECT time_ns, data FROM (SELECT time_ns, data FROM event WHERE event_type = 'finding_group_changed' "
        "ORDER BY timestamp DESC LIMIT ?) "
        "WHERE CASE WHEN json_valid(data) THEN json_extract(data, '$.group_id') END = ? LIMIT 50",
        (MOST_READ, group_id),
    )
    found = []
    for time_ns, data in rows:
        values = decoded(data, {})
        found.append(GroupChange(time_ns, *(str(values.get(name) or "") for name in ("state", "by", "reason"))))
    return found
