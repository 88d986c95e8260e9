"""Spans of other instrumentations: tagged as ours are, before any exporter sees them, and never doubled.

`on_start` sees every span while it is live and marks those that are or may become GenAI spans. The method `end` of the
SDK's span class is wrapped, because a span takes no attribute any more once its `end` has begun. There the content
that the other instrumentation wrote on a marked span is read, scanned and tagged.

Where one of our hooks is below such an instrumentation, the span for the call exists already. `find_external_span`
finds it, and the call then runs on that span: the content that our hook sees is scanned before the request is sent,
also where the other instrumentation records no content.
"""

from __future__ import annotations

import functools
import logging
import re
import time
import weakref
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from opentelemetry import trace

from cylestio_monitor import semconv
from cylestio_monitor.capture.external_spans import deferred, reader, scopes
from cylestio_monitor.capture.external_spans.reader import MessageEvent
from cylestio_monitor.capture.external_spans.sinks import UNREAD, HostedSpan, mask, scan_finished, strip
from cylestio_monitor.pipeline import installed

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import Span

    from cylestio_monitor.capture.external_spans.deferred import ReplaceableSpan
    from cylestio_monitor.emit.span_sink import SpanSink
    from cylestio_monitor.model import AttributeValue, Call
    from cylestio_monitor.pipeline import Pipeline

log = logging.getLogger(__name__)

_MAX_EVENTS = 500
_INFERENCE_NAME = re.compile(r"^Chat[A-Z]\w*$|chat|completion|response|message|embed|generate|model|llm", re.IGNORECASE)
_NO_INFERENCE_NAME = re.compile(r"tool|agent|workflow|task|retriev|graph", re.IGNORECASE)


class TrackedSpan:
    """The state of one live span of another instrumentation.

    Attributes:
        span: The span, weakly: it is the application's to keep.
        scope: The name of its instrumentation.
        around: The span that was the current one when it started.
        events: Messages that were written for it as log records.
        sink: The sink of the call of ours that runs on it, or that it was created for afterwards; until that call ends.
        masks: That call has content that must not be recorded as it is.
        ended_at: Time at which its own instrumentation ended it while that call went on, in ns since the epoch.
        call_ended_at: Time at which that call ended while the span went on.
        repeats: The trace of a call that it was created for afterwards, and that has a span of its own already.
    """

    __slots__ = (
        "__weakref__",
        "_forgotten",
        "around",
        "call_ended_at",
        "ended_at",
        "events",
        "masks",
        "repeats",
        "scope",
        "sink",
        "span",
    )

    def __init__(self, span: Span, scope: str) -> None:
        """Takes the span that has just started."""
        self.span = weakref.ref(span)
        self.scope = scope
        self.around = trace.get_current_span()
        self.events: list[MessageEvent] = []
        self.sink: HostedSpan | ReplaceableSpan | None = None
        self.masks = False
        self.ended_at: int | None = None
        self.call_ended_at: int | None = None
        self.repeats: int | None = None
        self._forgotten: weakref.ref[Any] | None = None

    @property
    def has_call(self) -> bool:
        """A call of ours runs or ran on the span."""
        return self.sink is not None or self.call_ended_at is not None

    def call_ended(self, sink: HostedSpan | ReplaceableSpan, end_time: int | None) -> None:
        """Ends the span where its own instrumentation did so before; else waits for that instrumentation."""
        self.call_ended_at = end_time or time.time_ns()
        self.sink, self.masks = None, sink.holds_secrets  # no reference back to the span: it is freed as before
        span: Any = sink.span
        if self.ended_at is not None:
            _complete(span, sink.pipeline, self, max(self.ended_at, self.call_ended_at))
        elif span.is_recording():
            self._end_if_forgotten(span, sink.pipeline, self.call_ended_at)

    def completed(self) -> None:
        """The span has ended."""
        _forgotten.discard(self._forgotten)
        self._forgotten = None

    def _end_if_forgotten(self, span: Any, pipeline: Pipeline, ended_at: int) -> None:
        """Ends the span when it is freed without an end: some instrumentations never end the span of a stream."""
        kind, state = type(span), span.__dict__

        def freed(reference: weakref.ref[Any]) -> None:
            _forgotten.discard(reference)
            pipeline.background.put(lambda: _complete(_revived(kind, state), pipeline, self, ended_at))

        self._forgotten = weakref.ref(span, freed)
        _forgotten.add(self._forgotten)


_forgotten: set[weakref.ref[Any] | None] = set()
"""References that wait for a span to be freed. The garbage collector calls back only references that are reachable."""

