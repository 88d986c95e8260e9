"""The ordered list of resolvers that a `Pipeline` asks for the span of a call before it creates one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from cylestio_monitor.capture.enclosing_calls import enclosing_calls
from cylestio_monitor.capture.external_spans.resolver import external_spans

if TYPE_CHECKING:
    from cylestio_monitor.emit.span_sink import SpanResolver

ORDERED: Final[tuple[SpanResolver, ...]] = (enclosing_calls, external_spans)
"""A framework's own call comes first: a span of another instrumentation may be further away."""
