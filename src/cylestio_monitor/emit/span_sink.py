"""The protocols between a call and its span: who creates the span, what is written on it, and who ends it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context
    from opentelemetry.trace import Span, Status

    from cylestio_monitor.model import AttributeValue, Call


class SpanSink(Protocol):
    """The span of a call: where it comes from, what may be written on it, and who ends it.

    Attributes:
        span: The span itself.
        counts_call: The operation metrics of the call are recorded here, not by another instrumentation.
        can_refuse: The call has not happened yet.
        reported_in: The trace whose findings are not reported again; `None` if the call is no repetition.
    """

    span: Span
    counts_call: bool
    can_refuse: bool
    reported_in: int | None

    def is_open(self) -> bool:
        """Returns whether the span still takes attributes."""

    def write(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Sets attributes."""

    def recorded(self, name: str) -> AttributeValue | None:
        """Returns the content attribute that another instrumentation has recorded; `None` where the call records it."""

    def add_event(self, name: str, attributes: Mapping[str, AttributeValue]) -> None:
        """Adds an event."""

    def fail(self, kind: str, status: Status) -> None:
        """Sets ``error.type`` and the status of a failed call."""

    def end(self, end_time: int | None, *, masks: bool) -> None:
        """Ends the span, if that is not left to another.

        Args:
            end_time: In ns since the epoch; `None` for now.
            masks: The call has content that must not be recorded as it is.
        """


class SpanResolver(Protocol):
    """Finds the span that exists already for a call, or will be created by another instrumentation.

    Attributes:
        is_active: There may be such spans in this process; an inactive resolver costs a call nothing.
    """

    is_active: bool

    def find(
        self, pipeline: Any, call: Call, parent: Context | None, attributes: Mapping[str, AttributeValue]
    ) -> SpanSink | None:
        """Returns the sink of that span; `None` where there is none. Never raises."""

    def has_span(self) -> bool:
        """Returns whether a span for the model call that is made here exists."""

    def is_inside(self) -> bool:
        """Returns whether the current span is scanned by us although another instrumentation created it."""


OURS = ("cylestio.", "security_rule.")
"""Prefixes of the attributes that only this package sets."""


def write_missing(span: Any, attributes: Mapping[str, AttributeValue]) -> None:
    """Sets the attributes that a span of another instrumentation does not have; those of security in any case."""
    there = span.attributes or {}
    span.set_attributes({key: value for key, value in attributes.items() if key.startswith(OURS) or key not in there})
