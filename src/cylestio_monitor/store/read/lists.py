"""The lists of the store, page by page: runs, agents, sessions, users, tools, findings, and what people decided."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from cylestio_monitor.store.read.pages import OF_TRACE, Cursor, Listing, Page, count_rows, equal, read_page
from cylestio_monitor.store.sqlite.records import (
    Approval,
    CallFactsRow,
    Decision,
    RecordedPart,
    ToolVersion,
    ValueOrigin,
)

if TYPE_CHECKING:
    import sqlite3


OPEN_GROUP: Final = "(state IN ('open', 'in_review') OR until_ns <= ?)"
"""The condition for a group that is not done with: open, in review, or dismissed until a time that has passed."""


class RunRow(msgspec.Struct, frozen=True):
    """One run: a trace with its totals; times in ns since the epoch, cost in the currency of `control.prices`."""

    id: int
    trace_id: str
    name: str | None
    service_name: str | None
    agent_id: str | None
    session_id: str | None
    user_id: str | None
    start_ns: int
    end_ns: int
    spans: int
    model_calls: int
    tool_calls: int
    failed: int
    findings: int
    severity_number: int
    input_tokens: int
    output_tokens: int
    cost: float


class EntityRow(msgspec.Struct, frozen=True):
    """One agent, session, user or tool with its totals; times in ns since the epoch, cost as of a run."""

    kind: str
    name: str
    agent_id: str | None
    user_id: str | None
    first_ns: int
    last_ns: int
    spans: int
    model_calls: int
    tool_calls: int
    failed: int
    findings: int
    severity_number: int
    input_tokens: int
    output_tokens: int
    cost: float


class SpanSummary(msgspec.Struct, frozen=True):
    """The columns of a span without attributes, events and content."""

    id: int
    trace_id: str
    span_id: str
    parent_span_id: str | None
    name: str
    kind: int
    start_ns: int
    end_ns: int
    status: int
    agent_id: str | None
    session_id: str | None
    severity_number: int
    alert: str
    event_type: str | None
    operation: str | None
    provider: str | None
    model: str | None
    tool: str | None
    action: str | None
    input_tokens: int | None
    output_tokens: int | None


class GroupRow(msgspec.Struct, frozen=True):
    """A group of findings of equal rule, source and surface, and its state."""

    group_id: str
    rule_id: str
    category: str
    severity_number: int
    source: str | None
    target: str
    subtype: str
    agent_id: str | None
    tool: str | None
    first_ns: int
    last_ns: int
    findings: int
    state: str
    reason: str | None
    until_ns: int | None
    changed_ns: int | None
    changed_by: str | None


class IncidentRow(msgspec.Struct, frozen=True):
    """One incident."""

    id: str
    title: str
    state: str
    severity_number: int
    owner: str | None
    opened_ns: int
    opened_by: str
    changed_ns: int
    closed_ns: int | None


class NoteRow(msgspec.Struct, frozen=True):
    """One note on a group or an incident."""

    id: int
    subject: str
    ref: str
    time_ns: int
    author: str
    text: str


class SilenceRow(msgspec.Struct, frozen=True):
    """One silence of a rule."""

    id: str
    rule_id: str
    agent_id: str | None
    group_id: str | None
    until_ns: int | None
    reason: str
    created_ns: int
    created_by: str


def _time(column: str) -> dict[str, str]:
    return {"since_ns": f"{column} >= ?", "until_ns": f"{column} < ?"}


RUNS: Final = Listing(
    RunRow,
    "run",
    "start_ns",
    "id",
    {
        **_time("start_ns"),
        **equal("trace_id", "agent_id", "session_id", "user_id"),
        "min_severity": "severity_number > 0 AND severity_number >= ?",
        "has_failed": "(failed > 0) = ?",
        "tool": "+run.id IN (SELECT span.run FROM span WHERE span.tool = ?)",
    },
)
ENTITIES: Final = Listing(
    EntityRow,
    "entity",
    "last_ns",
    "name",
    {
        "kind": "kind = ?",
        **_time("last_ns"),
        **equal("agent_id", "user_id", "name"),
        "min_severity": "severity_number >= ?",
        "has_failed": "(failed > 0) = ?",
    },
)
SPANS: Final = Listing(
    SpanSummary,
    "span",
    "start_ns",
    "id",
    {
        **_time("start_ns"),
        **equal("agent_id", "session_id", "tool", "model", "event_type", "alert", "action"),
        "trace_id": OF_TRACE,
        "min_severity": "severity_number > 0 AND severity_number >= ?",
    },
)
GROUPS: Final = Listing(
    GroupRow,
    "finding_group",
    "last_ns",
    "group_id",
    {
        **_time("last_ns"),
        **equal("group_id", "rule_id", "category", "source", "state", "agent_id", "tool"),
        "min_severity": "severity_number >= ?",
        "of_agent": (
            "EXISTS (SELECT 1 FROM findings WHERE findings.group_id = finding_group.group_id AND findings.agent_id = ?)"
        ),
        "open_at_ns": OPEN_GROUP,
    },
)
APPROVALS: Final = Listing(
    Approval,
    "approval",
    "created_ns",
    "id",
    {**_time("created_ns"), **equal("id", "state", "agent_id", "session_id", "user_id", "tool")},
)
DECISIONS: Final = Listing(
    Decision,
    "decision",
    "time_ns",
    "id",
    {
        **_time("time_ns"),
        **equal("span_id", "rule", "action", "agent_id", "session_id", "user_id", "tool"),
        "is_allowed": "(action = 'allow') = ?",
        "trace_id": OF_TRACE,
    },
)
TOOL_VERSIONS: Final = Listing(
    ToolVersion,
    "tool_definition",
    "last_ns",
    "id",
    {**_time("last_ns"), **equal("server", "name", "digest", "state")},
)
CALL_FACTS: Final = Listing(
    CallFactsRow,
    "call_facts",
    "time_ns",
    "id",
    {**_time("time_ns"), **equal("agent_id", "tool", "server", "session_id", "user_id")},
)
PARTS: Final = Listing(
    RecordedPart,
    "part",
    "id",
    "id",
    {"trace_id": OF_TRACE, **equal("part_id", "span_id")},
)
VALUES: Final = Listing(
    ValueOrigin,
    "value_origin",
    "id",
    "id",
    {
        "trace_id": OF_TRACE,
        "session_id": "run IN (SELECT id FROM run WHERE session_id = ?)",
        **equal("value_hash", "span_id"),
    },
)
INCIDENTS: Final = Listing(
    IncidentRow, "incident", "opened_ns", "id", {**_time("opened_ns"), **equal("id", "state", "owner")}
)
NOTES: Final = Listing(NoteRow, "note", "id", "id", equal("subject", "ref"))
SILENCES: Final = Listing(SilenceRow, "silence", "created_ns", "id", equal("rule_id", "agent_id", "group_id"))


def runs(
    connection: sqlite3.Connection, *, cursor: Cursor | None = None, limit: int = 50, **filters: Any
) -> Page[RunRow]:
    """Reads runs, newest first.

    Args:
        connection: From `queries.connect`.
        cursor: Where the page begins.
        limit: Largest number of rows.
        filters: ``since_ns``, ``until_ns``, ``trace_id``, ``agent_id``, ``session_id``, ``user_id``, ``tool``,
            ``min_severity`` (1 to 4), ``has_failed``.
    """
    return read_page(connection, RUNS, filters, cursor=cursor, limit=limit)


def entities(
    connection: sqlite3.Connection, kind: str, *, cursor: Cursor | None = None, limit: int = 50, **filters: Any
) -> Page[EntityRow]:
    """Reads agents, sessions, users or tools, the last active first.

    Args:
        connection: From `queries.connect`.
        kind: ``agent``, ``session``, ``user`` or ``tool``.
        cursor: Where the page begins.
        limit: Largest number of rows.
        filters: ``since_ns``, ``until_ns``, ``agent_id``, ``user_id``, ``name``, ``min_severity``, ``has_failed``.
    """
    return read_page(connection, ENTITIES, {"kind": kind, **filters}, cursor=cursor, limit=limit)


def outline(connection: sqlite3.Connection, trace_id: str, limit: int = 20_000) -> list[SpanSummary]:
    """Reads all spans of a trace without attributes and content, by start.

    Args:
        connection: From `queries.connect`.
        trace_id: 32 hexadecimal digits.
        limit: Largest number of spans; the first ones are returned.
    """
    query = f"{SPANS.select()} WHERE {OF_TRACE} ORDER BY start_ns, id LIMIT ?"
    return SPANS.rows(connection.execute(query, (trace_id, limit)))


def traces_beginning(connection: sqlite3.Connection, prefix: str, limit: int = 10) -> list[str]:
    """Reads the ids of the traces that begin with some hexadecimal digits, the newest first."""
    query = (
        "SELECT trace_id FROM run WHERE trace_id >= ? AND trace_id < ? GROUP BY trace_id ORDER BY max(id) DESC LIMIT ?"
    )
    return [row[0] for row in connection.execute(query, (prefix, prefix + "g", limit))]


def spans_beginning(connection: sqlite3.Connection, prefix: str, limit: int = 10) -> list[tuple[str, str]]:
    """Reads trace and span id of the spans that begin with some hexadecimal digits, the newest first."""
    query = (
        # The index holds what is looked for; the rows of the table are long.
        "SELECT run.trace_id, span_id FROM span INDEXED BY span_identity JOIN run ON run.id = span.run "
        "WHERE span_id >= ? AND span_id < ? "
        "ORDER BY span.id DESC LIMIT ?"
    )
    return [(row[0], row[1]) for row in connection.execute(query, (prefix, prefix + "g", limit))]


__all__ = [
    "APPROVALS",
    "CALL_FACTS",
    "DECISIONS",
    "ENTITIES",
    "GROUPS",
    "INCIDENTS",
    "NOTES",
    "OPEN_GROUP",
    "PARTS",
    "RUNS",
    "SILENCES",
    "SPANS",
    "TOOL_VERSIONS",
    "VALUES",
    "EntityRow",
    "GroupRow",
    "IncidentRow",
    "NoteRow",
    "RunRow",
    "SilenceRow",
    "SpanSummary",
    "count_rows",
    "entities",
    "outline",
    "runs",
    "spans_beginning",
    "traces_beginning",
]
