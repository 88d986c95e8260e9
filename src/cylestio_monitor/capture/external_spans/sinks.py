"""Calls on spans of other instrumentations: the attributes that are added there, and the masking of theirs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from opentelemetry.sdk.trace import Event

from cylestio_monitor import sanitize, semconv
from cylestio_monitor.capture.parsing import message_parts
from cylestio_monitor.emit import genai
from cylestio_monitor.emit.span_sink import OURS, write_missing
from cylestio_monitor.invocation import Invocation

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import Span, Status

    from cylestio_monitor.capture.external_spans.reader import SpanContent
    from cylestio_monitor.model import AttributeValue
    from cylestio_monitor.pipeline import Pipeline

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
"""Length in characters from which an attribute that holds no messages counts as text, not as a name or a number."""


class SpanState(Protocol):
    """The state of a span of another instrumentation, as far as the sinks use it; `TrackedSpan` is one."""

    masks: bool
    call_ended_at: int | None

    def call_ended(self, sink: Any, end_time: int | None) -> None:
        """Ends the span where its own instrumentation did so before; else waits for that instrumentation."""


class HostedSpan:
    """The `SpanSink` of a call that one of our hooks sees, on the span that another instrumentation started for it.

    It adds attributes and replaces none; the other instrumentation counts the call and ends the span.
    """

    __slots__ = ("_watch", "holds_secrets", "pipeline", "span")
    counts_call = False
    can_refuse = True
    reported_in: int | None = None

    def __init__(self, pipeline: Pipeline, span: Span, watch: SpanState) -> None:
        """Takes the live span."""
        self.pipeline = pipeline
        self.span = span
        self.holds_secrets = False
        self._watch = watch

    def is_open(self) -> bool:
        """Returns true: the span ends after the call."""
        return True

    def write(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Sets the attributes that the span does not have."""
        write_missing(self.span, attributes)

    def recorded(self, name: str) -> AttributeValue | None:
        """Returns the attribute that the span has by now; `None` where the call writes it."""
        attributes: Mapping[str, AttributeValue] = getattr(self.span, "attributes", None) or {}
        return attributes.get(name)

    def add_event(self, name: str, attributes: Mapping[str, AttributeValue]) -> None:
        """Adds an event."""
        self.span.add_event(name, attributes)

    def fail(self, kind: str, status: Status) -> None:
        """Sets ``error.type`` and the status."""
        self.span.set_attribute(semconv.ERROR_TYPE, kind)
        self.span.set_status(status)

    def end(self, end_time: int | None, *, masks: bool) -> None:
        """Ends the span where its own instrumentation wanted to end it before the call was over."""
        self.holds_secrets = masks
        self._watch.call_ended(self, end_time)


class FinishedSpan:
    """The `SpanSink` of a call that is over and known only from its span: tagged; nothing can be refused any more."""

    __slots__ = ("holds_secrets", "reported_in", "span")
    counts_call = False
    can_refuse = False

    def __init__(self, span: Span, reported_in: int | None) -> None:
        """Takes the span, and the trace whose findings are not reported again."""
        self.span = span
        self.reported_in = reported_in
        self.holds_secrets = False

    def is_open(self) -> bool:
        """Returns true: it is ended after it is tagged."""
        return True

    def write(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Sets the attributes that the span does not have, without the content: that is there in its own format."""
        write_missing(self.span, {key: value for key, value in attributes.items() if key not in _CONTENT})

    def recorded(self, name: str) -> AttributeValue | None:
        """Returns the attribute of the other instrumentation; an empty text where there is none."""
        attributes: Mapping[str, AttributeValue] = getattr(self.span, "attributes", None) or {}
        return attributes.get(name, "")

    def add_event(self, name: str, attributes: Mapping[str, AttributeValue]) -> None:
        """Adds an event."""
        self.span.add_event(name, attributes)

    def fail(self, kind: str, status: Status) -> None:
        """Leaves the error to the instrumentation that saw it."""

    def end(self, end_time: int | None, *, masks: bool) -> None:  # noqa: ARG002 -- whoever called `end` ends it
        """Notes whether what is written there must be masked."""
        self.holds_secrets = masks


def scan_finished(pipeline: Pipeline, reading: SpanContent, span: Span, repeats: int | None) -> bool:
    """Scans both sides of a call that is known only from its span, and tags the span.

    Args:
        pipeline: The running pipeline.
        reading: The call and the answer, as the span tells them.
        span: The live span.
        repeats: The trace of the same call, where it was reported before.

    Returns:
        Whether the span holds secrets or personal data.
    """
    call, actor = reading.call, pipeline.actor()
    trace_id = (repeats or span.get_span_context().trace_id) if reading.wraps or repeats is not None else None
    names = {
        semconv.OPERATION_NAME: call.operation,
        semconv.TOOL_NAME: call.tool_name,
        semconv.CYLESTIO_AGENT_ID: actor.agent_id,
        semconv.CYLESTIO_SESSION_ID: actor.session_id,
        semconv.ENDUSER_ID: call.user_id or actor.user_id,
        semconv.PROVIDER_NAME: call.provider,
        semconv.REQUEST_MODEL: call.model,
    }
    attributes = genai.attributes({key: value for key, value in names.items() if value}, pipeline.redact)
    sink = FinishedSpan(span, trace_id)
    sink.write(attributes)
    invocation = Invocation(pipeline, call, sink, attributes)
    invocation.inspect_input()
    invocation.end(reading.result)
    return sink.holds_secrets


def strip(span: Any) -> None:
    """Removes the content from a span for which we enabled it only to scan it."""
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
            event._attributes = {**(event.attributes or {}), **changed}  # noqa: SLF001 -- the SDK has no way to change an event


def _masked(key: str, value: object, pipeline: Pipeline, shortest: int) -> AttributeValue | None:
    """The value to put in its place; `None` where nothing is to be changed."""
    if key.startswith(OURS):
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
