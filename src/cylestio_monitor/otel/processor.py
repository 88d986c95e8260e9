"""The processors: what others record is tagged as ours is, and every span that ends is handed to the store."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import SpanProcessor

from cylestio_monitor.capture.external_spans import scopes

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.context import Context
    from opentelemetry.sdk.trace import ReadableSpan, Span

    from cylestio_monitor.store import Store

SHUTDOWN_S = 2.0
"""How long a provider's shutdown waits for the disk, in seconds."""


class CylestioSpanProcessor(SpanProcessor):
    """Hands ended, sampled spans to the store. Costs the ending thread one call that never blocks."""

    def __init__(
        self, store: Callable[[], Store | None], flush_delivery: Callable[[float], bool] | None = None
    ) -> None:
        """Hands nothing over yet.

        Args:
            store: Gives the store, which is opened for the first span; it stays the set-up's to close.
            flush_delivery: Waits at most so many seconds until the stored spans have been delivered as well, and says
                whether they have: the provider's users do not know that its exporter went over to the store.
        """
        self._store = store
        self._flush_delivery = flush_delivery
        self._taken = False
        self._off = False

    def on_end(self, span: ReadableSpan) -> None:
        """Queues the span for the store's writer."""
        context = span.get_span_context()
        if self._off or context is None or not context.trace_flags.sampled:
            return
        store = self._store()
        if store is not None:
            self._taken = True
            store.add_span(span)

    def shutdown(self) -> None:
        """Takes no more spans, and has those it took written; waits at most `SHUTDOWN_S`."""
        if not self._off:
            self._off = True
            self._on_disk(SHUTDOWN_S)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Whether every span taken so far is on disk, and at the collector where there is one, within that time."""
        deadline = time.monotonic() + timeout_millis / 1000
        if not self._on_disk(timeout_millis / 1000):
            return False
        return self._flush_delivery is None or self._flush_delivery(max(0.0, deadline - time.monotonic()))

    def _on_disk(self, timeout_s: float) -> bool:
        store = self._store() if self._taken else None
        return store is None or store.flush(timeout_s)


class ForeignSpanProcessor(SpanProcessor):
    """Has the GenAI spans of other instrumentations tagged before they end."""

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:  # noqa: ARG002 -- the SDK's signature
        """Takes notice of a span, whoever makes it."""
        scope = span.instrumentation_scope
        name = scope.name if scope is not None else ""
        kind = scopes.known.get(name)
        if kind is None:
            kind = scopes.classify(name)
        if kind != scopes.IGNORED:
            from cylestio_monitor.capture.external_spans import span_tracker  # noqa: PLC0415 -- when there is a span to be looked at

            span_tracker.on_start(span, name, is_genai=kind == scopes.GENAI)


class ForeignLogProcessor:
    """Has the messages that other instrumentations write as log records scanned with the span they belong to.

    The SDK's own base class is not used: importing it would cost every program that logs nothing.
    """

    def on_emit(self, log_record: Any) -> None:
        """Takes notice of a record; what wraps it differs between versions of the SDK."""
        span_tracker = sys.modules.get("cylestio_monitor.capture.external_spans.span_tracker")
        if span_tracker is not None:  # else there is no span that a record could belong to
            span_tracker.on_log(log_record.log_record)

    def shutdown(self) -> None:
        """Holds nothing."""

    def force_flush(self, timeout_millis: int = 30_000) -> bool:  # noqa: ARG002 -- the SDK's signature
        """Holds nothing."""
        return True
