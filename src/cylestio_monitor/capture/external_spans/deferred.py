"""Calls whose span another instrumentation creates afterwards, with the time at which the call began.

OpenLLMetry does so for the OpenAI Responses API, LiteLLM for its callback `otel`. When the call is made there is no
span yet, so the call runs on one of ours. When theirs appears it replaces ours: it gets the ids, so that the children
of the call stay its children, and all of our attributes; ours is not exported. If theirs does not appear, ours is
exported. Either way there is one span.
"""

from __future__ import annotations

import sys
import threading
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry import trace
from opentelemetry.trace import SpanContext, TraceFlags

from cylestio_monitor import semconv
from cylestio_monitor.capture.external_spans import scopes
from cylestio_monitor.capture.external_spans.sinks import mask
from cylestio_monitor.emit.span_sink import write_missing
from cylestio_monitor.pipeline import OwnSpan

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from opentelemetry.trace import Status

    from cylestio_monitor.capture.external_spans.sinks import SpanState
    from cylestio_monitor.emit.span_sink import SpanSink
    from cylestio_monitor.model import AttributeValue, Call
    from cylestio_monitor.pipeline import Pipeline

_OPENLLMETRY_SCOPE = "opentelemetry.instrumentation.openai"
_MAX_FRAMES = 60


class DeferredSpanSource(NamedTuple):
    """An instrumentation that creates its span afterwards.

    Attributes:
        scope: Prefix of the name of its instrumentation scope.
        is_active: Asked when the call has ended: a span of it is to be expected.
    """

    scope: str
    is_active: Callable[[], bool]


class Expected(NamedTuple):
    """A call whose span may be started in this context.

    Attributes:
        sink: Our span of the call.
        began_by: The latest start time that the span may have, in ns since the epoch.
    """

    sink: ReplaceableSpan
    began_by: int


announced: ContextVar[DeferredSpanSource | None] = ContextVar("cylestio_announced", default=None)
"""The instrumentation that will create the span of the next call in this context."""

expected: ContextVar[Expected | None] = ContextVar("cylestio_expected", default=None)

_openllmetry = DeferredSpanSource(_OPENLLMETRY_SCOPE, lambda: True)


