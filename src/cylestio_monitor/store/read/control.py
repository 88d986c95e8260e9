"""Reads of the control tables: stored facts, decisions and approvals."""

from __future__ import annotations

import getpass
import heapq
import itertools
import json
from typing import TYPE_CHECKING, TypeVar

import msgspec

from cylestio_monitor import semconv
from cylestio_monitor.govern import facts as call_facts
from cylestio_monitor.store.read.lists import APPROVALS
from cylestio_monitor.store.read.pages import OF_TRACE, read_page
from cylestio_monitor.store.read.values import capped_sum

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

    from cylestio_monitor.store.sqlite.records import Approval

T = TypeVar("T", bound=msgspec.Struct)

_ROWS = 1000


class ApprovalRow(msgspec.Struct, frozen=True):
    """A request for approval as the command line and the pages show it.

    Attributes:
        id: Its id.
        state: ``waiting``, ``allowed``, ``denied``, ``expired`` or ``used``.
        tool: ``server/tool``.
        arguments: The masked arguments as JSON.
        agent: Agent id.
        user: User id.
        rule: The rule that asked.
        reason: A readable sentence.
        created_ns: In ns since the epoch.
        expires_ns: In ns since the epoch.
        decided_by: Who decided.
        trace_id: The trace of the call.
    """

    id: str
    state: str
    tool: str
    arguments: str
    agent: str | None
    user: str | None
    rule: str
    reason: str
    created_ns: int
    expires_ns: int
    decided_by: str | None
    trace_id: str | None


class DecisionRow(msgspec.Struct, frozen=True):
    """One decision of the policy. Attributes as of the table `decision`."""

    time_ns: int
    action: str
    enforced: bool
    rule: str
    policy_version: str
    reason: str
    tool: str | None
    trace_id: str | None
    span_id: str


class DecisionTotal(msgspec.Struct, frozen=True):
    """The decisions of one rule.

    Attributes:
        rule: The rule; ``default`` where none fitted.
        action: What it decided.
        decisions: Number of decisions.
        runs: Number of runs that they belong to.
        enforced: Decisions that were carried out.
        last_ns: Time of the last one, in ns since the epoch.
    """

    rule: str
    action: str
    decisions: int
    runs: int
    enforced: int
    last_ns: int


def decision_totals(connection: sqlite3.Connection, since_ns: int, limit: int = 500) -> list[DecisionTotal]:
    """Counts the decisions by rule and action, the most frequent first.

    Args:
        connection: The store.
        since_ns: Not before this time, in ns since the epoch.
        limit: Most rows.
    """
    rows = connection.execute(
        f"SELECT rule, action, count(*), count(DISTINCT run), {capped_sum('enforced')}, max(time_ns) "  # noqa: S608 -- a constant
        "FROM decision WHERE time_ns >= ? GROUP BY rule, action ORDER BY 3 DESC, 1, 2 LIMIT ?",
        (since_ns, limit),
    )
    return [DecisionTotal(*row) for row in rows]


def facts_since(
    connection: sqlite3.Connection, since_ns: int, agent: str | None = None
) -> Iterator[call_facts.CallFacts]:
    """The stored facts of tool calls in the order in which they happened; rows that hold none are left out.

    Args:
        connection: The store.
        since_ns: Not before this time, in ns since the epoch.
        agent: Of this agent only.
    """
    after = (since_ns, 0)
    while True:
        rows = connection.execute(
            "SELECT time_ns, id, facts FROM call_facts WHERE (time_ns, id) > (?, ?) AND (? IS NULL OR agent_id = ?) "
            "ORDER BY time_ns, id LIMIT ?",
            (*after, agent, agent, _ROWS),
        ).fetchall()
        for row in rows:
            try:
                yield call_facts.load(row[2].encode())
            except (msgspec.MsgspecError, AttributeError):
                continue
        if len(rows) < _ROWS:
            return
        after = rows[-1][0], rows[-1][1]


