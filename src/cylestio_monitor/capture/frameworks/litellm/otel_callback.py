"""LiteLLM's own callback `otel`: one span a call, with what it records and what we find.

The callback runs when the call is over, in a thread or a task of its own. Where the application has a span around the
call, the callback makes none and writes on that one; where it has none, it makes one. Ours was the current span while
LiteLLM ran, but is none of the application's: the callback is shown what was there before. What it would write on the
application's span it writes on ours, which waits for it; a span that it makes takes the place of ours.
"""

from __future__ import annotations

import functools
import os
import sys
import weakref
from typing import TYPE_CHECKING, Any

from opentelemetry import context as otel_context
from opentelemetry import trace

from cylestio_monitor.capture import call_wrappers
from cylestio_monitor.capture.enclosing_calls import hosting_call
from cylestio_monitor.capture.external_spans import deferred
from cylestio_monitor.capture.external_spans.deferred import DeferredSpanSource, Expected, ReplaceableSpan
from cylestio_monitor.capture.external_spans.resolver import enable_external_spans
from cylestio_monitor.capture.patching import Target

if TYPE_CHECKING:
    from collections.abc import Callable

    from cylestio_monitor.pipeline import Invocation

MODULE = "litellm.integrations.opentelemetry"

_LISTS = ("callbacks", "success_callback", "failure_callback", "_async_success_callback", "_async_failure_callback")
_OWN_SPAN = "USE_OTEL_LITELLM_REQUEST_SPAN"
"""LiteLLM's variable that has the callback make a span in any case."""

_streams: weakref.WeakValueDictionary[str, ReplaceableSpan] = weakref.WeakValueDictionary()
"""Calls by LiteLLM's id of them: the callback of a stream does not run in the context of the call."""


def begin(make: call_wrappers.Make) -> Invocation | None:
    """Starts a call, which waits for the callback where there is one."""
    litellm = sys.modules["litellm"]
    if not any(getattr(litellm, name, None) for name in _LISTS):
        return call_wrappers.begin(make)
    enable_external_spans()  # the callback has no span yet that would do so before the first call
    token = deferred.announced.set(_maker)
    try:
        return call_wrappers.begin(make)
    finally:
        deferred.announced.reset(token)


def remember(stream: Any, invocation: Invocation) -> None:
    """Notes whose stream it is."""
    call_id = getattr(getattr(stream, "logging_obj", None), "litellm_call_id", None)
    if isinstance(invocation.sink, ReplaceableSpan) and isinstance(call_id, str):
        _streams[call_id] = invocation.sink


def _is_active() -> bool:
    """Returns whether the callback is there: LiteLLM makes it from its name in the course of the first call."""
    module, litellm = sys.modules.get(MODULE), sys.modules["litellm"]
    if module is None:
        return False
    return any(isinstance(one, module.OpenTelemetry) for name in _LISTS for one in getattr(litellm, name, None) or ())


_maker = DeferredSpanSource("litellm", _is_active)


def _handler(original: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(original)
    def handle(*args: Any, **kwargs: Any) -> Any:
        call = _call(args[1] if len(args) > 1 else kwargs.get("kwargs"))
        if call is None:
            return original(*args, **kwargs)
        tracer = getattr(args[0], "tracer", None)
        theirs = getattr(tracer, "span_processor", None)
        shared = theirs is not None and theirs is getattr(call.span, "_span_processor", None)
        lends = shared and call.is_live and call.around.get_span_context().is_valid and not _makes_own_span()
        token = otel_context.attach(trace.set_span_in_context(call.span if lends else call.around))
        waiting = deferred.expected.set(Expected(call, sys.maxsize) if shared else None)
        try:
            return original(*args, **kwargs)
        finally:
            deferred.expected.reset(waiting)
            otel_context.detach(token)
            if lends:
                call.release()

    return handle


def _call(kwargs: Any) -> ReplaceableSpan | None:
    host = hosting_call.get()
    if host is not None:
        return host.sink if isinstance(host.sink, ReplaceableSpan) else None
    return _streams.get(str(kwargs.get("litellm_call_id"))) if isinstance(kwargs, dict) else None


def _makes_own_span() -> bool:
    return os.environ.get(_OWN_SPAN, "").strip().lower() == "true"


TARGETS = (
    Target(MODULE, "OpenTelemetry", "_handle_success", _handler, optional=True),
    Target(MODULE, "OpenTelemetry", "_handle_failure", _handler, optional=True),
)
"""The methods of the callback that run when a call is over; a version that has none is supported."""