class ReplaceableSpan:
    """The `SpanSink` of a call on a span of ours, until another instrumentation creates its own.

    Attributes:
        around: The span that was the current one when the call began.
        source: The instrumentation whose span is expected.
    """

    __slots__ = (
        "__weakref__",
        "_known",
        "_lock",
        "_other",
        "_over_at",
        "_released",
        "_waits",
        "_watch",
        "around",
        "holds_secrets",
        "pipeline",
        "source",
        "span",
    )
    counts_call = True  # the instrumentations that create their span afterwards do not
    can_refuse = True
    reported_in: int | None = None

    def __init__(self, pipeline: Pipeline, span: Any, source: DeferredSpanSource) -> None:
        """Takes our started span."""
        self.pipeline = pipeline
        self.span = span
        self.source = source
        self.around = trace.get_current_span()
        self.holds_secrets = False
        self._lock = threading.Lock()
        self._watch: SpanState | None = None
        self._other: Any = None
        self._over_at: int | None = None
        self._released = False
        self._waits = True
        self._known: dict[str, AttributeValue] = {}

    @property
    def is_live(self) -> bool:
        """Our span can still be written to and will be exported."""
        return bool(self.span.is_recording()) and self._watch is None

    def is_open(self) -> bool:
        """Returns true: nobody else ends it."""
        return True

    def write(self, attributes: Mapping[str, AttributeValue]) -> None:
        """Sets attributes."""
        self.span.set_attributes(attributes)

    def recorded(self, name: str) -> AttributeValue | None:  # noqa: ARG002 -- the other span gets our attributes
        """Returns `None`: what is recorded is what the call writes."""
        return None

    def add_event(self, name: str, attributes: Mapping[str, AttributeValue]) -> None:
        """Adds an event."""
        self.span.add_event(name, attributes)

    def fail(self, kind: str, status: Status) -> None:
        """Sets ``error.type`` and the status."""
        self.span.set_attribute(semconv.ERROR_TYPE, kind)
        self.span.set_status(status)

    def end(self, end_time: int | None, *, masks: bool) -> None:
        """Hands over to the other span, or waits for it."""
        self.holds_secrets = masks
        span: Any = self.span
        with self._lock:
            over_at = self._over_at = end_time or time.time_ns()
            watch = self._watch
            if watch is not None:
                self._hand_over()
            elif span.is_recording():
                self._known = dict(span.attributes or {})
        if watch is not None:
            watch.call_ended(self, over_at)
        elif self._waits and span.is_recording() and self.source.is_active():
            self.pipeline.background.put_later(self.release)
        else:
            self.release()

    def replace_by(self, watch: SpanState, span: Any) -> bool:
        """Replaces our span by the one that the other instrumentation has just started.

        Returns:
            False where ours is exported already, or where the other span belongs to another parent.
        """
        ours: Any = self.span
        with self._lock:
            if self._watch is not None or self._released or not ours.is_recording():
                return False
            if not span.get_span_context().trace_flags.sampled or not _fits(span.parent, ours.parent):
                return False
            self._watch, self._other = watch, span
            span._context, span._parent = ours.get_span_context(), ours.parent  # noqa: SLF001 -- set only at its start
            if self._over_at is not None:
                self._hand_over()
                watch.call_ended_at, watch.masks = self._over_at, self.holds_secrets
        return True

    def release(self) -> None:
        """Waits no longer: ends our span, once the call is over and where no other span has come."""
        span: Any = self.span
        with self._lock:
            self._waits = False
            if self._watch is not None or self._released or self._over_at is None:
                return
            self._released = True
        try:
            if span.is_recording():
                # Attributes that the other instrumentation wrote on it meanwhile add to ours and replace none.
                span.set_attributes(self._known)
                if self.holds_secrets:
                    mask(span, self.pipeline)
        finally:
            span.end(self._over_at)

    def _hand_over(self) -> None:
        """Copies attributes and events of our span to the other one, and ends ours so that no exporter takes it."""
        ours: Any = self.span
        self.span, self._other = self._other, None
        write_missing(self.span, dict(ours.attributes or {}))
        for event in ours.events:
            self.span.add_event(event.name, event.attributes, event.timestamp)
        place = ours.get_span_context()
        ours._context = SpanContext(  # noqa: SLF001 -- a span that is not sampled is not exported
            place.trace_id, place.span_id, is_remote=False, trace_flags=TraceFlags.get_default()
        )
        ours.end(self._over_at)


def find_deferred(pipeline: Pipeline, call: Call, attributes: Mapping[str, AttributeValue]) -> SpanSink | None:
    """Returns the sink of a call whose span is created afterwards; `None` where no such span is to be expected."""
    source = announced.get() or (_openllmetry if _is_below_openllmetry(call) else None)
    if source is None:
        return None
    own = pipeline.start_span(call, None, attributes)
    if not isinstance(own, OwnSpan):
        return own
    sink = ReplaceableSpan(pipeline, own.span, source)
    if source is _openllmetry:
        expected.set(Expected(sink, time.time_ns()))
    return sink


def take(span: Any, scope: str) -> ReplaceableSpan | None:
    """Returns, once, the sink of the call that a span which starts here was created for; `None` for other spans."""
    here = expected.get()
    if here is None or not scope.startswith(here.sink.source.scope) or (span.start_time or 0) > here.began_by:
        return None
    place = span.parent
    if place is not None and place.span_id == here.sink.span.get_span_context().span_id:
        return None  # of a step within the call
    expected.set(None)
    return here.sink


def _fits(theirs: SpanContext | None, ours: SpanContext | None) -> bool:
    return theirs is None or (ours is not None and theirs.span_id == ours.span_id)


def _is_below_openllmetry(call: Call) -> bool:
    if scopes.OPENLLMETRY_RESPONSES not in sys.modules or call.attributes.get(semconv.OPENAI_API_TYPE) != "responses":
        return False
    frame = sys._getframe()  # noqa: SLF001 -- the stack is the only place that names the functions around this call
    for _ in range(_MAX_FRAMES):
        if frame.f_globals.get("__name__") == scopes.OPENLLMETRY_RESPONSES:
            return True
        if frame.f_back is None:
            break
        frame = frame.f_back
    return False