def calls_since(
    connection: sqlite3.Connection,
    since_ns: int,
    agent: str | None = None,
    *,
    uses: bool = False,
    limit: int | None = None,
) -> Iterator[call_facts.CallFacts]:
    """The stored facts of tool calls in the order in which they happened, for a replay.

    Args:
        connection: The store.
        since_ns: Not before this time, in ns since the epoch.
        agent: Of this agent only.
        uses: Whether tokens and cost of model calls stand among them, which budgets need.
        limit: Most tool calls; of more, the first.
    """
    calls = itertools.islice(facts_since(connection, since_ns, agent), limit)
    used = uses_since(connection, since_ns, agent) if uses else []
    return heapq.merge(used, calls, key=lambda one: one.time_ns)


def uses_since(connection: sqlite3.Connection, since_ns: int, agent: str | None = None) -> list[call_facts.CallFacts]:
    """Tokens and cost of the stored model calls, as facts without a tool, in the order in which the calls ended.

    Args:
        connection: The store.
        since_ns: Not begun before this time, in ns since the epoch.
        agent: Of this agent only.
    """
    rows = connection.execute(
        "SELECT s.end_ns, s.model, s.agent_id, run.user_id, s.session_id, s.trace_id, "
        "coalesce(s.input_tokens, 0) + coalesce(s.output_tokens, 0), "
        "coalesce(json_extract(s.attributes, ?), 0.0) "
        "FROM span AS s LEFT JOIN run ON run.id = s.run WHERE s.start_ns >= ? AND (? IS NULL OR s.agent_id = ?) "
        "AND s.operation IN (SELECT value FROM json_each(?)) "
        "AND (s.input_tokens > 0 OR s.output_tokens > 0) ORDER BY s.end_ns, s.id",
        (f'$."{semconv.USAGE_COST}"', since_ns, agent, agent, json.dumps(sorted(semconv.INFERENCE))),
    )
    return [
        call_facts.CallFacts(
            time_ns=end_ns,
            model=model or "",
            agent=of_agent or "",
            user=user or "",
            session=session or "",
            trace=trace,
            tokens=tokens,
            cost=float(cost),
        )
        for end_ns, model, of_agent, user, session, trace, tokens, cost in rows
    ]


def approvals(connection: sqlite3.Connection, *, waiting: bool, limit: int = 50) -> list[ApprovalRow]:
    """Requests for approval, the newest first.

    Args:
        connection: The store.
        waiting: Only those that wait.
        limit: Most rows.
    """
    rows = connection.execute(
        "SELECT a.id, a.state, iif(a.server IS NULL, a.tool, a.server || '/' || a.tool), a.arguments, a.agent_id, "
        "a.user_id, a.rule, a.reason, a.created_ns, a.expires_ns, a.decided_by, run.trace_id "
        "FROM approval AS a LEFT JOIN run ON run.id = a.run "
        "WHERE NOT ? OR a.state = 'waiting' ORDER BY a.created_ns DESC LIMIT ?",
        (waiting, limit),
    )
    return [_row(ApprovalRow, row) for row in rows]


def approval(connection: sqlite3.Connection, request_id: str) -> Approval | None:
    """One request for approval as it is stored; `None` for an unknown id."""
    rows = read_page(connection, APPROVALS, {"id": request_id}, limit=1).rows
    return rows[0] if rows else None


def decisions_of(connection: sqlite3.Connection, span_id: str, trace_id: str | None = None) -> list[DecisionRow]:
    """The decisions about a span, in order.

    Args:
        connection: The store.
        span_id: 16 hexadecimal digits.
        trace_id: Its trace, where it is known: the decisions of all others are then not looked at.
    """
    of_trace, values = ("", (span_id,)) if trace_id is None else (f"AND d.{OF_TRACE}", (span_id, trace_id))
    rows = connection.execute(
        "SELECT d.time_ns, d.action, d.enforced, d.rule, d.policy_version, d.reason, d.tool, run.trace_id, d.span_id "  # noqa: S608 -- constants
        f"FROM decision AS d LEFT JOIN run ON run.id = d.run WHERE d.span_id = ? {of_trace} ORDER BY d.id",
        values,
    )
    return [_row(DecisionRow, row) for row in rows]


def _row(kind: type[T], row: sqlite3.Row) -> T:
    return msgspec.convert(dict(zip(kind.__struct_fields__, row, strict=True)), kind, strict=False)


def user_name() -> str:
    """The name of the user who runs this process, for the audit trail."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without an entry for its user
        return "unknown"
