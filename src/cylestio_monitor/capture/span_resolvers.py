"""The ordered list of resolvers that a `Pipeline` asks for the span of a call before it creates one.

Each resolver is inactive until its case can occur in this process, and imports its module only then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context

    from cylestio_monitor.emit.span_sink import SpanResolver, SpanSink
    from cylestio_monitor.model import AttributeValue, Call
    from cylestio_monitor.pipeline import Pipeline


class EnclosingCallResolver:
    """Finds the model call of a framework around the model call of an SDK; active once a framework is hooked."""

    def __init__(self) -> None:
        """Starts inactive."""
        self.is_active = False

    def find(
        self, _: Pipeline, call: Call, parent: Context | None, __: Mapping[str, AttributeValue]
    ) -> SpanSink | None:
        """Returns the sink that writes on the span of the framework's call."""
        from cylestio_monitor.capture import call_wrappers  # noqa: PLC0415 -- only where a framework is hooked

        return None if parent is not None else call_wrappers.find_enclosing_call(call)

    def has_span(self) -> bool:
        """Returns whether a model call of a framework is under way here."""
        from cylestio_monitor.capture import call_wrappers  # noqa: PLC0415 -- as above

        return call_wrappers.hosting() is not None

    def is_inside(self) -> bool:
        """Returns false: the span of a framework's call is our own."""
        return False


class ExternalSpanResolver:
    """Finds the span of another instrumentation; active once one has started a GenAI span."""

    def __init__(self) -> None:
        """Starts inactive."""
        self.is_active = False

    def find(
        self, pipeline: Pipeline, call: Call, parent: Context | None, attributes: Mapping[str, AttributeValue]
    ) -> SpanSink | None:
        """Returns the sink that writes on that span, or that waits for it."""
        from cylestio_monitor.capture.external_spans import span_tracker  # noqa: PLC0415 -- only where there is one

        return span_tracker.find_external_span(pipeline, call, parent, attributes)

    def has_span(self) -> bool:
        """Returns whether another instrumentation has a live span for the model call that is made here."""
        from cylestio_monitor.capture.external_spans import span_tracker  # noqa: PLC0415 -- as above

        return span_tracker.has_free_span()

    def is_inside(self) -> bool:
        """Returns whether the call is made inside a GenAI span of another instrumentation."""
        from cylestio_monitor.capture.external_spans import span_tracker  # noqa: PLC0415 -- as above

        return span_tracker.is_inside()


enclosing_calls: Final = EnclosingCallResolver()
external_spans: Final = ExternalSpanResolver()

ORDERED: Final[tuple[SpanResolver, ...]] = (enclosing_calls, external_spans)
"""A framework's own call comes first: a span of another instrumentation may be further away."""


def enable_external_spans() -> None:
    """Makes every pipeline look for spans of other instrumentations from now on."""
    external_spans.is_active = True
