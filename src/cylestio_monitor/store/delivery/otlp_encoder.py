"""Encodes rows of spans as OTLP messages.

The official encoder takes spans of the SDK and encodes every attribute of each. Most attributes stand in rows that many
spans share: these are encoded once and copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, ScopeSpans, Span

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

    from cylestio_monitor.store.delivery.span_decoder import Rebuilder, StoredRow
    from cylestio_monitor.store.sqlite.rows import SpanRecord

_MOST_KNOWN: Final = 4096
_LOCAL_PARENT: Final = 0x100
_REMOTE_PARENT: Final = 0x300
"""`SpanFlags`: whether it is known that the parent is of another process, and that it is."""


class EncodedMessage(NamedTuple):
    """One span to send.

    Attributes:
        encoder: What made it.
        source: The id of its resource and scope in `shared`.
        message: The span.
        row: The row that it was encoded from.
        stored: The record of the row.
    """

    encoder: Encoder
    source: int
    message: Span
    row: StoredRow
    stored: SpanRecord


class SpanBatch(Sequence["ReadableSpan"]):
    """Spans for one request: as its message, and for an exporter that cannot take that, as spans of the SDK."""

    def __init__(self, records: Sequence[EncodedMessage]) -> None:
        """Puts nothing together yet.

        Args:
            records: In the order they were stored, all of one encoder.
        """
        self._records = records

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return SpanBatch(self._records[index])
        record = self._records[index]
        return record.encoder.rebuilder.span(record.row, record.stored)

    def request(self) -> ExportTraceServiceRequest:
        """All of them, by resource and scope."""
        request = ExportTraceServiceRequest()
        resources: dict[bytes, ResourceSpans] = {}
        scopes: dict[int, ScopeSpans] = {}
        for record in self._records:
            scope = scopes.get(record.source)
            if scope is None:
                resource_bytes, scope_bytes = record.encoder.source(record.source)
                resource = resources.get(resource_bytes)
                if resource is None:
                    resource = resources[resource_bytes] = request.resource_spans.add()
                    resource.MergeFromString(resource_bytes)
                scope = scopes[record.source] = resource.scope_spans.add()
                scope.MergeFromString(scope_bytes)
            scope.spans.append(record.message)
        return request


class Encoder:
    """Encodes rows; remembers what they share."""

    def __init__(self, rebuilder: Rebuilder) -> None:
        """Starts with nothing remembered.

        Args:
            rebuilder: Reads what rows share.
        """
        self.rebuilder = rebuilder
        self._commons: dict[int, bytes] = {}
        self._sources: dict[int, tuple[bytes, bytes]] = {}

    def load(self, numbers: set[int]) -> None:
        """Reads entries of `shared` that the next records need; what is known of others is forgotten now and then."""
        if len(self._commons) > _MOST_KNOWN:
            self._commons.clear()
            self._sources.clear()
            self.rebuilder.forget()
        self.rebuilder.load(numbers)

    def record(self, row: StoredRow) -> EncodedMessage:
        """Encodes one span.

        Raises:
            StoreError: The row is damaged, or sealed with a key that is not at hand.
        """
        record = self.rebuilder.checked(row)
        extra = self.rebuilder.decode(record.extra) if record.extra else {}
        span = Span(
            trace_id=bytes.fromhex(record.trace_id),
            span_id=bytes.fromhex(record.span_id),
            parent_span_id=bytes.fromhex(record.parent_span_id or ""),
            name=record.name,
            kind=record.kind + 1,  # type: ignore[arg-type] # an enum of protobuf is an int; the protocol begins with 1, the SDK with 0
            start_time_unix_nano=record.start_ns,
            end_time_unix_nano=record.end_ns,
            flags=_REMOTE_PARENT if extra.get("remote_parent") else _LOCAL_PARENT,
        )
        span.MergeFromString(self._common(row.common))
        _add_all(span.attributes, self.rebuilder.attributes(record))
        if record.status:
            span.status.code = record.status  # type: ignore[assignment] # as above
        for event in self.rebuilder.events(record):
            made = span.events.add(name=event["name"], time_unix_nano=event["time_ns"])
            _add_all(made.attributes, event["attributes"])
        if extra:
            _add_extra(span, extra)
        return EncodedMessage(self, row.source, span, row, record)

    def source(self, number: int) -> tuple[bytes, bytes]:
        """Resource and scope of an entry of `shared`, as `ResourceSpans` and `ScopeSpans` without spans."""
        known = self._sources.get(number)
        if known is None:
            resource, scope = self.rebuilder.source(number)
            resource_spans, scope_spans = ResourceSpans(), ScopeSpans()
            resource_spans.resource.SetInParent()
            _add_all(resource_spans.resource.attributes, resource.attributes)
            resource_spans.schema_url = resource.schema_url or ""
            scope_spans.scope.name = scope.name
            scope_spans.scope.version = scope.version or ""
            scope_spans.schema_url = scope.schema_url or ""
            _add_all(scope_spans.scope.attributes, scope.attributes or {})
            known = resource_spans.SerializeToString(), scope_spans.SerializeToString()
            self._sources[number] = known
        return known

    def _common(self, number: int) -> bytes:
        """A span with the shared attributes and nothing else."""
        known = self._commons.get(number)
        if known is None:
            span = Span()
            span.status.SetInParent()
            _add_all(span.attributes, self.rebuilder.shared(number))
            known = self._commons[number] = span.SerializeToString()
        return known


def _add_extra(span: Span, extra: dict[str, Any]) -> None:
    if span.status.code == Span().status.STATUS_CODE_ERROR and "status_message" in extra:
        span.status.message = extra["status_message"]
    if "trace_state" in extra:
        span.trace_state = extra["trace_state"]
    for link in extra.get("links", ()):
        made = span.links.add(
            trace_id=bytes.fromhex(link["trace_id"]),
            span_id=bytes.fromhex(link["span_id"]),
            flags=_REMOTE_PARENT if link.get("remote") else _LOCAL_PARENT,
        )
        _add_all(made.attributes, link["attributes"])
    drops = extra.get("dropped", (0, 0, 0))
    span.dropped_attributes_count, span.dropped_events_count, span.dropped_links_count = drops


def _add_all(target: Any, attributes: Any) -> None:
    for name, value in attributes.items():
        _add(target, name, value)


def _add(target: Any, name: str, value: Any) -> None:
    pair = target.add()
    pair.key = name
    _set(pair.value, value)


def _set(target: Any, value: Any) -> None:
    """Puts a JSON value into an `AnyValue`; JSON's null is one without a value."""
    if type(value) is str:
        target.string_value = value
    elif type(value) is bool:
        target.bool_value = value
    elif type(value) is int:
        target.int_value = value
    elif type(value) is float:
        target.double_value = value
    elif type(value) is dict:
        target.kvlist_value.SetInParent()
        for key, item in value.items():
            _add(target.kvlist_value.values, key, item)
    elif value is not None:
        target.array_value.SetInParent()
        for item in value:
            _set(target.array_value.values.add(), item)