_live: weakref.WeakValueDictionary[int, TrackedSpan] = weakref.WeakValueDictionary()
_latest: ContextVar[weakref.ref[TrackedSpan] | None] = ContextVar("cylestio_external_span", default=None)


_wrapped_ends: dict[Any, Callable[..., None]] = {}
"""The method `end` of each span class as it was before."""


def on_start(span: Any, scope: str, *, is_genai: bool) -> bool:
    """Tracks a span that starts; returns whether it is a GenAI span. Never raises.

    Args:
        span: The live span.
        scope: The name of its instrumentation.
        is_genai: That instrumentation creates spans of GenAI operations.
    """
    try:
        _wrap_end(type(span))
        span._cylestio_watch = None  # noqa: SLF001 -- the mark: its attributes are looked at when it ends
        if is_genai or reader.is_genai(span.attributes or {}):
            _pair_with_call(span, _track(span, scope))
            return True
    except Exception:  # the span is the application's: it must start whatever happens here
        log.debug("Could not track a span", exc_info=True)
    return False


def find_external_span(
    pipeline: Pipeline, call: Call, parent: Context | None, attributes: Mapping[str, AttributeValue]
) -> SpanSink | None:
    """Returns the sink of the span that another instrumentation has started for a call, or will start. Never raises.

    Args:
        pipeline: The running pipeline.
        call: A call that is about to happen.
        parent: The parent that the hook names: such a hook knows better.
        attributes: The attributes of the call.
    """
    is_tool = call.operation == reader.TOOL and call.kind == "internal"
    if parent is not None or not (is_tool or call.operation in semconv.INFERENCE):
        return None
    try:
        watch = _tool_watch(call) if is_tool else _watch_around(call)
        span = watch.span() if watch is not None else None
        if (watch is None or span is None) and is_tool:
            return None
        if watch is None or span is None:
            return deferred.find_deferred(pipeline, call, attributes)
        sink = watch.sink = HostedSpan(pipeline, span, watch)
        sink.write(attributes)
    except Exception:  # the call then gets a span of its own
        log.debug("Could not use the span of another instrumentation", exc_info=True)
        return None
    return sink


def restore() -> None:
    """Restores the span classes of the SDK."""
    while _wrapped_ends:
        owner, original = _wrapped_ends.popitem()
        owner.end = original


def has_free_span() -> bool:
    """Returns whether another instrumentation has a live span for the model call that is made here."""
    watch = _watch_here() or _watch_before()
    span = watch.span() if watch is not None else None
    return watch is not None and span is not None and _is_free(watch, span)


def is_inside() -> bool:
    """Returns whether a GenAI span of another instrumentation is around the code that runs here."""
    return (_watch_here() or _watch_before()) is not None


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
            watch.events.append(MessageEvent(str(name), {**attributes, **body}))
    except Exception:  # another library wrote the record: its logging goes on
        log.debug("Could not read a log record", exc_info=True)


def _wrap_end(kind: type[Any]) -> None:
    """Wraps the method `end` of a span class, once."""
    owner: Any = next(base for base in kind.__mro__ if "end" in vars(base))
    if owner in _wrapped_ends:
        return
    original = vars(owner)["end"]

    @functools.wraps(original)
    def end(self: Any, end_time: int | None = None) -> None:
        if "_cylestio_watch" in self.__dict__:
            _ending(self, end_time)
        else:
            original(self, end_time)

    _wrapped_ends[owner] = original
    owner.end = end


def _sdk_end(span: Any, end_time: int | None) -> None:
    original = next((_wrapped_ends[base] for base in type(span).__mro__ if base in _wrapped_ends), type(span).end)
    original(span, end_time)


def _track(span: Any, scope: str) -> TrackedSpan:
    watch = span._cylestio_watch = TrackedSpan(span, scope)  # noqa: SLF001 -- the span keeps it: it lives as long
    _live[span.get_span_context().span_id] = watch
    _latest.set(weakref.ref(watch))
    return watch


def _pair_with_call(span: Any, watch: TrackedSpan) -> None:
    """Lets a span that is created after its call replace ours of that call."""
    sink = deferred.take(span, watch.scope)
    if sink is None:
        return
    if sink.replace_by(watch, span):
        _live[span.get_span_context().span_id] = watch
        watch.sink = sink if watch.call_ended_at is None else None
    else:
        watch.repeats = sink.span.get_span_context().trace_id


