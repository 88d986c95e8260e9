"""Findings as typed rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec

from cylestio_monitor.errors import StoreError
from cylestio_monitor.model import SEVERITIES, SEVERITY_NUMBER
from cylestio_monitor.store.read.pages import OF_TRACE, Cursor, Listing, Page, equal, read_page
from cylestio_monitor.store.read.values import decoded, to_ns
from cylestio_monitor.store.sqlite import content, keys
from cylestio_monitor.store.sqlite.rows import timestamp

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from datetime import datetime
    from pathlib import Path


class FindingRow(msgspec.Struct, frozen=True):
    """One finding; the fields are the columns in the reference of the store, `owasp` and `atlas` decoded."""

    id: int
    trace_id: str
    span_id: str
    timestamp: str
    rule_id: str
    category: str
    severity: str
    alert: str
    target: str
    subtype: str
    path: str
    start: int
    end: int
    owasp: list[str]
    atlas: list[str]
    match_hash: str
    agent_id: str | None
    session_id: str | None
    service_name: str | None
    action: str | None
    operation: str | None
    model: str | None
    tool: str | None
    user_id: str | None
    attribute: str | None
    pointer: str | None
    part_id: str | None
    source: str | None
    group_id: str | None
    excerpt: str | None
    seq: int | None


FINDINGS: Final = Listing(
    FindingRow,
    "findings",
    "timestamp",
    "id",
    {
        "since": "timestamp >= ?",
        "until": "timestamp < ?",
        "severities": "severity IN (SELECT value FROM json_each(?))",
        "rule_prefix": "rule_id >= ? AND rule_id < ? || char(1114111)",
        "trace_id": OF_TRACE,
        **equal("id", "rule_id", "category", "agent_id", "session_id", "user_id", "tool", "action", "span_id"),
        **equal("group_id", "match_hash", "source"),
    },
)


def finding_page(
    connection: sqlite3.Connection,
    *,
    cursor: Cursor | None = None,
    limit: int = 100,
    severity: str | None = None,
    rule: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    **filters: Any,
) -> Page[FindingRow]:
    """Reads one page of findings, newest first.

    Args:
        connection: From `queries.connect`.
        cursor: Where the page begins.
        limit: Largest number of rows.
        severity: The lowest severity that counts.
        rule: A rule id, or a prefix ending in ``*``.
        since: Not before this time.
        until: Before this time.
        filters: ``category``, ``agent_id``, ``session_id``, ``user_id``, ``tool``, ``action``, ``trace_id``,
            ``span_id``, ``group_id``, ``match_hash``, ``source``.
    """
    chosen: dict[str, Any] = dict(filters)
    if severity is not None:
        chosen["severities"] = msgspec.json.encode(SEVERITIES[SEVERITY_NUMBER[severity] :]).decode()
    if rule is not None:
        chosen["rule_prefix" if rule.endswith("*") else "rule_id"] = rule.removesuffix("*")
    chosen["since"] = since and timestamp(to_ns(since))
    chosen["until"] = until and timestamp(to_ns(until))
    page = read_page(connection, FINDINGS, chosen, cursor=cursor, limit=limit)
    page.rows = [decoded_row(row) for row in page.rows]
    return page


def findings(connection: sqlite3.Connection, *, limit: int = 100, **filters: Any) -> list[FindingRow]:
    """Reads findings, newest first.

    Args:
        connection: From `queries.connect`.
        limit: Largest number of rows.
        filters: As for `finding_page`.
    """
    return finding_page(connection, limit=limit, **filters).rows


def findings_of(
    connection: sqlite3.Connection, trace_id: str, limit: int = 10_000, *, span_id: str | None = None
) -> list[FindingRow]:
    """Reads the findings of a trace, or of one of its spans, in the order in which they came."""
    of_span, values = ("", ()) if span_id is None else ("AND span_id = ?", (span_id,))
    query = f"{FINDINGS.select()} WHERE {OF_TRACE} {of_span} ORDER BY id LIMIT ?"
    return [decoded_row(row) for row in FINDINGS.rows(connection.execute(query, (trace_id, *values, limit)))]


def finding_counts(connection: sqlite3.Connection, trace_id: str) -> dict[str, int]:
    """Counts the findings of each span of a trace, by span id; a span without findings is left out."""
    query = f"SELECT span_id, count(*) FROM findings WHERE {OF_TRACE} GROUP BY span_id"  # noqa: S608 -- constants
    return dict(connection.execute(query, (trace_id,)).fetchall())


def other_runs(
    connection: sqlite3.Connection,
    match_hashes: Sequence[str],
    trace_id: str,
    limit: int = 20,
    *,
    value_hashes: Sequence[str] = (),
) -> list[tuple[str, str]]:
    """Reads the runs in which the same texts or values were found: trace id and time, UTC, the newest first.

    Args:
        connection: From `queries.connect`.
        match_hashes: Hashes of the texts.
        trace_id: The run that is left out.
        limit: Largest number of rows that are read for each of them.
        value_hashes: Hashes of values that went into tool calls.
    """
    found: dict[str, str] = {}
    query = (
        "SELECT run.trace_id, findings.timestamp FROM findings JOIN run ON run.id = findings.run "
        "WHERE match_hash = ? AND run.trace_id <> ? ORDER BY findings.timestamp DESC LIMIT ?"
    )
    for match_hash in match_hashes:
        for trace, moment in connection.execute(query, (match_hash, trace_id, limit)):
            found[trace] = max(moment, found.get(trace, ""))
    query = (
        "SELECT run.trace_id, run.start_ns FROM value_origin JOIN run ON run.id = value_origin.run "
        "WHERE value_hash = ? AND run.trace_id <> ? ORDER BY value_origin.id DESC LIMIT ?"
    )
    for value_hash in value_hashes:
        for trace, start_ns in connection.execute(query, (value_hash, trace_id, limit)):
            found[trace] = max(timestamp(start_ns), found.get(trace, ""))
    return sorted(found.items(), key=lambda one: one[1], reverse=True)[:limit]


def opened(rows: Sequence[FindingRow], path: Path) -> list[FindingRow]:
    """Returns the rows with their excerpts opened; one that cannot be opened is left out.

    Args:
        rows: The rows.
        path: The database, whose key the environment names where content is encrypted.
    """
    if not any(row.excerpt and content.is_sealed(row.excerpt) for row in rows):
        return list(rows)
    cipher = keys.cipher_of(path)
    return [msgspec.structs.replace(row, excerpt=_excerpt(row.excerpt, cipher)) for row in rows]


def _excerpt(text: str | None, cipher: keys.Cipher | None) -> str | None:
    try:
        return content.open_text(text, cipher) if text else None
    except StoreError:
        return None


def decoded_row(row: FindingRow) -> FindingRow:
    """Returns a row with its lists decoded."""
    return msgspec.structs.replace(row, owasp=decoded(row.owasp, []), atlas=decoded(row.atlas, []))
