"""One logged event: its OpenTelemetry log record, its flat attributes, and its row for store and JSON log."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from opentelemetry import _logs, trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.trace import NonRecordingSpan

from cylestio_monitor import sanitize, semconv
from cylestio_monitor._version import __version__
from cylestio_monitor.store import Event

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import SpanContext

    from cylestio_monitor import config
    from cylestio_monitor.model import AttributeValue
    from cylestio_monitor.otel.json_log.writer import JsonLog
    from cylestio_monitor.store import Store

SEVERITY: Final = {
    "DEBUG": SeverityNumber.DEBUG,
    "INFO": SeverityNumber.INFO,
    "WARNING": SeverityNumber.WARN,
    "ERROR": SeverityNumber.ERROR,
    "CRITICAL": SeverityNumber.FATAL,
}
"""The levels of an event."""


def row(
    event_type: str,
    data: dict[str, Any],
    *,
    channel: str,
    level: str,
    time_ns: int,
    agent_id: str | None,
    span: SpanContext,
) -> Event:
    """Returns the row of an event.

    Args:
        event_type: The type of the event.
        data: Its data, clean.
        channel: The part of the system that reports.
        level: One of `SEVERITY`.
        time_ns: Its time, in ns since the epoch.
        agent_id: The agent.
        span: The span that it belongs to; an invalid one where there is none.
    """
    return Event(
        agent_id=agent_id,
        event_type=event_type,
        channel=channel,
        level=level,
        timestamp_ns=time_ns,
        data=data,
        trace_id=trace.format_trace_id(span.trace_id) if span.is_valid else None,
        span_id=trace.format_span_id(span.span_id) if span.is_valid else None,
    )


def emit(event: Event, span: SpanContext) -> None:
    """Emits the log record of an event.

    Args:
        event: The row, its data masked.
        span: The span that it belongs to; an invalid one where there is none.
    """
    _logs.get_logger(semconv.SCOPE, __version__).emit(
        LogRecord(
            timestamp=event.timestamp_ns,
            context=trace.set_span_in_context(NonRecordingSpan(span)),
            event_name=event.event_type,
            severity_text=event.level,
            severity_number=SEVERITY[event.level],
            body=event.event_type,
            attributes={**flat(event.data), semconv.EVENT_CHANNEL: event.channel},
        )
    )


def write(event: Event, settings: config.Settings, store: Store | None, json_log: JsonLog | None) -> None:
    """Writes the row of an event to the store and to the JSON log.

    Args:
        event: The row; without an agent, it gets that of the settings.
        settings: The settings in force.
        store: The store, where there is one.
        json_log: The JSON log, where there is one.
    """
    if event.agent_id is None:
        event = replace(event, agent_id=settings.agent_id)
    if store is not None:
        store.add_event(event)
    if json_log is not None:
        json_log.write(event)


def flat(data: Mapping[str, Any]) -> dict[str, AttributeValue]:
    """Returns flat attributes: a nested value becomes its JSON."""
    return {
        key: value if isinstance(value, (str, bool, int, float)) else sanitize.to_json(value)
        for key, value in data.items()
        if value is not None
    }
