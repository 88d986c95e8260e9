"""Events that the application logs itself, such as moderation results, sign-ins and errors.

One call writes up to four things: a row of the store's `events` table, an OpenTelemetry log record, an event on the
current span, and a line of the JSON log. It never raises. Events that are logged before monitoring starts are kept in
memory and written at the start.
"""

from __future__ import annotations

import atexit
import logging
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from cylestio_monitor import forks, identity, sanitize, semconv
from cylestio_monitor.otel import setup
from cylestio_monitor.otel.logged_events import record

if TYPE_CHECKING:
    from opentelemetry.trace import SpanContext

    from cylestio_monitor.otel.logged_events.sign_ins import SignInFindings
    from cylestio_monitor.store import Event

log = logging.getLogger("cylestio_monitor")

_NAME_BYTES = 256
MAX_WAITING = 1000
"""Most events that are kept in memory until monitoring starts; of more, the newest are dropped and counted."""


def log_event(
    event_type: str | None = None,
    data: Mapping[str, Any] | None = None,
    channel: str = "SYSTEM",
    level: str = "INFO",
    *,
    name: str | None = None,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Records an event of the application; `name` and `attributes` are synonyms of the first two arguments.

    Secrets and personal data in `data` are masked unless the setting `content` is `full`. An event that is logged
    before monitoring starts is written at the start.

    Args:
        event_type: The type of the event, such as ``content_moderation``.
        data: Values of the event. A value that is no JSON is recorded as text. The key ``alert`` with the value
            ``suspicious`` or ``dangerous`` lists the event among the findings.
        channel: The part of the system that reports, such as ``LLM``, ``TOOL``, ``AUTH`` or ``SYSTEM``.
        level: ``DEBUG``, ``INFO``, ``WARNING``, ``ERROR`` or ``CRITICAL``, in any case.
        name: The same as `event_type`.
        attributes: The same as `data`.
    """
    try:
        _record(event_type or name or "event", {**_mapping(data), **_mapping(attributes)}, channel, level)
    except Exception:
        # Logging an event must never break the application, whatever its data does when it is read.
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
        name: The type of the event, such as ``llm_call_failed``.
        error: The exception, or a description of the error.
        attributes: Values of the event.
        channel: The part of the system that reports.
    """
    kind = type(error).__qualname__ if isinstance(error, BaseException) else "_OTHER"
    log_event(name, {semconv.ERROR_TYPE: kind, "error.message": error}, channel, "ERROR", attributes=attributes)


def _record(event_type: object, data: dict[str, Any], channel: object, level: object) -> None:
    running = setup.running()
    now = time.time_ns()
    kind = sanitize.one_line(event_type, _NAME_BYTES)
    where = sanitize.one_line(channel, _NAME_BYTES).upper()
    severity = sanitize.clean_text(level, _NAME_BYTES).upper()
    if severity not in record.SEVERITY:
        severity = "INFO"
    clean = sanitize.clean_value(data)
    span = trace.get_current_span()
    place = span.get_span_context()
    event = record.row(
        kind,
        clean,
        channel=where,
        level=severity,
        time_ns=now,
        agent_id=identity.current().agent_id,
        span=place,
    )
    if running is None:
        _waiting.add(event, place)
        return
    event, sign_ins = _masked(event, data, running)
    if span.is_recording():
        span.add_event(event.event_type, {**record.flat(event.data), semconv.EVENT_CHANNEL: event.channel}, now)
    _write(event, place, running)
    if sign_ins is not None:
        sign_ins.report(event, span)


def _masked(event: Event, data: Mapping[str, Any], running: setup.Running) -> tuple[Event, SignInFindings | None]:
    """Returns an event as it may be recorded, and the findings of a sign-in.

    Args:
        event: The event.
        data: Its data as the application gave it.
        running: The set-up.
    """
    clean = running.scanner.mask_value(event.data) if running.pipeline.content != "full" else event.data
    assert isinstance(clean, dict)
    sign_ins = _sign_ins(event.event_type, data, event.timestamp_ns, running)
    if sign_ins is not None:
        clean = sign_ins.flagged(clean)
    redact = running.pipeline.redact
    return replace(event, data=clean, event_type=redact(event.event_type), channel=redact(event.channel)), sign_ins


def _sign_ins(kind: str, data: Mapping[str, Any], now_ns: int, running: setup.Running | None) -> SignInFindings | None:
    """Returns the findings of a sign-in; `None` for another event, and while monitoring is off."""
    if kind != "user_authentication" or running is None:
        return None
    from cylestio_monitor.otel.logged_events.sign_ins import SignInFindings  # noqa: PLC0415 -- few applications report sign-ins

    return SignInFindings(running, data, now_ns)


def _write(event: Event, place: SpanContext, running: setup.Running) -> None:
    record.emit(event, place)
    record.write(event, running.loaded.settings, running.store, running.json_log)


class _WaitingEvents:
    """Events that were logged before monitoring started."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._events: deque[tuple[Event, SpanContext]] = deque()
        self._dropped = 0

    def add(self, event: Event, place: SpanContext) -> None:
        """Keeps an event for the first start; later, monitoring is off on purpose and the event is dropped.

        Nothing of it is emitted before: the rules that mask it are not loaded.
        """
        if setup.was_started():
            return
        with self._lock:
            if not self._events:
                atexit.register(self._report)
            if len(self._events) < MAX_WAITING:
                self._events.append((event, place))
            else:
                self._dropped += 1

    def write(self, running: setup.Running | None) -> None:
        """Writes the events; drops them where the settings disable monitoring."""
        with self._lock:
            events, self._events = self._events, deque()
        atexit.unregister(self._report)
        if running is None or not events:
            return
        for event, place in events:
            masked, sign_ins = _masked(event, event.data, running)
            _write(masked, place, running)
            if sign_ins is not None:
                sign_ins.report(masked)
        if self._dropped:
            log.warning("cylestio: %d events that were logged before the start are lost", self._dropped)

    def reset(self) -> None:
        """Empties the queue in a forked child: the parent writes its events itself."""
        self._lock = threading.Lock()
        self._events = deque()
        self._dropped = 0

    def _report(self) -> None:
        count = len(self._events) + self._dropped
        if count:
            log.warning(
                "cylestio: %d %s logged, but monitoring never started and nothing is stored: call start_monitoring() "
                "or run the program under opentelemetry-instrument",
                count,
                "event was" if count == 1 else "events were",
            )


_waiting = _WaitingEvents()
setup.on_start.append(_waiting.write)
forks.register("waiting_events", forks.Order.THREADS, in_child=_waiting.reset)


def _mapping(given: object) -> Mapping[str, Any]:
    """Returns the argument as a mapping; a value of another type is kept under the key ``data``."""
    if given is None:
        return {}
    return given if isinstance(given, Mapping) else {"data": given}
