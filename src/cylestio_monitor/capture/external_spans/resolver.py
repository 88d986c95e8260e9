"""The resolver of spans of other instrumentations, without the modules that read them until there is one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context

    from cylestio_monitor.emit.span_sink import SpanSink
    from cylestio_monitor.model import AttributeValue, Call
    from cylestio_monitor.pipeline import Pipeline


class ExternalSpanResolver:
    """The `SpanResolver` of spans of other instrumentations.

    Attributes:
        is_active: Another instrumentation has started a GenAI span, or will create one after a call.
    """

    def __init__(self) -> None:
        """Starts inactive."""
        self.is_active = False

    def track(self, span: Any, scope: str, *, is_genai: bool) -> None:
        """Tracks a span that starts. Never raises.

        Args:
            span: The live span.
            scope: The name of its instrumentation.
            is_genai: That instrumentation creates spans of GenAI operations.
        """
        from cylestio_monitor.capture.external_spans import span_tracker  # noqa: PLC0415 -- only if there is such a span

        if span_tracker.on_start(span, scope, is_genai=is_genai):
            self.is_active = True

    def add_log(self, record: Any) -> None:
        """Takes a log record that may belong to a tracked span. Never raises."""
        if self.is_active:
            from cylestio_monitor.capture.external_spans import span_tracker  # noqa: PLC0415 -- imported by then

            span_tracker.on_log(record)

    def find(
        self, pipeline: Pipeline, call: Call, parent: Context | None, attributes: Mapping[str, AttributeValue]
    ) -> SpanSink | None:
        """Returns the sink that writes on the span of another instrumentation, or that waits for it."""
        from cylestio_monitor.capture.external_spans import span_tracker  # noqa: PLC0415 -- imported by then

        return span_tracker.find_external_span(pipeline, call, parent, attributes)

    def has_span(self) -> bool:
        """Returns whether another instrumentation has a live span for the model call that is made here."""
        from cylestio_monitor.capture.external_spans import span_tracker  # noqa: PLC0415 -- imported by then

        return span_tracker.has_free_span()

    def is_inside(self) -> bool:
        """Returns whether the call is made inside a GenAI span of another instrumentation."""
        from cylestio_monitor.capture.external_spans import span_tracker  # noqa: PLC0415 -- imported by then

        return span_tracker.is_inside()

    def restore(self) -> None:
        """Restores the span classes of the SDK."""
        if self.is_active:
            from cylestio_monitor.capture.external_spans import span_tracker  # noqa: PLC0415 -- imported by then

            span_tracker.restore()


external_spans: Final = ExternalSpanResolver()


def enable_external_spans() -> None:
    """Makes every pipeline look for spans of other instrumentations from now on."""
    external_spans.is_active = True
