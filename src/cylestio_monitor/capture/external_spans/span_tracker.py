"""Spans that other instrumentations make: tagged as ours are, before any exporter sees them, and never doubled.

`on_start` sees every span while it is live. One that is or may become a GenAI span gets a class whose `end` comes to
`_ending` first, for a span takes no attribute any more once its own `end` has begun. There the content that the other
instrumentation wrote is read, scanned and tagged.

Where one of our hooks is below such an instrumentation, the span for the call exists already. `adopt` finds it, and
the call then runs on that span: what our hook sees is scanned before the request leaves, also where the other
instrumentation records no content.
"""

from __future__ import annotations

import logging
import re
import time
import weakref
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from cylestio_monitor import pipeline as road
from cylestio_monitor import semconv
from cylestio_monitor.capture.external_spans import deferred, reader, scopes
from cylestio_monitor.capture.external_spans.invocations import (
    UNREAD,
    ExternalSpanInvocation,
    FinishedSpanInvocation,
    HostedInvocation,
    mask,
    strip,
)
from cylestio_monitor.capture.external_spans.reader import Event
from cylestio_monitor.emit import genai
from cylestio_monitor.emit.attributes import safe

if TYPE_CHECKING:
    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span

    from cylestio_monitor.model import Call
    from cylestio_monitor.pipeline import Pipeline

log = logging.getLogger(__name__)

_MAX_EVENTS = 500
_INFERENCE_NAME = re.compile(r"^Chat[A-Z]\w*$|chat|completion|response|message|embed|generate|model|llm", re.IGNORECASE)
_NO_INFERENCE_NAME = re.compile(r"tool|agent|workflow|task|retriev|graph", re.IGNORECASE)


class TrackedSpan:
    """What is known of one live span of another instrumentation.

    Attributes:
        span: The span, weakly: it is the application's to keep.
        around: The span that was the current one when it started.
        events: Messages that were written for it as log records.
        guest: The call of one of our hooks that runs on it, or that it was made for afterwards.
        ended_at: When its own instrumentation ended it, while the guest's call went on; in ns since the epoch.
        left_at: When the guest's call ended, while the span went on.
        repeats: The trace of a call that it was made for afterwards, and that has a span of its own already.
    """

    __slots__ = ("__weakref__", "around", "ended_at", "events", "guest", "left_at", "repeats", "scope", "span")

    def __init__(self, span: Span, scope: str) -> None:
        """Takes the span that has just started."""
        self.span = weakref.ref(span)
        self.scope = scope
        self.around = trace.get_current_span()
        self.events: list[Event] = []
        self.guest: ExternalSpanInvocation | None = None
        self.ended_at: int | None = None
        self.left_at: int | None = None
        self.repeats: int | None = None

    def leave(self, guest: ExternalSpanInvocation, end_time: int | None) -> None:
        """The guest's call has ended: ends the span too, where its own instrumentation did so before."""
        self.left_at = end_time or time.time_ns()
        if self.ended_at is not None:
            span: Any = guest.span
            _complete(span, guest.pipeline, self, max(self.ended_at, self.left_at))


_classes: dict[type, tuple[type, type]] = {}
_live: weakref.WeakValueDictionary[int, TrackedSpan] = weakref.WeakValueDictionary()
_latest: ContextVar[weakref.ref[TrackedSpan] | None] = ContextVar("cylestio_foreign_span", default=None)


def on_start(span: Span, scope: str, *, is_genai: bool) -> None:
    """Takes notice of a span that starts. Never raises.

    Args:
        span: The live span.
        scope: The name of its instrumentation.
        is_genai: Whether that one makes spans of GenAI operations.
    """
    try:
        _take(span)
        if is_genai or reader.is_genai(span.attributes or {}):
            _afterwards(span, _watch(span, scope))
    except Exception:
        log.debug("Could not watch a span", exc_info=True)


def look_out(pipeline: Pipeline) -> None:
    """Has the pipeline look for a span of another instrumentation before it starts one."""
    if pipeline.adopt is None:
        pipeline.adopt, pipeline.is_hosted = adopt, is_hosted


