"""Rows as the objects that the OTLP exporters take: spans and log records as they were when they were stored."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import msgspec
from opentelemetry import trace
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import ReadableLogRecord
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from cylestio_monitor import semconv
from cylestio_monitor.errors import StoreError
from cylestio_monitor.sanitize import to_json
from cylestio_monitor.store.sqlite import content
from cylestio_monitor.store.sqlite.rows import checksum, checksum_span, digest

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from cylestio_monitor.store.sqlite.keys import Cipher

_KINDS: Final = tuple(SpanKind)
_STATUS: Final = (StatusCode.UNSET, StatusCode.OK, StatusCode.ERROR)
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_SEVERITY: Final = {
    "DEBUG": SeverityNumber.DEBUG,
    "INFO": SeverityNumber.INFO,
    "WARNING": SeverityNumber.WARN,
    "ERROR": SeverityNumber.ERROR,
    "CRITICAL": SeverityNumber.FATAL,
}


class DamagedRowError(StoreError):
    """The checksum does not fit: what the row holds now is not what was stored."""


class StoredSpan(ReadableSpan):
    """A span out of the store; it knows how much of it had been dropped before it came there."""

    stored_drops: tuple[int, int, int] = (0, 0, 0)

    @property
    def dropped_attributes(self) -> int:
        """Attributes dropped by the limits of the SDK."""
        return self.stored_drops[0]

    @property
    def dropped_events(self) -> int:
        """Events dropped by the limits of the SDK."""
        return self.stored_drops[1]

    @property
    def dropped_links(self) -> int:
        """Links dropped by the limits of the SDK."""
        return self.stored_drops[2]


class _SharedResource(Resource):
    """A resource whose hash is taken once: the exporter asks for it with every span, and it is that of its JSON."""

    def __hash__(self) -> int:
        return id(self)

    def __eq__(self, other: object) -> bool:
        return self is other


class Rebuilder:
    """Rebuilds rows; remembers what they share."""

    def __init__(self, connection: sqlite3.Connection, cipher: Cipher | None) -> None:
        """Reads through one connection.

        Args:
            connection: To the store.
            cipher: What opens content, where it is encrypted at rest.
        """
        self._connection = connection
        self.cipher = cipher
        self.decode = msgspec.json.Decoder().decode
        self._bodies: dict[int, tuple[bytes, dict[str, Any]]] = {}
        self._sources: dict[int | None, tuple[Resource, InstrumentationScope]] = {}

    def span(self, row: Sequence[Any]) -> ReadableSpan:
        """One span.

        Args:
            row: ``source``, ``common`` and ``checksum``, then `SPAN_COLUMNS`.

        Raises:
            StoreError: The row is damaged, or sealed with a key that is not at hand.
        """
        source_id, common_id = row[:2]
        values = self.checked(row)
        trace_id, span_id, parent_id, name, kind, start, end, status = values[:8]
        session_id, input_tokens, output_tokens = values[9], values[19], values[20]
        own, events, extra_json, blob = values[21:]
        attributes = dict(self.shared(common_id))
        if session_id is not None:
            attributes[semconv.CYLESTIO_SESSION_ID] = session_id
        if input_tokens is not None:
            attributes[semconv.USAGE_INPUT_TOKENS] = input_tokens
        if output_tokens is not None:
            attributes[semconv.USAGE_OUTPUT_TOKENS] = output_tokens
        attributes.update(self.decode(own))
        if blob is not None:
            attributes.update(content.unpack(blob, self.cipher))
        extra = self.decode(extra_json) if extra_json else {}
        resource, scope = self.source(source_id)
        trace_number = int(trace_id, 16)
        state = extra.get("trace_state")
        span = StoredSpan(
            name=name,
            context=SpanContext(
                trace_number,
                int(span_id, 16),
                False,
                _SAMPLED,
                TraceState.from_header([state]) if state else None,
            ),
            parent=SpanContext(trace_number, int(parent_id, 16), extra.get("remote_parent", False), _SAMPLED)
            if parent_id
            else None,
            resource=resource,
            attributes=attributes,
            events=[Event(event["name"], event["attributes"], event["time_ns"]) for event in self.decode(events)]
            if events
            else (),
            links=[_link(link) for link in extra.get("links", ())],
            kind=_KINDS[kind],
            status=Status(_STATUS[status], extra.get("status_message") if status == 2 else None),
            start_time=start,
            end_time=end,
            instrumentation_scope=scope,
        )
        span.stored_drops = tuple(extra.get("dropped", (0, 0, 0)))
        return span

    def checked(self, row: Sequence[Any]) -> Sequence[Any]:
        """The values of `SPAN_COLUMNS` of a row of a span.

        Raises:
            DamagedRowError: They are not what was stored.
        """
        values = row[3:]
        if checksum_span(values, self._body(row[0])[0], self._body(row[1])[0]) != row[2]:
            raise DamagedRowError("the row is damaged")
        return values

    def shared(self, number: int) -> dict[str, Any]:
        """The body of an entry of `shared`."""
        return self._body(number)[1]

    def forget(self) -> None:
        """Lets go of everything remembered."""
        self._bodies.clear()
        self._sources.clear()

    def load(self, numbers: Iterable[int]) -> None:
        """Reads entries of `shared` that the next rows need; one that is missing or damaged is for them to find."""
        for number in numbers:
            if number not in self._bodies:
                row = self._connection.execute("SELECT digest, body FROM shared WHERE id = ?", (number,)).fetchone()
                if row is not None and type(row[1]) is str and digest(row[1].encode()) == row[0]:
                    self._bodies[number] = (row[0], self.decode(row[1]))

    def record(self, row: Sequence[Any]) -> ReadableLogRecord:
        """One event as a log record.

        Args:
            row: ``source`` and ``checksum``, then `EVENT_COLUMNS`.

        Raises:
            DamagedRowError: The row is damaged.
        """
        source_id, stored, *values = row
        if checksum(*values) != stored:
            raise DamagedRowError("the row is damaged")
        agent_id, event_type, channel, level, _, time_ns, data, trace_id, span_id = values
        attributes: dict[str, Any] = {
            key: value if isinstance(value, (str, bool, int, float)) else to_json(value)
            for key, value in self.decode(data).items()
            if value is not None
        }
        attributes[semconv.EVENT_CHANNEL] = channel
        if agent_id is not None:
            attributes[semconv.CYLESTIO_AGENT_ID] = agent_id
        context = Context()
        if trace_id and span_id:
            place = SpanContext(int(trace_id, 16), int(span_id, 16), False, _SAMPLED)
            context = trace.set_span_in_context(trace.NonRecordingSpan(place), context)
        resource, scope = self.source(source_id)
        return ReadableLogRecord(
            LogRecord(
                timestamp=time_ns,
                observed_timestamp=time_ns,
                context=context,
                severity_text=level,
                severity_number=_SEVERITY.get(level, SeverityNumber.INFO),
                body=event_type,
                attributes=attributes,
                event_name=event_type,
            ),
            resource,
            scope,
        )

    def source(self, number: int | None) -> tuple[Resource, InstrumentationScope]:
        """Resource and scope of an entry of `shared`."""
        known = self._sources.get(number)
        if known is None:
            body = {} if number is None else self.shared(number)
            scope = body.get("scope") or {"name": semconv.SCOPE}
            known = (
                _SharedResource(body.get("resource", {}), body.get("resource_schema_url")),
                InstrumentationScope(
                    scope["name"], scope.get("version"), scope.get("schema_url"), scope.get("attributes")
                ),
            )
            self._sources[number] = known
        return known

    def _body(self, number: int) -> tuple[bytes, dict[str, Any]]:
        known = self._bodies.get(number)
        if known is None:
            raise DamagedRowError("what the row shares with others is missing")
        return known


def _link(link: dict[str, Any]) -> Link:
    state = link.get("trace_state")
    place = SpanContext(
        int(link["trace_id"], 16),
        int(link["span_id"], 16),
        link.get("remote", False),
        _SAMPLED,
        TraceState.from_header([state]) if state else None,
    )
    return Link(place, link["attributes"])
