"""Monitored calls as lines of the JSON log: the fields of the events view of the store, and the findings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import StatusCode

from cylestio_monitor import semconv
from cylestio_monitor.store.sqlite.rows import Event

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

_DATA: Final = {
    "alert": semconv.ALERT,
    "severity": semconv.SEVERITY,
    "categories": semconv.CATEGORIES,
    "rules": semconv.RULES,
    "action": semconv.ACTION,
    "operation": semconv.OPERATION_NAME,
    "provider": semconv.PROVIDER_NAME,
    "model": semconv.REQUEST_MODEL,
    "tool": semconv.TOOL_NAME,
    "error_type": semconv.ERROR_TYPE,
    "input_tokens": semconv.USAGE_INPUT_TOKENS,
    "output_tokens": semconv.USAGE_OUTPUT_TOKENS,
    "session_id": semconv.CYLESTIO_SESSION_ID,
}
_PREFIX: Final = f"{semconv.EVENT_FINDING}."


def call_event(span: ReadableSpan) -> Event | None:
    """Returns the event of an ended span; ``None`` for a span that is not monitored."""
    attributes = span.attributes or {}
    operation = attributes.get(semconv.OPERATION_NAME)
    kind, channel = semconv.event_type(
        operation if isinstance(operation, str) else None,
        attributes.get(semconv.MCP_METHOD),
        scanned=bool(attributes.get(semconv.SCANNED)),
    )
    context = span.context
    if kind is None or context is None:
        return None
    data: dict[str, Any] = {name: attributes.get(key) for name, key in _DATA.items()}
    start_ns, end_ns = span.start_time or 0, span.end_time or 0
    data |= {
        "name": span.name,
        "status": span.status.status_code.name.lower(),
        "duration_ms": round((end_ns - start_ns) / 1_000_000, 3),
        "findings": [_finding(event.attributes or {}) for event in span.events if event.name == semconv.EVENT_FINDING],
    }
    agent = attributes.get(semconv.CYLESTIO_AGENT_ID)
    return Event(
        agent if isinstance(agent, str) else None,
        kind,
        channel or "SYSTEM",
        _level(span, data),
        start_ns,
        data,
        f"{context.trace_id:032x}",
        f"{context.span_id:016x}",
    )


def _level(span: ReadableSpan, data: dict[str, Any]) -> str:
    """Returns ``ERROR`` for a failed call, ``WARNING`` for one with a finding."""
    if span.status.status_code is StatusCode.ERROR:
        return "ERROR"
    return "INFO" if data["severity"] in {None, "none"} else "WARNING"


def _finding(attributes: Any) -> dict[str, Any]:
    return {name.removeprefix(_PREFIX): value for name, value in attributes.items() if name.startswith(_PREFIX)}
