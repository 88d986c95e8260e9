"""The spans that the MCP SDK 2.x and fastmcp make themselves, left out where ours stands for the same request.

Their own say nothing of arguments and results. What they do with the current span, such as putting its trace context
into the request, they then do with ours. Every other span of theirs stays.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from opentelemetry.trace import INVALID_SPAN, SpanKind

from cylestio_monitor import semconv
from cylestio_monitor.pipeline import current

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from opentelemetry.trace import Span, Tracer

    from cylestio_monitor.capture.mcp.exchange import Exchange

log = logging.getLogger(__name__)

sending: ContextVar[Exchange | None] = ContextVar("cylestio_mcp_sending", default=None)
answering: ContextVar[Exchange | None] = ContextVar("cylestio_mcp_answering", default=None)
looking_up: ContextVar[bool] = ContextVar("cylestio_mcp_looking_up", default=False)
"""Returns whether the server lists its own tools to itself: that is no request."""


@contextmanager
def marked(variable: ContextVar[Any], value: object) -> Iterator[None]:
    """Sets a variable around a request; a request that is finished in another context leaves nothing behind."""
    token = variable.set(value)
    try:
        yield
    finally:
        try:
            variable.reset(token)
        except ValueError:
            log.debug("The context of an MCP request had changed hands")


def sdk_span(original: Callable[..., Any], _: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Replaces ``otel_span``, with which the SDK opens its spans."""
    return _span(original(*args, **kwargs), kwargs)


@contextmanager
def _span(sdk_context: AbstractContextManager[Span], kwargs: dict[str, Any]) -> Iterator[Span]:
    exchange = (sending if kwargs.get("kind") is SpanKind.CLIENT else answering).get()
    if looking_up.get():
        yield INVALID_SPAN
    elif exchange is None or exchange.claimed or exchange.ended:
        with sdk_context as span:
            yield span
    else:
        exchange.claimed = True  # a request started by the handler of this one has its own
        exchange.note(kwargs.get("attributes") or {}, semconv.JSONRPC_REQUEST_ID)
        yield INVALID_SPAN


def fastmcp_tracer(original: Callable[..., Tracer], _: object, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Stands in for ``get_tracer`` in fastmcp's telemetry modules."""
    return _FastmcpTracer(original(*args, **kwargs))


class _FastmcpTracer:
    """Opens the spans of fastmcp that are not the span of a request."""

    def __init__(self, tracer: Tracer) -> None:
        self._tracer = tracer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tracer, name)

    @contextmanager
    def start_as_current_span(self, name: str, *args: Any, **kwargs: Any) -> Iterator[Span]:
        kind, exchange = kwargs.get("kind"), answering.get()
        if (kind is SpanKind.CLIENT and current() is not None) or (kind is SpanKind.SERVER and looking_up.get()):
            yield INVALID_SPAN  # the request that it is about has its span in the session below, or there is none
        elif kind is SpanKind.SERVER and exchange is not None and not exchange.ended:
            exchange.note(kwargs.get("attributes") or {}, "fastmcp.server.", "fastmcp.component.")
            yield INVALID_SPAN
        else:
            with self._tracer.start_as_current_span(name, *args, **kwargs) as span:
                yield span
