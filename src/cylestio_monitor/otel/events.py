"""Events of the application's own: moderation results, sign-ins, errors, whatever belongs into the picture.

One call writes up to four things: a row of the store's `events` table, an OpenTelemetry log record, an event on the
current span, and a line of the JSON log. It never raises.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from opentelemetry import _logs, trace
from opentelemetry._logs import LogRecord, SeverityNumber

from cylestio_monitor import identity, sanitize, semconv
from cylestio_monitor._version import __version__
from cylestio_monitor.otel import setup
from cylestio_monitor.store import Event

if TYPE_CHECKING:
    from cylestio_monitor.model import AttributeValue

log = logging.getLogger("cylestio_monitor")

_SEVERITY = {
    "DEBUG": SeverityNumber.DEBUG,
    "INFO": SeverityNumber.INFO,
    "WARNING": SeverityNumber.WARN,
    "ERROR": SeverityNumber.ERROR,
    "CRITICAL": SeverityNumber.FATAL,
}
_NAME_BYTES = 256


def log_event(
    event_type: str | None = None,
    data: Mapping[str, Any] | None = None,
    channel: str = "SYSTEM",
    level: str = "INFO",
    *,
    name: str | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Records an event of the application; `name` and `attributes` are other words for the first two.

    Secrets and personal data in `data` are masked, as everywhere, unless the setting `content` is `full`.

    Args:
        event_type: What happened, such as ``content_moderation``.
        data: Anything that goes with it. Values that are no JSON are recorded as text. The key ``alert`` with
            ``suspicious`` or ``dangerous`` has the event found where findings are looked for.
        channel: Which part of the system speaks, such as ``LLM``, ``TOOL``, ``AUTH`` or ``SYSTEM``.
        level: ``DEBUG``, ``INFO``, ``WARNING``, ``ERROR`` or ``CRITICAL``, in any case.
        name: The same as `event_type`.
        attributes: The same as `data`.
    """
    try:
        _record(event_type or name or "event", {**_mapping(data), **_mapping(attributes)}, channel, level)
    except Exception:
        log.debug("An event could not be recorded", exc_info=True)


def log_error(
    name: str,
    error: BaseException | str,
    attributes: Mapping[str, Any] | None = None,
    *,
    channel: str = "SYSTEM",
) -> None:
    """Records an error of the application as an event of level ``ERROR``.

    Args:
        name: What failed, such as ``llm_call_failed``.
        error: The exception, or what to say of it.
        attributes: Anything that goes with it.
        channel: Which part of the system speaks.
    """
    kind = type(error).__qualname__ if isinstance(error, BaseException) else "_OTHER"
    log_event(name, {semconv.ERROR_TYPE: kind, "error.message": error}, channel, "ERROR", attributes=attributes)


def _record(event_type: object, data: dict[str, Any], channel: object, level: object) -> None:
    running = setup.running()
    now = time.time_ns()
    kind = sanitize.clean_text(event_type, _NAME_BYTES)
    where = sanitize.clean_text(channel, _NAME_BYTES).upper()
    severity = sanitize.clean_text(level, _NAME_BYTES).upper()
    if severity not in _SEVERITY:
        severity = "INFO"
    clean = sanitize.clean_value(data)
    if running is not None and running.pipeline.content != "full":
        clean = running.scanner.mask_value(clean)
    assert isinstance(clean, dict)
    flat = _flat(clean)

    span = trace.get_current_span()
    place = span.get_span_context()
    if span.is_recording():
        span.add_event(kind, {**flat, semconv.EVENT_CHANNEL: where}, now)
    _logs.get_logger(semconv.SCOPE, __version__).emit(
        LogRecord(
            timestamp=now,
            event_name=kind,
            severity_text=severity,
            severity_number=_SEVERITY[severity],
            body=kind,
            attributes={**flat, semconv.EVENT_CHANNEL: where},
        )
    )
    if running is None:
        return
    event = Event(
        agent_id=identity.current().agent_id or running.loaded.settings.agent_id,
        event_type=kind,
        channel=where,
        level=severity,
        timestamp_ns=now,
        data=clean,
        trace_id=trace.format_trace_id(place.trace_id) if place.is_valid else None,
        span_id=trace.format_span_id(place.span_id) if place.is_valid else None,
    )
    if running.store is not None:
        running.store.add_event(event)
    if running.json_log is not None:
        running.json_log.write(event)


def _mapping(given: object) -> Mapping[str, Any]:
    """What was given as a mapping; anything else under the key ``data``, so that it is not lost."""
    if given is None:
        return {}
    return given if isinstance(given, Mapping) else {"data": given}


def _flat(data: Mapping[str, Any]) -> dict[str, AttributeValue]:
    """Attributes are flat scalars: what is nested stands there as its JSON."""
    return {
        key: value if isinstance(value, (str, bool, int, float)) else sanitize.to_json(value)
        for key, value in data.items()
        if value is not None
    }
