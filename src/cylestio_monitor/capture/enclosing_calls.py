"""The model call of a framework around the model call of an SDK: both are one call, on one span."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

from cylestio_monitor import semconv
from cylestio_monitor.emit.span_sink import write_missing

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context
    from opentelemetry.trace import Status

    from cylestio_monitor.emit.span_sink import SpanSink
    from cylestio_monitor.model import AttributeValue, Call
    from cylestio_monitor.pipeline import Invocation, Pipeline

hosting_call: ContextVar[Invocation | None] = ContextVar("cylestio_hosting", default=None)
"""The model call of a framework that is under way in this thread or task, or was when this context was copied."""


class EnclosedSpan:
    """The `SpanSink` of an SDK's model call inside a framework's model call: one and the same, on one span.

    It adds what the SDK knows. The framework's call counts it, ends the span, and sets the error: it may try again.
    """

    __slots__ = ("reported_in", "span")
    counts_call = False
    can_refuse = True

    def __init__(self, span: Any) -> None:
        """Takes the live span of the framework's call."""
        self.span = span
        self.reported_in: int | None = span.get_span_context().trace_id

    def is_open(self) -> bool:
        """Returns whether the framework's call goes on."""
        return bool(self.span.is_recording())

    def write(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Sets the attributes that the span does not have."""
        write_missing(self.span, attributes)

    def recorded(self, name: str) -> AttributeValue | None:  # noqa: ARG002 -- whatever it is, it is replaced
        """Returns an empty text: the framework's call writes the content in its own form."""
        return ""

    def add_event(self, name: str, attributes: Mapping[str, AttributeValue]) -> None:
        """Adds an event."""
        self.span.add_event(name, attributes)

    def fail(self, kind: str, status: Status) -> None:
        """Leaves the error to the framework's call."""

    def end(self, end_time: int | None, *, masks: bool) -> None:
        """Leaves the end to the framework's call."""


class EnclosingCallResolver:
    """The `SpanResolver` of frameworks' calls.

    Attributes:
        is_active: A framework is hooked.
    """

    def __init__(self) -> None:
        """Starts inactive."""
        self.is_active = False

    def find(
        self, _: Pipeline, call: Call, parent: Context | None, __: Mapping[str, AttributeValue]
    ) -> SpanSink | None:
        """Returns the sink that writes on the span of the framework's call around a model call."""
        host = hosting_call.get()
        if host is None or parent is not None or call.operation not in semconv.INFERENCE:
            return None
        return EnclosedSpan(host.span) if host.span.is_recording() else None

    def has_span(self) -> bool:
        """Returns whether a model call of a framework is under way here."""
        return hosting_call.get() is not None

    def is_inside(self) -> bool:
        """Returns false: the span of a framework's call is our own."""
        return False


enclosing_calls: Final = EnclosingCallResolver()