def _tool_watch(call: Call) -> TrackedSpan | None:
    """Returns the watch of the current span, where that is another instrumentation's span of the same tool call."""
    watch = _watch_here()
    span = watch.span() if watch is not None else None
    if watch is None or span is None or watch.has_call or not span.is_recording():
        return None
    attributes = span.attributes or {}
    is_same = attributes.get(semconv.TOOL_NAME, call.tool_name) == call.tool_name
    is_tool = reader.operation(attributes) == reader.TOOL or span.name.startswith(f"{reader.TOOL} ")
    return watch if is_tool and is_same else None


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
    if watch is None and _is_marked(here) and reader.operation(here.attributes or {}):
        watch = _track(here, here.instrumentation_scope.name)  # its attributes were set after its start
    return watch


def _watch_before() -> TrackedSpan | None:
    """The watch of the last span started in this context that did not become the current one."""
    latest = _latest.get()
    watch = latest() if latest is not None else None
    return watch if watch is not None and watch.around is trace.get_current_span() else None


def _is_marked(span: Any) -> bool:
    return hasattr(span, "_cylestio_watch")


def _is_for(watch: TrackedSpan, call: Call) -> bool:
    span = watch.span()
    if span is None or not _is_free(watch, span):
        return False
    operation = reader.operation(span.attributes or {})
    return not operation or (operation == "embeddings") == (call.operation == "embeddings")


def _is_free(watch: TrackedSpan, span: Any) -> bool:
    """Returns whether it is the live span of one model call that none of our hooks has taken over."""
    if watch.has_call or not span.is_recording():
        return False
    operation = reader.operation(span.attributes or {})
    if operation:
        return operation in semconv.INFERENCE
    return bool(_INFERENCE_NAME.search(span.name)) and not _NO_INFERENCE_NAME.search(span.name)


def _ending(span: Any, end_time: int | None) -> None:
    """Runs in place of the `end` of a marked span."""
    ended_at = end_time or time.time_ns()  # before the scan: its time is not the call's
    watch: TrackedSpan | None = span.__dict__.get("_cylestio_watch")
    if not span.is_recording():
        _sdk_end(span, end_time)  # the SDK warns of a second end itself
        return
    if watch is not None and watch.sink is not None:
        watch.ended_at = watch.ended_at or ended_at
        return
    _complete(span, installed(), watch, ended_at)


def _complete(span: Any, pipeline: Pipeline | None, watch: TrackedSpan | None, ended_at: int) -> None:
    try:
        if pipeline is not None and (watch is not None or reader.is_genai(span.attributes or {})):
            _tag(span, pipeline, watch)
    except Exception:  # the span of another library must end in any case
        log.debug("Could not tag the span of another instrumentation", exc_info=True)
    finally:
        if watch is not None:
            watch.completed()
        _sdk_end(span, ended_at)


def _tag(span: Any, pipeline: Pipeline, watch: TrackedSpan | None) -> None:
    try:
        _scan(span, pipeline, watch)
    finally:
        if watch is not None and watch.scope in scopes.silent and pipeline.content == "none":
            strip(span)


def _scan(span: Any, pipeline: Pipeline, watch: TrackedSpan | None) -> None:
    if watch is not None and watch.has_call:
        if watch.masks:
            mask(span, pipeline)
        return
    attributes = dict(span.attributes or {})
    if reader.is_afterword(attributes) and _is_scanned_by_hook(span, attributes):
        mask(span, pipeline)
        span.set_attribute(semconv.SCANNED, False)
        return
    events = [MessageEvent(event.name, event.attributes or {}) for event in span.events]
    reading = reader.read(span.name, attributes, [*events, *(watch.events if watch is not None else ())])
    if not reading.has_content:
        # Nothing was there to be scanned, and the span must not say otherwise.
        if reader.is_genai(attributes):
            span.set_attribute(semconv.SCANNED, False)
            mask(span, pipeline, UNREAD)
        return
    if scan_finished(pipeline, reading, span, watch.repeats if watch is not None else None):
        mask(span, pipeline)


def _is_scanned_by_hook(span: Any, attributes: Mapping[str, Any]) -> bool:
    """Returns whether one of our hooks scans the call that a repeating span belongs to."""
    scope, asked = span.instrumentation_scope.name, attributes.get(semconv.INPUT_MESSAGES)
    for watch in list(_live.values()):
        other = watch.span() if watch.has_call and watch.scope == scope else None
        if other is not None and (other.attributes or {}).get(semconv.INPUT_MESSAGES) == asked:
            return True
    return False


def _revived(kind: type[Any], state: dict[str, Any]) -> Any:
    """Returns a span with the state of one that was freed."""
    span = object.__new__(kind)
    span.__dict__ = state
    return span