def adopt(pipeline: Pipeline, call: Call, parent: Context | None) -> ExternalSpanInvocation | None:
    """The call on the span that another instrumentation has started for it, or will; `None` where there is none.

    Args:
        pipeline: The running pipeline.
        call: A call that is about to happen.
        parent: The parent that the hook names; a hook that names one knows better.
    """
    if parent is not None or call.operation not in reader.INFERENCE:
        return None
    try:
        watch = _watch_around(call)
        span = watch.span() if watch is not None else None
        if watch is None or span is None:
            return deferred.begin(pipeline, call)
        guest = HostedInvocation(pipeline, call, span, watch)
        watch.guest = guest
        span.__class__ = _classes[type(span)][1]
        guest.write(safe(genai.at_start(call, pipeline.who())))
    except Exception:
        log.debug("Could not take over a span", exc_info=True)
        return None
    return guest


def is_hosted() -> bool:
    """Whether another instrumentation has a live span for the model call that is made here."""
    watch = _watch_here() or _watch_before()
    span = watch.span() if watch is not None else None
    return watch is not None and span is not None and _is_free(watch, span)


def on_log(record: Any) -> None:
    """Takes a log record; one that carries a message of a live span is read with it. Never raises.

    Args:
        record: A log record of the SDK, of any version.
    """
    try:
        attributes = record.attributes or {}
        name = getattr(record, "event_name", None) or attributes.get("event.name") or ""
        watch = _live.get(record.span_id or 0) if str(name).startswith("gen_ai.") else None
        span = watch.span() if watch is not None else None
        if watch is None or span is None or span.get_span_context().trace_id != record.trace_id:
            return
        body = record.body if isinstance(record.body, Mapping) else {"content": record.body}
        if len(watch.events) < _MAX_EVENTS:
            watch.events.append(Event(str(name), {**attributes, **body}))
    except Exception:
        log.debug("Could not read a log record", exc_info=True)


def _take(span: Any) -> None:
    """Has the span's `end` come to us first."""
    base = type(span)
    span.__class__ = (_classes.get(base) or _watched_classes(base))[0]


def _watch(span: Any, scope: str) -> TrackedSpan:
    pipeline = road.installed()
    if pipeline is not None:
        look_out(pipeline)
    watch = span._cylestio_watch = TrackedSpan(span, scope)  # noqa: SLF001 -- kept by the span: it lives as long as that
    _live[span.get_span_context().span_id] = watch
    _latest.set(weakref.ref(watch))
    return watch


def _afterwards(span: Any, watch: TrackedSpan) -> None:
    """Gives a span that is made after its call what the call is known to be."""
    call = deferred.take(span, watch.scope)
    if call is None:
        return
    if call.pair(watch, span):
        _live[span.get_span_context().span_id] = watch
        watch.guest = call
        span.__class__ = _classes[type(span)][1]
    else:
        watch.repeats = call.span.get_span_context().trace_id


def _watched_classes(base: type[Any]) -> tuple[type, type]:
    """The class of a watched span, and that of one whose call one of our hooks has taken over."""

    def end(self: Any, end_time: int | None = None) -> None:
        _ending(self, end_time)

    def finalise(self: Any) -> None:
        _dropped(self)

    names = {"__module__": base.__module__, "__qualname__": base.__qualname__, "__doc__": base.__doc__}
    watched = type(base.__name__, (base,), {**names, "end": end, "_cylestio_end": base.end})
    # Some instrumentations never end the span of a stream; what is known of its call must not be lost with it.
    adopted = type(base.__name__, (watched,), {**names, "__del__": finalise})
    pair = _classes[base] = (watched, adopted)
    _classes[watched] = pair
    return pair


def _watch_around(call: Call) -> TrackedSpan | None:
    """The live span, free and of the same call, that is the current one or was started last in this context."""
    here = _watch_here()
    if here is not None and _is_for(here, call):
        return here
    before = _watch_before()
    if before is None or not _is_for(before, call):
        return None
    words = [*(call.provider or "").split("."), *(["anthropic"] if "claude" in (call.model or "") else [])]
    same = scopes.is_framework(before.scope) or any(word and word in before.scope for word in words)
    return before if same else None


def _watch_here() -> TrackedSpan | None:
    """The watch of the current span, where that is of another instrumentation."""
    here: Any = trace.get_current_span()
    watch: TrackedSpan | None = getattr(here, "_cylestio_watch", None)
    if watch is None and type(here) in _classes and reader.operation(here.attributes or {}):
        watch = _watch(here, here.instrumentation_scope.name)  # its attributes were set after its start
    return watch


