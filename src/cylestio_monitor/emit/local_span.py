"""A span that no exporter gets: of an unsampled trace, of a disabled SDK, or where instrumentation is suppressed.

The call is scanned and refused as any other. If it has a finding, its span is kept in the local store, so that no
finding stands there without the call that it belongs to.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple, Protocol

from opentelemetry import trace
from opentelemetry.trace import NonRecordingSpan, SpanContext, Status, TraceFlags

from cylestio_monitor import semconv
from cylestio_monitor._version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.trace import Span, SpanKind

    from cylestio_monitor.model import AttributeValue


class SpanStore(Protocol):
    """The part of the store that takes spans."""

    def add_span(self, span: ReadableSpan) -> object:
        """Hands over an ended span."""


class _FindingEvent(NamedTuple):
    name: str
    attributes: Mapping[str, AttributeValue]
    time_ns: int


class LocalSpan:
    """The `SpanSink` of a call whose span is not recorded by the SDK."""

    __slots__ = (
        "_attributes",
        "_events",
        "_kind",
        "_name",
        "_parent",
        "_resource",
        "_started_ns",
        "_status",
        "_store",
        "span",
    )
    counts_call = True
    can_refuse = True
    reported_in: int | None = None

    def __init__(
        self,
        name: str,
        *,
        kind: SpanKind,
        parent: Context | None,
        started: Span | None,
        attributes: Mapping[str, AttributeValue],
        resource: Resource | None,
        store: SpanStore | None,
    ) -> None:
        """Starts the span.

        Args:
            name: Its name.
            kind: Its kind.
            parent: The context of its parent.
            started: The span that the tracer returned; its ids are kept if it has any of its own.
            attributes: Its first attributes.
            resource: The resource of the tracer provider.
            store: Takes the span if its call has a finding.
        """
        above = trace.get_current_span(parent).get_span_context()
        context = started.get_span_context() if started is not None else trace.INVALID_SPAN_CONTEXT
        if not context.is_valid or context.span_id == above.span_id:  # the SDK is disabled: it gives no ids
            from opentelemetry.sdk.trace.id_generator import RandomIdGenerator  # noqa: PLC0415 -- only in this case

            ids = RandomIdGenerator()
            context = SpanContext(
                above.trace_id if above.is_valid else ids.generate_trace_id(),
                ids.generate_span_id(),
                is_remote=False,
                trace_flags=TraceFlags(TraceFlags.DEFAULT),
            )
            started = None
        self.span: Span = started if started is not None else NonRecordingSpan(context)
        self._name = name
        self._kind = kind
        self._parent = above if above.is_valid else None
        self._attributes = dict(attributes)
        self._events: list[_FindingEvent] = []
        self._status = Status()
        self._resource = resource
        self._store = store
        self._started_ns = time.time_ns()

    def is_open(self) -> bool:
        """The span takes attributes until the call ends."""
        return True

    def write(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Sets attributes."""
        self._attributes.update(attributes)

    def recorded(self, name: str) -> AttributeValue | None:  # noqa: ARG002 -- nobody else writes here
        """Returns `None`: what is recorded is what the call writes."""
        return None

    def add_event(self, name: str, attributes: Mapping[str, AttributeValue]) -> None:
        """Adds an event; each finding is one."""
        self._events.append(_FindingEvent(name, attributes, time.time_ns()))

    def fail(self, kind: str, status: Status) -> None:
        """Sets ``error.type`` and the status."""
        self._attributes[semconv.ERROR_TYPE] = kind
        self._status = status

    def end(self, end_time: int | None, *, masks: bool) -> None:  # noqa: ARG002 -- nothing was written by others
        """Stores the span if it has a finding."""
        if not self._events or self._store is None:
            return
        from opentelemetry.sdk.trace import Event, ReadableSpan  # noqa: PLC0415 -- only where there is a finding
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415 -- as above

        self._store.add_span(
            ReadableSpan(
                self._name,
                context=self.span.get_span_context(),
                parent=self._parent,
                resource=self._resource,
                attributes=self._attributes,
                events=[Event(event.name, event.attributes, event.time_ns) for event in self._events],
                kind=self._kind,
                status=self._status,
                start_time=self._started_ns,
                end_time=end_time or time.time_ns(),
                instrumentation_scope=InstrumentationScope(semconv.SCOPE, __version__, semconv.SCHEMA_URL),
            )
        )
