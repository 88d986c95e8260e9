"""Spans for calls that began and did not end because their process was killed.

The row of such a call remains in `open_call`. Any later process writes a span with `error.type` ``interrupted`` in its
place, which is also sent over OTLP.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from cylestio_monitor import semconv
from cylestio_monitor.model import SEVERITIES
from cylestio_monitor.store.sqlite.lease import is_gone
from cylestio_monitor.store.sqlite.records import OpenCall
from cylestio_monitor.store.sqlite.rows import (
    FINDING_COLUMNS,
    EncodedSpan,
    FindingRecord,
    SpanRecord,
    encode_json,
    time_ns_of,
)

if TYPE_CHECKING:
    import sqlite3

ERROR_TYPE: Final = "interrupted"
_MESSAGE: Final = "the process ended before the call did"
_CHUNK: Final = 100

_EVENT_NAMES: Final = (
    (semconv.FINDING_RULE, "rule_id"),
    (semconv.FINDING_CATEGORY, "category"),
    (semconv.FINDING_SEVERITY, "severity"),
    (semconv.FINDING_ALERT, "alert"),
    (semconv.FINDING_TARGET, "target"),
    (semconv.FINDING_SUBTYPE, "subtype"),
    (semconv.FINDING_PATH, "path"),
    (semconv.FINDING_START, "start"),
    (semconv.FINDING_END, "end"),
    (semconv.FINDING_HASH, "match_hash"),
)
_COLUMNS: Final = tuple(name for name in OpenCall.__struct_fields__ if name != "process")


def exist(connection: sqlite3.Connection) -> bool:
    """Returns whether the file has open calls whose process has ended."""
    rows = connection.execute("SELECT DISTINCT process FROM open_call").fetchall()
    return any(is_gone(str(process)) for (process,) in rows)


def spans(connection: sqlite3.Connection, *, forwarded: bool) -> list[EncodedSpan]:
    """Returns spans for calls whose process has ended; storing them removes the rows of the calls.

    Args:
        connection: To the store.
        forwarded: The calls of processes that sent their spans over OTLP, or those of the others.
    """
    query = (
        f"SELECT process, run, shared.body, {', '.join(f'open_call.{name}' for name in _COLUMNS)} FROM open_call "  # noqa: S608 -- constants
        "LEFT JOIN shared ON shared.id = open_call.source WHERE is_forwarded = ? ORDER BY open_call.id LIMIT ?"
    )
    found = []
    for process, run, source, *values in connection.execute(query, (forwarded, _CHUNK)).fetchall():
        if is_gone(str(process)):
            call = OpenCall(**dict(zip(_COLUMNS, values, strict=True)))
            found.append(_span(connection, run, source if isinstance(source, str) else "{}", call))
    return found


def _span(connection: sqlite3.Connection, run: int, source: str, call: OpenCall) -> EncodedSpan:
    query = f"SELECT {FINDING_COLUMNS} FROM findings WHERE run = ? AND span_id = ? ORDER BY id"  # noqa: S608 -- constants
    findings = [FindingRecord(*row) for row in connection.execute(query, (run, call.span_id))]
    events = [_event(finding) for finding in findings]
    attributes: dict[str, Any] = {
        semconv.OPERATION_NAME: call.operation,
        semconv.PROVIDER_NAME: call.provider,
        semconv.REQUEST_MODEL: call.model,
        semconv.TOOL_NAME: call.tool,
        semconv.CYLESTIO_AGENT_ID: call.agent_id,
        semconv.ERROR_TYPE: ERROR_TYPE,
        semconv.SCANNED: True,
        semconv.ALERT: call.alert,
        semconv.SEVERITY: SEVERITIES[call.severity_number],
        semconv.SEVERITY_NUMBER: call.severity_number,
        semconv.FINDING_COUNT: len(findings),
        semconv.CATEGORIES: sorted({finding.category for finding in findings}),
        semconv.RULES: sorted({finding.rule_id for finding in findings}),
        semconv.ACTION: call.action,
    }
    record = SpanRecord(
        trace_id=call.trace_id,
        span_id=call.span_id,
        parent_span_id=call.parent_span_id,
        name=call.name,
        kind=call.kind,
        start_ns=call.start_ns,
        end_ns=max([call.start_ns, *(event["time_ns"] for event in events)]),
        status=2,
        agent_id=call.agent_id,
        session_id=call.session_id,
        severity_number=call.severity_number,
        alert=call.alert,
        event_type=call.event_type,
        channel=call.channel,
        operation=call.operation,
        provider=call.provider,
        model=call.model,
        tool=call.tool,
        action=call.action,
        input_tokens=None,
        output_tokens=None,
        attributes=encode_json({name: value for name, value in attributes.items() if value is not None}).decode(),
        events=encode_json(events).decode() if events else None,
        extra=encode_json({"status_message": _MESSAGE}).decode(),
    )
    return EncodedSpan(source.encode(), b"{}", record)


def _event(finding: FindingRecord) -> dict[str, Any]:
    attributes = {name: getattr(finding, field) for name, field in _EVENT_NAMES}
    return {"name": semconv.EVENT_FINDING, "time_ns": time_ns_of(finding.timestamp), "attributes": attributes}