def _watch_before() -> TrackedSpan | None:
    """The watch of the last span started in this context that did not become the current one."""
    latest = _latest.get()
    watch = latest() if latest is not None else None
    return watch if watch is not None and watch.around is trace.get_current_span() else None


def _is_for(watch: TrackedSpan, call: Call) -> bool:
    span = watch.span()
    if span is None or not _is_free(watch, span):
        return False
    operation = reader.operation(span.attributes or {})
    return not operation or (operation == "embeddings") == (call.operation == "embeddings")


def _is_free(watch: TrackedSpan, span: Any) -> bool:
    """Whether it is the live span of one model call that none of our hooks has taken over."""
    if watch.guest is not None or not span.is_recording():
        return False
    operation = reader.operation(span.attributes or {})
    if operation:
        return operation in reader.INFERENCE
    return bool(_INFERENCE_NAME.search(span.name)) and not _NO_INFERENCE_NAME.search(span.name)


def _ending(span: Any, end_time: int | None) -> None:
    """Runs in place of a watched span's `end`."""
    ended_at = end_time or time.time_ns()  # before the scan: its time is not the call's
    watch: TrackedSpan | None = span.__dict__.get("_cylestio_watch")
    if not span.is_recording():
        span._cylestio_end(end_time)  # noqa: SLF001 -- the SDK says itself what it thinks of a second end
        return
    if watch is not None and watch.guest is not None and watch.left_at is None:
        watch.ended_at = watch.ended_at or ended_at
        return
    _complete(span, road.installed(), watch, ended_at)


def _complete(span: Any, pipeline: Pipeline | None, watch: TrackedSpan | None, ended_at: int) -> None:
    try:
        if pipeline is not None and (watch is not None or reader.is_genai(span.attributes or {})):
            _tag(span, pipeline, watch)
    except Exception:
        log.debug("Could not tag the span of another instrumentation", exc_info=True)
    finally:
        span._cylestio_end(ended_at)  # noqa: SLF001


def _tag(span: Any, pipeline: Pipeline, watch: TrackedSpan | None) -> None:
    try:
        _scan(span, pipeline, watch)
    finally:
        if watch is not None and watch.scope in scopes.silent and pipeline.content == "none":
            strip(span)


def _scan(span: Any, pipeline: Pipeline, watch: TrackedSpan | None) -> None:
    if watch is not None and watch.guest is not None:
        if watch.guest.holds_secrets:
            mask(span, pipeline)
        return
    attributes = dict(span.attributes or {})
    if reader.is_afterword(attributes) and _is_guested(span, attributes):
        mask(span, pipeline)
        span.set_attribute(semconv.SCANNED, False)
        return
    events = [Event(event.name, event.attributes or {}) for event in span.events]
    reading = reader.read(span.name, attributes, [*events, *(watch.events if watch is not None else ())])
    if not reading.has_content:
        # Nothing was there to be scanned, and the span must not say otherwise.
        if reader.is_genai(attributes):
            span.set_attribute(semconv.SCANNED, False)
            mask(span, pipeline, UNREAD)
        return
    review = FinishedSpanInvocation(pipeline, reading, span, watch.repeats if watch is not None else None)
    review.run()
    if review.holds_secrets:
        mask(span, pipeline)


def _is_guested(span: Any, attributes: Mapping[str, Any]) -> bool:
    """Whether the call that an afterword belongs to is scanned by one of our hooks."""
    scope, asked = span.instrumentation_scope.name, attributes.get(semconv.INPUT_MESSAGES)
    for watch in list(_live.values()):
        other = watch.span() if watch.guest is not None and watch.scope == scope else None
        if other is not None and (other.attributes or {}).get(semconv.INPUT_MESSAGES) == asked:
            return True
    return False


def _dropped(span: Any) -> None:
    """Ends a span that its instrumentation has forgotten, once the call on it has ended. Runs in a finaliser."""
    watch: TrackedSpan | None = span.__dict__.get("_cylestio_watch")
    if watch is None or watch.guest is None or watch.left_at is None or span._end_time is not None:  # noqa: SLF001
        return
    pipeline, left_at = watch.guest.pipeline, watch.left_at
    pipeline.reaper.put(lambda: _complete(span, pipeline, watch, left_at))
