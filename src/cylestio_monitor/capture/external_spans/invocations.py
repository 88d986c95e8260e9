"""Calls on spans that are not ours: what is written there, and what is left to their own instrumentation."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import Event

from cylestio_monitor import sanitize, semconv
from cylestio_monitor.capture.parsing import message_parts
from cylestio_monitor.emit.attributes import safe
from cylestio_monitor.inspection import Inspection, needs_mask
from cylestio_monitor.pipeline import Invocation

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from cylestio_monitor.capture.external_spans.reader import Reading
    from cylestio_monitor.capture.external_spans.span_tracker import TrackedSpan
    from cylestio_monitor.model import AttributeValue, Call, Finding, Result
    from cylestio_monitor.pipeline import Pipeline

_OURS = ("cylestio.", "security_rule.")
_CONTENT = frozenset(
    {
        semconv.SYSTEM_INSTRUCTIONS,
        semconv.INPUT_MESSAGES,
        semconv.OUTPUT_MESSAGES,
        semconv.TOOL_DEFINITIONS,
        semconv.TOOL_CALL_ARGUMENTS,
        semconv.TOOL_CALL_RESULT,
    }
)
_CONTENT_OF_PYDANTIC_AI = frozenset(
    {
        "pydantic_ai.all_messages",
        "all_messages_events",
        "events",
        "final_result",
        "tool_arguments",
        "tool_response",
        "model_request_parameters",
    }
)
_SHORT = 8  # no secret or personal data fits into less
UNREAD = 40
"""Characters from which on an attribute that is none of messages is taken for text, not for a name or a number."""


class ExternalSpanInvocation(Invocation):
    """A call on a span that is not ours: adds what is missing, replaces nothing, ends nothing, counts no call twice."""

    __slots__ = ()

    @property
    def pipeline(self) -> Pipeline:
        """The pipeline it runs on."""
        return self._pipeline

    @property
    def holds_secrets(self) -> bool:
        """Whether something was found that may not be recorded as it is."""
        found = self._inspection
        return bool(found.masked) or needs_mask(found.findings)

    def write(self, attributes: dict[str, AttributeValue]) -> None:
        """Sets the attributes that the span has not; those of security in any case."""
        span: Any = self.span
        there = span.attributes or {}
        span.set_attributes(
            {key: value for key, value in attributes.items() if key.startswith(_OURS) or key not in there}
        )

    def _write(self, attributes: dict[str, AttributeValue]) -> None:
        self.write(attributes)

    def _measure(self, result: Result | None, error_type: str | None) -> None:
        """Leaves the operation metrics to the instrumentation whose span it is."""


class HostedInvocation(ExternalSpanInvocation):
    """A call that one of our hooks sees, on the span that another instrumentation started for it."""

    __slots__ = ("_watch",)

    def __init__(self, pipeline: Pipeline, call: Call, span: Span, watch: TrackedSpan) -> None:
        """Takes the live span."""
        super().__init__(pipeline, call, span)
        self._watch = watch

    def _close(self, end_time: int | None) -> None:
        self._watch.leave(self, end_time)


class FinishedSpanInvocation(ExternalSpanInvocation):
    """A call that is over and known only from its span: scanned and tagged; nothing can be refused any more."""

    __slots__ = ("_result",)

    def __init__(self, pipeline: Pipeline, reading: Reading, span: Span, repeats: int | None = None) -> None:
        """Takes what the span says of its call, and the trace in which that was reported before, if it was."""
        super().__init__(pipeline, reading.call, span)
        self._result = reading.result
        if reading.wraps or repeats is not None:
            self._inspection = DedupInspection(pipeline, repeats or span.get_span_context().trace_id)

    def run(self) -> None:
        """Scans both sides and sets the attributes."""
        who = self._pipeline.who()
        named = {
            semconv.OPERATION_NAME: self.call.operation,
            semconv.TOOL_NAME: self.call.tool_name,
            semconv.CYLESTIO_AGENT_ID: who.agent_id,
            semconv.CYLESTIO_SESSION_ID: who.session_id,
            semconv.ENDUSER_ID: self.call.user_id or who.user_id,
            semconv.PROVIDER_NAME: self.call.provider,
            semconv.REQUEST_MODEL: self.call.model,
        }
        self.write(safe({key: value for key, value in named.items() if value}))
        self.inspect_input()
        self.end(self._result)

    def _write(self, attributes: dict[str, AttributeValue]) -> None:
        """The content stands on the span already, in its own format."""
        self.write({key: value for key, value in attributes.items() if key not in _CONTENT})

    def _can_refuse(self, found: list[Finding], *, answered: bool) -> bool:  # noqa: ARG002 -- it is over
        return False

    def _close(self, end_time: int | None) -> None:
        """Leaves the end to whoever called `end`."""


class DedupInspection(Inspection):
    """The scan of a span around other calls: what these have reported is not found again."""

    __slots__ = ("_reported", "_trace_id")

    def __init__(self, pipeline: Pipeline, trace_id: int) -> None:
        super().__init__(pipeline.scanner, pipeline.seen)
        self._reported = pipeline.reported
        self._trace_id = trace_id

    def _report(self, found: list[Finding]) -> None:
        super()._report(self._reported.new(self._trace_id, found))


def strip(span: Any) -> None:
    """Takes the content off a span on which it was switched on for the scan alone."""
    for key in [key for key in span.attributes or {} if key in _CONTENT or key in _CONTENT_OF_PYDANTIC_AI]:
        del span._attributes[key]  # noqa: SLF001 -- an attribute has no public way to be removed


def mask(span: Any, pipeline: Pipeline, shortest: int = _SHORT) -> None:
    """Masks secrets and personal data in what another instrumentation wrote, unless full content was asked for.

    Args:
        span: A live span of the SDK.
        pipeline: The running pipeline.
        shortest: Attributes with fewer characters are left as they are.
    """
    if pipeline.content == "full":
        return
    masked: dict[str, AttributeValue] = {}
    for key, value in (span.attributes or {}).items():
        clean = _masked(key, value, pipeline, shortest)
        if clean is not None:
            masked[key] = clean
    span.set_attributes(masked)
    for event in span._events:  # noqa: SLF001 -- events have no public way to be changed
        changed = {
            k: c for k, v in (event.attributes or {}).items() if (c := _masked(k, v, pipeline, shortest)) is not None
        }
        if changed and isinstance(event, Event):
            event._attributes = {**(event.attributes or {}), **changed}  # noqa: SLF001


def _masked(key: str, value: object, pipeline: Pipeline, shortest: int) -> AttributeValue | None:
    """The value to put in its place; `None` where nothing is to be changed."""
    if key.startswith(_OURS):
        return None
    if isinstance(value, str):
        if len(value) < shortest:
            return None
        plain = message_parts.decoded(value)
        clean = (
            pipeline.scanner.mask(value)
            if isinstance(plain, str)
            else sanitize.to_json(pipeline.scanner.mask_value(plain), pipeline.settings.content_max_bytes)
        )
        changed = clean != value if isinstance(plain, str) else message_parts.decoded(clean) != plain
        return clean if changed else None
    if isinstance(value, tuple) and value and all(isinstance(item, str) for item in value):
        texts = [pipeline.scanner.mask(item) for item in value]
        return texts if texts != list(value) else None
    return None
