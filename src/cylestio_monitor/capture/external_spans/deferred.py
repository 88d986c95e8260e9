"""Calls of which another instrumentation makes the span afterwards, with the time at which the call began.

OpenLLMetry does so for the OpenAI responses API, LiteLLM for its callback `otel`. When the call is made there is no
span to take over, so it runs on one of ours. When theirs appears it takes the place of ours: it gets the ids, so that
what was started within the call hangs on it, and all that we know; ours is not exported. Where theirs does not come,
ours is exported instead. Either way there is one span.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

from opentelemetry import trace
from opentelemetry.trace import SpanContext, TraceFlags

from cylestio_monitor import semconv
from cylestio_monitor.capture.external_spans import scopes
from cylestio_monitor.capture.external_spans.invocations import ExternalSpanInvocation, mask
from cylestio_monitor.pipeline import Invocation

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.capture.external_spans.span_tracker import TrackedSpan
    from cylestio_monitor.model import AttributeValue, Call, Result
    from cylestio_monitor.pipeline import Pipeline

log = logging.getLogger(__name__)

_OPENLLMETRY_SCOPE = "opentelemetry.instrumentation.openai"
_MAX_FRAMES = 60


class DeferredSpanSource(NamedTuple):
    """An instrumentation that makes its span afterwards.

    Attributes:
        scope: How the name of its instrumentation scope begins.
        is_active: Whether a span is to be expected of it, asked when the call has ended.
    """

    scope: str
    is_active: Callable[[], bool]


class Expected(NamedTuple):
    """A call whose span may be started here and now.

    Attributes:
        call: The call.
        began_by: The latest time that the span may give as its beginning, in ns since the epoch.
    """

    call: ReplaceableSpanInvocation
    began_by: int


announced: ContextVar[DeferredSpanSource | None] = ContextVar("cylestio_announced", default=None)
"""Who makes the span of the call that is about to begin."""

expected: ContextVar[Expected | None] = ContextVar("cylestio_expected", default=None)

_openllmetry = DeferredSpanSource(_OPENLLMETRY_SCOPE, lambda: True)


class ReplaceableSpanInvocation(ExternalSpanInvocation):
    """A call on a span of ours that gives way to the one which another instrumentation makes afterwards.

    Attributes:
        around: The span that was the current one when the call began.
        maker: Whose span is expected.
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
        "maker",
    )

    def __init__(self, pipeline: Pipeline, call: Call, maker: DeferredSpanSource) -> None:
        """Starts the span."""
        self.around = trace.get_current_span()
        self.maker = maker
        self._lock = threading.Lock()
        self._watch: TrackedSpan | None = None
        self._other: Any = None
        self._over_at: int | None = None
        self._released = False
        self._waits = True
        self._known: dict[str, AttributeValue] = {}
        super().__init__(pipeline, call, pipeline.start_span(call, None))

    @property
    def is_live(self) -> bool:
        """Whether the span can still be written to, and is to be exported as it is."""
        return self.span.is_recording() and self._watch is None

    def pair(self, watch: TrackedSpan, span: Any) -> bool:
        """Has the span of the other instrumentation, which has just started, take the place of ours.

        Returns:
            Whether it does; not where ours is exported already, or where the other one belongs to another parent.
        """
        ours: Any = self.span
        with self._lock:
            if self._watch is not None or self._released or not ours.is_recording():
                return False
            if not span.get_span_context().trace_flags.sampled or not _fits(span.parent, ours.parent):
                return False
            self._watch, self._other = watch, span
            span._context, span._parent = ours.get_span_context(), ours.parent  # noqa: SLF001 -- given at the start only
            if self._over_at is not None:
                self._give()
                watch.left_at = self._over_at
        return True

    def release(self) -> None:
        """Waits no longer: ends our span, once the call is over and where no other one has come."""
        span: Any = self.span
        with self._lock:
            self._waits = False
            if self._watch is not None or self._released or self._over_at is None:
                return
            self._released = True
        try:
            if span.is_recording():
                # What the other instrumentation wrote on it meanwhile adds to what we know, and replaces nothing.
                span.set_attributes(self._known)
                if self.holds_secrets:
                    mask(span, self._pipeline)
        finally:
            span.end(self._over_at)

    def _write(self, attributes: dict[str, AttributeValue]) -> None:
        self.span.set_attributes(attributes)

    def _measure(self, result: Result | None, error_type: str | None) -> None:
        """Counts the call: the instrumentations that make their span afterwards do not."""
        Invocation._measure(self, result, error_type)  # noqa: SLF001 -- a base of it

    def _close(self, end_time: int | None) -> None:
        span: Any = self.span
        with self._lock:
            over_at = self._over_at = end_time or time.time_ns()
            watch = self._watch
            if watch is not None:
                self._give()
            elif span.is_recording():
                self._known = dict(span.attributes or {})
        if watch is not None:
            watch.leave(self, over_at)
        elif self._waits and span.is_recording() and self.maker.is_active():
            self._pipeline.reaper.put_later(self.release)
        else:
            self.release()

    def _give(self) -> None:
        """Hands all that our span says to the other one, and ends ours so that no exporter takes it."""
        ours: Any = self.span
        self.span, self._other = self._other, None
        self.write(dict(ours.attributes or {}))
        for event in ours.events:
            self.span.add_event(event.name, event.attributes, event.timestamp)
        place = ours.get_span_context()
        ours._context = SpanContext(  # noqa: SLF001 -- what is not sampled is not exported
            place.trace_id, place.span_id, is_remote=False, trace_flags=TraceFlags.get_default()
        )
        ours.end(self._over_at)


def begin(pipeline: Pipeline, call: Call) -> ReplaceableSpanInvocation | None:
    """The call on a span that may give way; `None` where no other one is to be expected."""
    maker = announced.get() or (_openllmetry if _is_below_openllmetry(call) else None)
    if maker is None:
        return None
    invocation = ReplaceableSpanInvocation(pipeline, call, maker)
    if maker is _openllmetry:
        expected.set(Expected(invocation, time.time_ns()))
    return invocation


def take(span: Any, scope: str) -> ReplaceableSpanInvocation | None:
    """The call that a span which starts here is made for afterwards, once; `None` for every other span."""
    here = expected.get()
    if here is None or not scope.startswith(here.call.maker.scope) or (span.start_time or 0) > here.began_by:
        return None
    place = span.parent
    if place is not None and place.span_id == here.call.span.get_span_context().span_id:
        return None  # of something within the call
    expected.set(None)
    return here.call


def _fits(theirs: SpanContext | None, ours: SpanContext | None) -> bool:
    return theirs is None or (ours is not None and theirs.span_id == ours.span_id)


def _is_below_openllmetry(call: Call) -> bool:
    if scopes.OPENLLMETRY_RESPONSES not in sys.modules or call.attributes.get(semconv.OPENAI_API_TYPE) != "responses":
        return False
    frame = sys._getframe()  # noqa: SLF001 -- whose functions are around this call is nowhere else to be read
    for _ in range(_MAX_FRAMES):
        if frame.f_globals.get("__name__") == scopes.OPENLLMETRY_RESPONSES:
            return True
        if frame.f_back is None:
            break
        frame = frame.f_back
    return False
