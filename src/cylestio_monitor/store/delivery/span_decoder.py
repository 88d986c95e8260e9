"""Decodes rows into the objects that the OTLP exporters take."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

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
from cylestio_monitor.store.sqlite.rows import FAILED, EventRecord, SpanRecord, digest, seal_record

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
    """The row does not hold what was stored."""


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


class StoredRow(NamedTuple):
    """A row of `span` as it is read.

    Attributes:
        source: Id of resource and scope in `shared`.
        common: Id of the shared attributes in `shared`.
        checksum: The stored checksum.
        values: `SPAN_COLUMNS`.
    """

    source: int
    common: int
    checksum: int
    values: Sequence[Any]


class Rebuilder:
    """Reads rows; keeps the entries of `shared` that they refer to."""

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

    def checked(self, row: StoredRow) -> SpanRecord:
        """Returns the record of a row whose types and checksum are right.

        Raises:
            DamagedRowError: The row does not hold what was stored.
        """
        try:
            record = msgspec.convert(row.values, SpanRecord)
        except msgspec.ValidationError as error:
            raise DamagedRowError("the row has values of a wrong type") from error
        if seal_record(record, self._body(row.source)[0], self._body(row.common)[0])[0] != row.checksum:
            raise DamagedRowError("the row is damaged")
        return record

    def span(self, row: StoredRow, record: SpanRecord) -> ReadableSpan:
        """Rebuilds the span of the SDK, for an exporter that takes no message.

        Args:
            row: The row.
            record: Its record, from `checked`.

        Raises:
            StoreError: The content is damaged, or sealed with a key that is not at hand.
        """
        attributes = {**self.shared(row.common), **self.attributes(record)}
        extra = self.decode(record.extra) if record.extra else {}
        resource, scope = self.source(row.source)
        trace_id = int(record.trace_id, 16)
        state = extra.get("trace_state")
        parent_id, remote = record.parent_span_id, extra.get("remote_parent", False)
        trace_state = TraceState.from_header([state]) if state else None
        span = StoredSpan(
            name=record.name,
            context=SpanContext(trace_id, int(record.span_id, 16), False, _SAMPLED, trace_state),
            parent=SpanContext(trace_id, int(parent_id, 16), remote, _SAMPLED) if parent_id else None,
            resource=resource,
            attributes=attributes,
            events=[Event(one["name"], one["attributes"], one["time_ns"]) for one in self.events(record)],
            links=[_link(link) for link in extra.get("links", ())],
            kind=_KINDS[record.kind],
            status=Status(_STATUS[record.status], extra.get("status_message") if record.status == FAILED else None),
            start_time=record.start_ns,
            end_time=record.end_ns,
            instrumentation_scope=scope,
        )
        span.stored_drops = tuple(extra.get("dropped", (0, 0, 0)))
        return span

    def attributes(self, record: SpanRecord) -> dict[str, Any]:
        """Returns the attributes that are not shared, content included.

        Raises:
            StoreError: The content is damaged, or sealed with a key that is not at hand.
        """
        attributes: dict[str, Any] = {
            name: value
            for name, value in (
                (semconv.CYLESTIO_SESSION_ID, record.session_id),
                (semconv.USAGE_INPUT_TOKENS, record.input_tokens),
                (semconv.USAGE_OUTPUT_TOKENS, record.output_tokens),
            )
            if value is not None
        }
        attributes.update(self.decode(record.attributes))
        if record.content is not None:
            attributes.update(content.unpack(record.content, self.cipher))
        return attributes

    def events(self, record: SpanRecord) -> list[dict[str, Any]]:
        """Returns the span events: name, time_ns and attributes of each."""
        return self.decode(record.events) if record.events else []

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
            DamagedRowError: The row does not hold what was stored.
        """
        source_id, stored, *values = row
        try:
            event = msgspec.convert(values, EventRecord)
        except msgspec.ValidationError as error:
            raise DamagedRowError("the row has values of a wrong type") from error
        if seal_record(event)[0] != stored:
            raise DamagedRowError("the row is damaged")
        attributes: dict[str, Any] = {
            key: value if isinstance(value, (str, bool, int, float)) else to_json(value)
            for key, value in self.decode(event.data).items()
            if value is not None
        }
        attributes[semconv.EVENT_CHANNEL] = event.channel
        if event.agent_id is not None:
            attributes[semconv.CYLESTIO_AGENT_ID] = event.agent_id
        context = Context()
        if event.trace_id and event.span_id:
            place = SpanContext(int(event.trace_id, 16), int(event.span_id, 16), False, _SAMPLED)
            context = trace.set_span_in_context(trace.NonRecordingSpan(place), context)
        resource, scope = self.source(source_id)
        return ReadableLogRecord(
            LogRecord(
                timestamp=event.time_ns,
                observed_timestamp=event.time_ns,
                context=context,
                severity_text=event.level,
                severity_number=_SEVERITY.get(event.level, SeverityNumber.INFO),
                body=event.event_type,
                attributes=attributes,
                event_name=event.event_type,
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
