"""The report about a period: totals, findings, agents, tools, decisions and incidents of a store, as a document."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cylestio_monitor.incidents import taxonomies
from cylestio_monitor.incidents.document import Document, Link, ReportSection
from cylestio_monitor.model import SEVERITIES
from cylestio_monitor.store.read import lists, pages, queries, totals
from cylestio_monitor.store.sqlite.rows import timestamp

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterator

MOST: Final = 50
"""Rows of each table."""

_RULES: Final = (
    "SELECT rule_id, min(severity), category, count(*), count(DISTINCT match_hash), count(DISTINCT agent_id), "
    "sum(action = 'block'), min(timestamp), max(timestamp) FROM findings WHERE timestamp >= ? AND timestamp < ? "
    "GROUP BY rule_id, category ORDER BY CASE min(severity) WHEN 'critical' THEN 0 WHEN 'high' THEN 1 "
    "WHEN 'medium' THEN 2 ELSE 3 END, 4 DESC LIMIT ?"
)
_DECISIONS: Final = (
    "SELECT action, rule, count(*), sum(enforced) FROM decision WHERE time_ns >= ? AND time_ns < ? "
    "AND action <> 'allow' GROUP BY 1, 2 ORDER BY 3 DESC LIMIT ?"
)


def period_document(connection: sqlite3.Connection, since_ns: int, until_ns: int, name: str) -> Document:
    """Returns the report about a period.

    Args:
        connection: From `queries.connect`.
        since_ns: Begin of the period, nanoseconds since the epoch.
        until_ns: End of the period.
        name: Name of the store, for the title.
    """
    return Document(
        "Agents and their findings",
        f"{name}, {timestamp(since_ns)[:16]} to {timestamp(until_ns)[:16]} UTC",
        tuple(_sections(connection, since_ns, until_ns)),
    )


def _sections(connection: sqlite3.Connection, since_ns: int, until_ns: int) -> Iterator[ReportSection]:
    span = {"since_ns": since_ns, "until_ns": until_ns}
    by_type = {one.key: one for one in totals.usage(connection, "event_type", since_ns=since_ns, until_ns=until_ns)}
    models, tools = by_type.get("llm_call"), by_type.get("tool_call")
    everything = list(by_type.values())
    yield ReportSection(
        "Totals",
        (),
        [
            ("Model calls", models.events if models else 0),
            ("Tool calls", tools.events if tools else 0),
            ("Calls with a dangerous finding", sum(one.dangerous for one in everything)),
            ("Calls with a suspicious finding", sum(one.suspicious for one in everything)),
            ("Failed calls", sum(one.failed for one in everything)),
            (
                "Tokens in, out",
                f"{sum(o.input_tokens for o in everything):,}, {sum(o.output_tokens for o in everything):,}",
            ),
            ("Cost", float(sum(one.cost for one in everything))),
        ],
        intro="Calls are counted by the hour: the first hour counts whole.",
    )
    found = connection.execute(_RULES, (timestamp(since_ns), timestamp(until_ns), MOST)).fetchall()
    yield ReportSection(
        "Findings by rule",
        ("Rule", "Severity", "Category", "Count", "Different", "Agents", "Blocked", "First (UTC)", "Last (UTC)", ""),
        [(*tuple(row)[:6], row[6] or 0, row[7], row[8], Link("runbook", taxonomies.runbook(row[2]))) for row in found],
    )
    groups = pages.read_page(connection, lists.GROUPS, {**span, "state": "open"}, limit=MOST).rows
    yield ReportSection(
        "Open groups of findings",
        ("Group", "Rule", "Severity", "Findings", "Agent", "Tool", "Last (UTC)"),
        [
            (
                one.group_id,
                one.rule_id,
                SEVERITIES[one.severity_number],
                one.findings,
                one.agent_id,
                one.tool,
                timestamp(one.last_ns),
            )
            for one in groups
        ],
    )
    incidents = pages.read_page(connection, lists.INCIDENTS, {}, limit=MOST).rows
    yield ReportSection(
        "Incidents",
        ("Id", "Title", "State", "Severity", "Owner", "Opened (UTC)", "Closed (UTC)"),
        [
            (
                one.id,
                one.title,
                one.state,
                SEVERITIES[one.severity_number],
                one.owner,
                timestamp(one.opened_ns),
                timestamp(one.closed_ns) if one.closed_ns else "",
            )
            for one in incidents
            if one.state == "open" or one.opened_ns >= since_ns
        ],
        intro="Those that are open, and those that were opened in the period.",
    )
    for title, by in (("Agents", "agent_id"), ("Models", "model"), ("Tools", "tool")):
        rows = [one for one in totals.usage(connection, by, since_ns=since_ns, until_ns=until_ns) if one.key]  # type: ignore[arg-type]  # of the literals that `usage` takes
        yield ReportSection(
            title,
            ("Name", "Calls", "Dangerous", "Suspicious", "Failed", "Tokens", "Cost"),
            [
                (o.key, o.events, o.dangerous, o.suspicious, o.failed, o.input_tokens + o.output_tokens, float(o.cost))
                for o in rows[:MOST]
            ],
        )
    decisions = connection.execute(_DECISIONS, (since_ns, until_ns, MOST)).fetchall()
    yield ReportSection(
        "Decisions of the policy", ("Action", "Rule", "Count", "Enforced"), [tuple(row) for row in decisions]
    )
    delivery = queries.delivery(connection)["delivery"]
    yield ReportSection(
        "Delivery",
        ("Signal", "Waiting", "Set aside"),
        [(signal, numbers["queued"], numbers["quarantined"]) for signal, numbers in delivery.items()],
    )
